$EPSIM estimate --cluster h800-cx7:nic_effective=92GB/s --ep 16 --tokens 64 --tsv phases
