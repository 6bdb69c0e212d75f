$EPSIM simulate --ep 16 --tokens 32 --dispatcher nccl-agrs --check --tsv phases
