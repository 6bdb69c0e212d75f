D=$PWD; cd "$(mktemp -d)" && $EPSIM trace import "$D"/tests/data/import/trtllm -o t && $EPSIM trace info t --cluster 1x2:nvlink_effective=100GB/s,nic_effective=1GB/s --tsv trace; rm -r "$PWD"
