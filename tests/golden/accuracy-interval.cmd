$EPSIM accuracy tests/data/measured-small.csv --engine estimate,naive --interval 90
