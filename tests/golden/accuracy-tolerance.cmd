$EPSIM accuracy tests/data/measured-small.csv --tolerance-pct 0.01 --tsv accuracy
