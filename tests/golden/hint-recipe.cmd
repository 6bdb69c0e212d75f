$EPSIM trace make deepseek-v3-mixd -o t
