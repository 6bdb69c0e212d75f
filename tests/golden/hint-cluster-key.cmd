$EPSIM simulate --cluster 4x8:nvlnk=160GB/s,nic_effective=50GB/s
