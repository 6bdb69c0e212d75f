$EPSIM simulate --traffic uniform:1MiB --cluster 4x8:nvlink=160GB/s,nic=50GB/s --tsv links
