$EPSIM compare --ep 8 --trace traces/minimoe-256e --tokens 32 --measured tests/data/measured-steps.csv
