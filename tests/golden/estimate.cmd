$EPSIM estimate --ep 16 --tokens 256 --dispatcher deepep-normal
