$EPSIM simulate --xyzzy
