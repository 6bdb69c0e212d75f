$EPSIM simulate --cluster h800-cx8
