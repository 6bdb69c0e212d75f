D=$PWD; cd "$(mktemp -d)" && $EPSIM trace export "$D"/traces/minimoe-256e --layer 1,4 --step 2,3 --tokens 32 --ep 16 -o part && cat part/trace.yaml && $EPSIM trace info part --ep 16; rm -r "$PWD"
