$EPSIM help trace
