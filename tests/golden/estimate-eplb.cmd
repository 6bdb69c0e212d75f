$EPSIM estimate --trace traces/minimoe-256e --model deepseek-v3 --layer 1 --ep 32 --tokens 64 --dispatcher deepep-normal --layout eplb --redundant 32 --tsv phases
