$EPSIM accuracy tests/data/measured-small.csv --engine estimate --each phase,sms,tokens --tsv accuracy
