$EPSIM layout make greedy --trace traces/minimoe-256e --ep 16 --redundant 16 --layer 1 --format sglang
