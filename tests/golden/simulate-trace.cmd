$EPSIM simulate --ep 16 --trace traces/minimoe-256e --model deepseek-v3 --layer 1 --tokens 64 --check
