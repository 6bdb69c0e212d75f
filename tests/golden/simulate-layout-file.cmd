$EPSIM simulate --layout tests/data/layout/trtllm-ep32.yaml --tokens 16 --tsv phases
