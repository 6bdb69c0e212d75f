$EPSIM simulate --show --ep 8 --dispatcher deepep-ll
