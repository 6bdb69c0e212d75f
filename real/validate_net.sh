#!/bin/sh
# The same over a network whose speed is known: four "servers" of two MPI ranks each, every one a network namespace with a
# NIC of its own (veth, shaped by tc to RATE_MBIT each way) at one switch. The NIC's rate is told, not fitted; the rest of
# the host is fitted to half of the points, and the inter-node stage of the other half is judged.
# Needs root, iproute2 and tc. Namespaces and processes are gone afterwards, even if this script is killed.
# usage: real/validate_net.sh [EPSIM] [EPSIM_REAL] [FOLDER]
# RATE_MBIT, TOKENS, DISPATCHERS and REPEATS change what is measured. Exit 1: the median error of the inter-node stage is
# over 10 %; 3: no root, ip or tc.
set -eu
epsim=${1:-./epsim}
real=$(realpath "${2:-./epsim-real}")
out=${3:-validate-net}
here=$(dirname "$0")
rate=${RATE_MBIT:-400}
repeats=${REPEATS:-3}
servers="0 1 2 3"
name=epsim-$$

for tool in ip tc setsid unshare mpirun; do
    command -v $tool >/dev/null && continue
    echo "validate_net: needs $tool (packages iproute2, util-linux, openmpi-bin)" >&2
    exit 3
done
if [ "$(id -u)" -ne 0 ]; then
    echo "validate_net: needs root" >&2
    exit 3
fi
mkdir -p "$out/start/clusters"
rm -f "$out"/rows-*.csv "$out/judged.txt" "$out/all.txt" # of an earlier run
temporary=$(mktemp -d)
mkfifo "$temporary/alive"

# Ends when nobody holds the other end any more: when this script is over, however it ended.
cat >"$temporary/sweep" <<EOF
cat "$temporary/alive" >/dev/null
for space in $name-switch $(for s in $servers; do printf '%s-%s ' "$name" "$s"; done); do
    for round in TERM KILL; do
        pids=\$(ip netns pids \$space 2>/dev/null)
        [ -n "\$pids" ] && kill -\$round \$pids 2>/dev/null && sleep 0.3
    done
    ip netns del \$space 2>/dev/null
