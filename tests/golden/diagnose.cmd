$EPSIM diagnose tests/data/diagnose/h100-half-rate.csv
