$EPSIM replay --trace traces/minimoe-256e --ep 8 --tokens 128 --layer 1 --step 0..5 --engine estimate --tsv replay-ranks
