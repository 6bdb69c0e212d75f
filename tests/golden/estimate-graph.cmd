$EPSIM estimate --cluster h200-nvl8 --ep 8 --dispatcher nccl-ep-ll --tokens 16 --graph --quiet
