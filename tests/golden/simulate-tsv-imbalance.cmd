$EPSIM simulate --ep 16 --tokens 32 --trace traces/minimoe-256e --model deepseek-v3 --skew-us 50 --slow gpu=3:compute=0.8 --tsv imbalance
