$EPSIM estimate --cluster h800-cx7:nic_effective=23GB/s --ep 128 --tokens 65536 --sms 40 --tsv phases --interval 90
