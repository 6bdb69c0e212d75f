$EPSIM layout make eplb --trace traces/minimoe-256e --ep 32 --redundant 32 --plan-on 0..0.5 --layer 1
