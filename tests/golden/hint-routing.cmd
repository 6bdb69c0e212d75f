$EPSIM simulate --routing unifrom
