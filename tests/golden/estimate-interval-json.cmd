$EPSIM estimate --tokens 128 --ep 16 --interval 50 --json
