$EPSIM simulate --ep 16 --tokens 64 --dispatcher deepep-normal --interval 90
