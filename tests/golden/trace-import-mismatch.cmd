$EPSIM trace import tests/data/import/vllm-u1.npy --model deepseek-v3 -o /tmp/never
