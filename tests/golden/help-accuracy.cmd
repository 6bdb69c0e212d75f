$EPSIM help accuracy
