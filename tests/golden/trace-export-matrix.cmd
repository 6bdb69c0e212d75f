$EPSIM trace export traces/minimoe-256e --matrix combine --ep 8 --tokens 16 --layer 1 --step 3 --dispatcher nccl-flat
