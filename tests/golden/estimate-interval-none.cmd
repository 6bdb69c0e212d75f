$EPSIM estimate --dispatcher tests/data/dispatcher/unmeasured.yaml --tokens 64 --ep 16 --interval 90
