$EPSIM simulate --cluster 4x8:nvlink=160,nic=50GB/s
