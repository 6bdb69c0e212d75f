$EPSIM compare --ep 8 --tokens 100 --measured tests/data/measured-small.csv
