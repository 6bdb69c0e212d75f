$EPSIM diagnose tests/data/diagnose/ll-noise.log --cluster h100-cx7
