$EPSIM simulate --ep 16 --tokens 64 --routing deepep --check --tsv phases
