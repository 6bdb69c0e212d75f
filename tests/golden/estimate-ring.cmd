$EPSIM estimate --traffic ring:16MiB --cluster 2x4:nvlink_effective=330GB/s,nic_effective=44GB/s --dispatcher nccl-alltoall --check
