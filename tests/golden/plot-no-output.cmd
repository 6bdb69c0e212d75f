$EPSIM plot tests/data/measured-small.csv
