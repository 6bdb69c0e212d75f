$EPSIM layout compare eplb eplb-global random --trace traces/minimoe-256e --model deepseek-v3 --ep 16 --redundant 16 --engine estimate --layer 2 --json
