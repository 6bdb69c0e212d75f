$EPSIM estimate --ep 16 --slow gpu=5:nic=0.5 --tsv phases
