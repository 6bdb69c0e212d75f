$EPSIM trace info traces/minimoe-256e --ep 16 --json
