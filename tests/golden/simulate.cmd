$EPSIM simulate --ep 16 --tokens 256 --dispatcher deepep-normal
