$EPSIM accuracy tests/data/measured-small.csv --engine simulate,estimate,naive --tsv accuracy
