$EPSIM simulate --cluster 4x8:nvlnk=160GB/s,nic=50GB/s
