$EPSIM estimate --traffic ring:16MiB --cluster 2x4:nvlink=330GB/s,nic=44GB/s --dispatcher nccl-alltoall --check
