$EPSIM simulate --cluster 4x8:nvlink=160,nic_effective=50GB/s
