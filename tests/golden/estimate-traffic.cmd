$EPSIM estimate --traffic tests/data/traffic/incast-8.txt --cluster 1x8:nvlink_effective=160GB/s --check
