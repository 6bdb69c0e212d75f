$EPSIM diagnose tests/data/diagnose/h20-one-port.csv --cluster h20-cx7:nics_per_node=4,ports_per_nic=2 --tsv diagnose-causes
