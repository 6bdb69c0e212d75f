$EPSIM simulate --cluster "2x8:nvlink=160GB/s,nic=50GB/s,spine_oversubscription=4" --tokens 64 --tsv links
