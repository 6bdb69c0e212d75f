$EPSIM compare --ep 8 --tokens 256 --dispatcher deepep-normal --measured tests/data/measured-small.csv --routing uniform --json
