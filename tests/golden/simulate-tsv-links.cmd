$EPSIM simulate --ep 8 --tokens 64 --dispatcher deepep-normal --tsv links
