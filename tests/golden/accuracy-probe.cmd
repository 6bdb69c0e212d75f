$EPSIM accuracy real/results/h100-shared/probe-4.tsv --cluster 2x2:nvlink_effective=10GB/s,nic_effective=3GB/s,nic_latency=60us,inside=nic,shared_gpus=1 --engine estimate
