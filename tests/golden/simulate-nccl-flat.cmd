$EPSIM simulate --ep 16 --tokens 32 --dispatcher nccl-flat --check --tsv phases
