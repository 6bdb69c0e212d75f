$EPSIM simulate --cluster "2x8:nvlink_effective=160GB/s,nic_effective=50GB/s,spine_oversubscription=4" --tokens 64 --tsv links
