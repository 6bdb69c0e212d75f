$EPSIM --version
