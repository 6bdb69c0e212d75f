$EPSIM simulate --traffic uniform:1MiB --cluster 4x8:nvlink_effective=160GB/s,nic_effective=50GB/s --tsv links
