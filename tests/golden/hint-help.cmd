$EPSIM help simulat
