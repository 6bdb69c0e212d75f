D=$PWD; cd "$(mktemp -d)" && $EPSIM trace import "$D"/tests/data/import/trtllm -o t && $EPSIM trace info t --cluster 1x2:nvlink=100GB/s,nic=1GB/s --tsv trace; rm -r "$PWD"
