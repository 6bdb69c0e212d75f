$EPSIM accuracy tests/data/measured-small.csv --engine estimate,naive --worst 2
