$EPSIM simulate --traffic tests/data/traffic/uneven-32.txt --cluster 4x8:nvlink_effective=160GB/s,nic_effective=50GB/s --check
