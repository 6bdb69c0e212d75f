$EPSIM accuracy tests/data/measured-small.csv --tokens 5
