$EPSIM simulate --ep 8 --tokens 64 --skew-us 50 --aligned --tsv phases
