$EPSIM help trace import
