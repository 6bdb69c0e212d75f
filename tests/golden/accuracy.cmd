$EPSIM accuracy tests/data/measured-small.csv
