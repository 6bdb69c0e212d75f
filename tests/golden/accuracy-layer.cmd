$EPSIM accuracy tests/data/measured-layer.csv --model deepseek-v3 --engine simulate,estimate --by phase,overlap
