$EPSIM help compare
