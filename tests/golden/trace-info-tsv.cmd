$EPSIM trace info traces/minimoe-256e --ep 8 --tsv trace
