$EPSIM diagnose tests/data/diagnose/h20-healthy.log --cluster h20-cx7:nics_per_node=4
