$EPSIM replay --trace traces/minimoe-256e --ep 8 --tokens 128 --layer 1 --step 0..2 --engine estimate --json
