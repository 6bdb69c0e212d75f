$EPSIM replay --trace traces/minimoe-256e --ep 8 --tokens 128 --layer 1,2 --step 0,9 --tsv replay
