$EPSIM help calibrate
