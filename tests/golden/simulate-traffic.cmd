$EPSIM simulate --traffic tests/data/traffic/uneven-32.txt --cluster 4x8:nvlink=160GB/s,nic=50GB/s --check
