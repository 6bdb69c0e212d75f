$EPSIM simulate --ep 16 --tokens 32 --slow gpu=5:nic=0.5:late=30us,node=1:compute=0.8
