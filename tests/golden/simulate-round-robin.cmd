$EPSIM simulate --ep 8 --tokens 16 --layout round-robin --tsv phases
