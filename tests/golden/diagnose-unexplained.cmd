$EPSIM diagnose tests/data/diagnose/unexplained.csv --tsv diagnose && $EPSIM diagnose tests/data/diagnose/unexplained.csv
