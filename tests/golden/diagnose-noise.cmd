$EPSIM diagnose tests/data/diagnose/noise.csv
