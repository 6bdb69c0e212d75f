$EPSIM simulate --show all --ep 8 --dispatcher deepep-ll
