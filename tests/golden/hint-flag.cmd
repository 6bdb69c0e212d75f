$EPSIM simulate --tokns 12
