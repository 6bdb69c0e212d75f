$EPSIM simulat
