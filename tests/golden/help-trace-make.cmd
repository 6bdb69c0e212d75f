$EPSIM help trace make