done
rm -rf "$temporary"
EOF
exec 9<>"$temporary/alive" # before the sweeper starts, so that it never waits for a writer that died
setsid sh "$temporary/sweep" </dev/null >/dev/null 2>&1 9>&- &
sweeper=$!
exec 8>"$temporary/alive" 9>&-
finish() {
    code=$?
    trap - EXIT
    exec 8>&-
    wait $sweeper || true
    exit $code
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# A steady sender: no pauses to probe the path (bbr), and no slow start after each phase's silence.
steady() { # namespace
    ip netns exec "$1" sysctl -qw net.ipv4.tcp_congestion_control=reno net.ipv4.tcp_slow_start_after_idle=0
}

# Small bursts, or a phase's first bytes would pass at no cost: segments of 16 KiB at most.
shaped() { # namespace, device
    ip -n "$1" link set "$2" gso_max_size 16384
    tc -n "$1" qdisc add dev "$2" root tbf rate "${rate}mbit" burst 20kb limit 16mb
}

ip netns add "$name-switch"
ip -n "$name-switch" link set lo up
ip -n "$name-switch" link add switch type bridge
ip -n "$name-switch" addr add 10.99.0.254/24 dev switch
ip -n "$name-switch" link set switch up
for s in $servers; do
    ip netns add "$name-$s"
    ip -n "$name-$s" link set lo up
    ip -n "$name-$s" link add nic type veth peer name "port$s" netns "$name-switch"
    ip -n "$name-$s" addr add "10.99.0.$((s + 1))/24" dev nic
    ip -n "$name-switch" link set "port$s" master switch up
    ip -n "$name-$s" link set nic up
    steady "$name-$s"
    shaped "$name-$s" nic
    shaped "$name-switch" "port$s"
done

# How mpirun reaches a server: into its namespace, under its name.
cat >"$temporary/agent" <<'EOF'
#!/bin/sh
server=$1
shift
exec ip netns exec "$server" unshare --uts sh -c 'hostname "$0"; exec sh -c "$1"' "$server" "$*"
EOF
chmod +x "$temporary/agent"
OMPI_ALLOW_RUN_AS_ROOT=1
OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_ALLOW_RUN_AS_ROOT OMPI_ALLOW_RUN_AS_ROOT_CONFIRM
hosts=$(for s in $servers; do printf ',%s-%s:2' "$name" "$s"; done | cut -c2-)

# Messages stream into the socket as they are (eager): a rendezvous would wait behind other messages in the NIC's queue.
run() { # arguments
    ip netns exec "$name-switch" mpirun -q --bind-to none --host "$hosts" --mca plm_rsh_agent "$temporary/agent" \
        --mca plm_rsh_no_tree_spawn 1 --mca oob_tcp_if_include 10.99.0.0/24 --mca btl tcp,vader,self \
        --mca btl_tcp_if_include 10.99.0.0/24 --mca btl_tcp_eager_limit 33554432 --mca mpi_yield_when_idle 1 "$real" "$@" 8>&-
}

# Of a full Ethernet frame of 1,514 bytes, 1,448 are TCP's payload (1,500 less 40 of headers and 12 of timestamps); both
# ways are busy, and every other segment brings 66 bytes of acknowledgement the other way.
payload=$(awk "BEGIN { printf \"%.3f\", $rate / 8 * 1448 / (1514 + 66 / 2) }")
sed "s/RATE/$payload/; s/CORES/$(getconf _NPROCESSORS_ONLN)/" "$here/validate/net.yaml" >"$out/start/clusters/net.yaml"
echo "probe: what the network is" >&2
run probe --transport mpi --cluster "$out/start/clusters/net.yaml" --warmup 1 --iterations 5 -o "$out/probe.tsv"
repeat=1
while [ "$repeat" -le "$repeats" ]; do
    echo "measuring, $repeat of $repeats" >&2
    for dispatcher in ${DISPATCHERS:-nccl-flat nccl-two-stage}; do
        run --transport mpi --model "$here/validate/model.yaml" --cluster "$out/start/clusters/net.yaml" \
            --dispatcher "$dispatcher" --tokens "${TOKENS:-32,48,64,96,128,192,256,384,512}" --verify 0 --warmup 1 --iterations 5 \
            --family "net-$dispatcher" -q -o "$out/rows-$repeat-$dispatcher.csv"
    done
    repeat=$((repeat + 1))
done
sh "$here/median.sh" "$out"/rows-*.csv >"$out/measured.csv"
awk -F, 'NR == 1 || $18 == "inter"' "$out/measured.csv" >"$out/inter.csv"
# What moves inside a server is over before its ranks look: when they do, is the scheduler's matter.
awk -F, '$18 != "intra"' "$out/measured.csv" >"$out/fitted-to.csv"

"$epsim" calibrate "$out/fitted-to.csv" --only 1/2 --from-us 2000 --model "$here/validate/model.yaml" --cluster net \
    --presets "$out/start" --fit "$here/validate/net-fit.yaml" --write "$out/fitted" -q -o "$out/fit.txt" || [ $? -eq 1 ]

judge() { # file, arguments
    file=$1
    shift
    "$epsim" accuracy "$out/$file" --except 1/2 --model "$here/validate/model.yaml" --cluster net \
        --presets "$out/fitted" --engine estimate,simulate -q "$@"
}

grep -v '^# skipped:' "$out/fit.txt"
echo
echo "Unseen half, all phases and stages:"
judge measured.csv --by phase,stage -o "$out/all.txt"
grep -v '^#' "$out/all.txt"
echo
echo "Unseen half, inter-node stage (NIC told: $payload MB/s of payload each way):"
code=0
judge inter.csv --by dispatcher,phase,stage --median-pct 10 -o "$out/judged.txt" || code=$?
[ ! -e "$out/judged.txt" ] || cat "$out/judged.txt"
exit $code
