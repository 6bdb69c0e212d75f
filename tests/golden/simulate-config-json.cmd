$EPSIM simulate --model tests/data/config/mixtral-8x7b.json --ep 8 --tokens 64 --routing uniform --tsv phases
