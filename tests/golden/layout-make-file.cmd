made=$(mktemp) && $EPSIM layout make greedy --trace traces/minimoe-256e --ep 4 --layer 1 -q -o "$made" && grep -v '^#' "$made" | head -n 4; rm -f "$made"
