$EPSIM estimate --ep 8 --tokens 16 --loads counted --tsv phases
