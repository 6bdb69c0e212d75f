$EPSIM frobnicate
