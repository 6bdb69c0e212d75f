$EPSIM compare --ep 8 --trace traces/minimoe-256e --tokens 32 --layer 1,2 --step 0..2:2
