$EPSIM compare --ep 8 --tokens 16,64 --routing uniform --interval 90 --measured tests/data/measured-small.csv
