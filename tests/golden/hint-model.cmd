$EPSIM simulate --model deepsek-v3
