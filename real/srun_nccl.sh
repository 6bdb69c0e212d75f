#!/bin/sh
# Runs epsim-real over several servers under Slurm, one rank a GPU. NOT RUN YET by its authors: written for
# Slurm with PMIx and eight GPUs a server; check the two lines marked (site).
# usage: sbatch -N 4 real/srun_nccl.sh EPSIM_REAL OUT.csv
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-task=1
#SBATCH --exclusive
set -eu
real=$1
out=$2
export NCCL_SOCKET_IFNAME="${NCCL_SOCKET_IFNAME:-^lo,docker}" # (site) the interface of NCCL's bootstrap
nodes=${SLURM_JOB_NUM_NODES:?run me under sbatch}
for dispatcher in nccl-flat nccl-two-stage nccl-agrs nccl-calls-normal; do
    # (site) --mpi: what your Slurm and Open MPI were built with
    srun --mpi=pmix "$real" --transport nccl --model deepseek-v3 --dispatcher "$dispatcher" \
        --cluster "${nodes}x8:nvlink_effective=138GB/s,nic_effective=46GB/s" --tokens 1..4096:log --verify 256 \
        --warmup 5 --iterations 30 --family "slurm-$nodes" -o "$out.$dispatcher"
done
