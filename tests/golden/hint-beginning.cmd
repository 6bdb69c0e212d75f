$EPSIM simulate --cluster h800-cx7:nics=4
