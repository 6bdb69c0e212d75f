$EPSIM compare --ep 8 --tokens 16,64,512 --measured tests/data/measured-small.csv --routing uniform
