$EPSIM simulate --ep 16 --tokens 32 --dispatcher deepep-ll-rdma --check --tsv phases
