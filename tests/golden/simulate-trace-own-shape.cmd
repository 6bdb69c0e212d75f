$EPSIM simulate --ep 8 --trace traces/minimoe-256e --layer 4 --tokens 64 --step 2 --tsv links
