$EPSIM layout export tests/data/layout/trtllm-ep32.yaml --ep 32
