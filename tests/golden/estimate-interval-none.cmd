$EPSIM estimate --dispatcher nccl-flat --tokens 64 --ep 16 --interval 90
