$EPSIM diagnose tests/data/diagnose/ll-slow-nic.log --cluster h100-cx7
