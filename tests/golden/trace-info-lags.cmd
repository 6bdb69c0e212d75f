$EPSIM trace info traces/minimoe-256e --tsv lags
