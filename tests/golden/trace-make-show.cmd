$EPSIM trace make deepseek-v3-single-domain:kappa=100,hot_share=0.1 --show
