$EPSIM compare --ep 8 --tokens 1..16:log --tsv compare
