$EPSIM help simulate
