$EPSIM simulate --ep 16 --tokens 32 --dispatcher nccl-two-stage --check --tsv phases
