$EPSIM simulate --ep 8 --tokens 64 --overlap dispatch --tsv phases
