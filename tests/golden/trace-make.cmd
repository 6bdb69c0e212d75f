d=$(mktemp -d) && cd "$d" && $EPSIM trace make balanced --tokens 2x8x16 --layer 0,57 -o t && ls t && cat t/trace.yaml && cksum t/*.npy && $EPSIM trace info t --ep 32 --tsv trace; rm -r "$d"
