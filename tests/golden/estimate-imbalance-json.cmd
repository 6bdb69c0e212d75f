$EPSIM estimate --ep 8 --tokens 16 --imbalance --json | sed -n '/"imbalance": {/,$p'
