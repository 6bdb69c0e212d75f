$EPSIM simulate --tsv phase
