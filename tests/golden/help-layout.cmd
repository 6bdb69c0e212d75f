$EPSIM help layout
