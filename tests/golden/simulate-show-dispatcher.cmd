$EPSIM simulate --show dispatcher --ep 8 --tokens 64
