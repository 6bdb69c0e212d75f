$EPSIM accuracy tests/data/measured-small.csv --engine estimate --tsv accuracy-rows
