for version in nccl-9.9 nccl-2.29.7 nccl-42949672960.1; do $EPSIM simulate --cluster h200-nvl8 --traffic uniform:64KiB --dispatcher nccl-alltoall@$version >/dev/null; done
