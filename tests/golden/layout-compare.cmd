$EPSIM layout compare --trace traces/minimoe-256e --model deepseek-v3 --ep 32 --redundant 32 --engine estimate --layer 1 --search-steps 500
