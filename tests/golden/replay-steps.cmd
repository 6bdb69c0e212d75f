$EPSIM replay --trace traces/minimoe-256e --ep 8 --tokens 128 --layer 0,3 --step 2..4 --engine estimate --tsv replay-steps
