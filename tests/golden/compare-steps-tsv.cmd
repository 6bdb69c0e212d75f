$EPSIM compare --ep 8 --trace traces/minimoe-256e --tokens 32 --layer 1 --measured tests/data/measured-steps.csv --tsv steps
