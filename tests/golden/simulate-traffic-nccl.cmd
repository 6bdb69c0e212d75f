$EPSIM simulate --traffic uniform:64KiB --ep 8 --dispatcher nccl-alltoall --tsv phases
