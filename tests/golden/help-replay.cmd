$EPSIM help replay
