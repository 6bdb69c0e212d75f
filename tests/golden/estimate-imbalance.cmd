$EPSIM estimate --ep 16 --trace traces/minimoe-256e --model deepseek-v3 --layer 1 --slow gpu=5:nic=0.5:late=300us
