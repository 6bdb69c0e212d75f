$EPSIM trace import -o /tmp/never
