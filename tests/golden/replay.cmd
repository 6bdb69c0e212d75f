$EPSIM replay --trace traces/minimoe-256e --ep 8 --tokens 128 --layer 0,1 --step 0..3 --engine estimate
