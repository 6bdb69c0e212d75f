$EPSIM trace export --help
