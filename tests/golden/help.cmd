$EPSIM --help
