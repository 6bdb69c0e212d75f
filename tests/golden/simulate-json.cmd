$EPSIM simulate --ep 8 --tokens 16 --json
