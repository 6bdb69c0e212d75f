D=$PWD; cd "$(mktemp -d)" && printf 'PAR1 and so on' > trace.parquet && $EPSIM trace import trace.parquet -o t; code=$?; rm -r "$PWD"; exit $code
