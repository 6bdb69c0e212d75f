$EPSIM help diagnose
