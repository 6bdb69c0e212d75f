$EPSIM help estimate
