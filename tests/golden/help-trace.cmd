$EPSIM help trace info
