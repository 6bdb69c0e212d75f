$EPSIM help plot
