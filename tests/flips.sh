#!/bin/sh
# Rows damaged or lost on their way over MPI: epsim-real must notice every one, whatever the dispatcher, iteration,
# stage, row and bit, and only its checksums do. tests/flip.c does the harm.
# usage: tests/flips.sh EPSIM_REAL FLIP.so
#   FLIPS=100  bits to flip, in all dispatchers together; FLIP_SEED=1  of which and where; JOBS=4  runs at once
set -u
real=$1
flip=$(realpath "$2")
model=tests/data/real/tiny.yaml
dispatchers="nccl-flat nccl-two-stage nccl-agrs nccl-calls-ll ll-slots"

# One job over MPI: as plain, with nothing but counting, or with harm to one message.
job() { # kind, dispatcher, rank, message, bit
    verify=2
    preload="-x LD_PRELOAD=$flip -x FLIP_MARK=$folder/mark"
    harm="-x FLIP_RANK=$3 -x FLIP_MESSAGE=$4 -x FLIP_BIT=$5"
    case $1 in
    plain) harm='' preload='' ;;
    count) harm='' ;;
    lose) harm="$harm -x FLIP_LOSE=1" ;;
    unseen) verify=0 ;;
    esac
    case $2 in
    nccl-two-stage | nccl-agrs) shape=2x2 ranks=4 ;;
    *) shape=1x3 ranks=3 ;;
    esac
    # shellcheck disable=SC2086 # lists of flags
    OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 timeout -k 1 20 \
        mpirun -q --oversubscribe --bind-to none --mca btl self,vader --mca pml ob1 -n $ranks $preload $harm \
        "$real" --transport mpi --model $model --cluster "$shape:nvlink_effective=1GB/s,nic_effective=1GB/s" --dispatcher "$2" \
        --tokens 9/0/4/6 --warmup 1 --iterations 2 --verify $verify --quiet -o "$folder/rows.csv" >"$folder/log" 2>&1
}

# Whether the job did as it must. Noticed: exit code 4 and one line, which has both ranks; nothing is written.
as_expected() { # kind, exit code
    lines=$(grep -c '^epsim-real: error: ' "$folder/log")
    case $1 in
    plain | count) [ "$2" -eq 0 ] && [ -s "$folder/rows.csv" ] ;;
    unseen) [ "$2" -eq 0 ] && [ -s "$folder/rows.csv" ] && [ -s "$folder/mark" ] && [ ! -s "$folder/log" ] ;;
    *)
        [ "$2" -eq 4 ] && [ "$lines" -eq 1 ] && [ -s "$folder/mark" ] && [ ! -e "$folder/rows.csv" ] &&
            read -r sender receiver bit <"$folder/mark" && [ -n "$bit" ] &&
            grep -q "error: rank $receiver: .* rows from rank $sender did not arrive as they were sent" "$folder/log"
        ;;
    esac
}

if [ $# -gt 2 ]; then # one of many: its folder, and what job takes
    folder=$3
    shift 3
    # Seldom, Open MPI's mpirun stalls or falls over in ending itself, after all ranks have ended: the same job once more.
    for _ in 1 2 3; do
        rm -rf "$folder"
        mkdir "$folder"
        job "$@"
        code=$?
        [ $code -eq 124 ] || [ $code -eq 137 ] || grep -q PMIx_server_finalize "$folder/log" || break
    done
    if as_expected "$1" "$code"; then verdict=good; else verdict=bad; fi
    echo "$*: exit $code" >"$folder/$verdict"
    exit 0
fi

if ! command -v mpirun >/dev/null 2>&1; then
    echo "flips: no mpirun: skipped"
    exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
begin=$(date +%s)

# Lines of "folder kind dispatcher rank message bit".
all() {
    xargs -P "${JOBS:-4}" -L 1 sh "$0" "$real" "$flip"
}

# How many messages each rank sends and receives, by a job that only counts.
for dispatcher in $dispatchers; do
    echo "$work/plain-$dispatcher plain $dispatcher 0 0 0"
    echo "$work/count-$dispatcher count $dispatcher 0 0 0"
done | all

# Random messages of these: as many bits to flip as asked, a tenth as many to lose, and one a dispatcher that nothing
# looks at.
for dispatcher in $dispatchers; do
    sed "s/^/$dispatcher /" "$work/count-$dispatcher/mark"
done | awk -v seed="${FLIP_SEED:-1}" -v flips="${FLIPS:-100}" -v work="$work" '
    !($1 in ranks) { names[count++] = $1 }
    { ranks[$1]++; sends[$1, $2] = $3; receives[$1, $2] = $4; sent[$1] += $3; received[$1] += $4 }
    # One of all messages of the job: the rank that has it, and its number there.
    function pick(name, total, of,    left, rank) {
        left = int(rand() * total[name])
        for (rank = 0; left >= of[name, rank]; rank++)
            left -= of[name, rank]
        return rank " " left
    }
    function one(kind, name, place) {
        print work "/" kind "-" number++, kind, name, place, int(rand() * 2147483648)
    }
    END {
        srand(seed)
        for (i = 0; i < flips; i++)
            one("flip", names[i % count], pick(names[i % count], sent, sends))
        for (i = 0; i < flips / 10; i++)
            one("lose", names[i % count], pick(names[i % count], received, receives))
        for (i = 0; i < count; i++)
            one("unseen", names[i], pick(names[i], sent, sends))
    }' | all

good() { # kind
    find "$work" -path "*/$1-*/good" | wc -l
}
made() {
    find "$work" -mindepth 1 -maxdepth 1 -name "$1-*" | wc -l
}
echo "flips: $(good flip) of $(made flip) flipped bits noticed, $(good lose) of $(made lose) lost messages;" \
    "$(good unseen) of $(made unseen) flips unnoticed with --verify 0;" \
    "$(good plain) of $(made plain) jobs without harm passed; $(($(date +%s) - begin)) s"
find "$work" -name bad | while read -r bad; do
    echo "flips: FAILED:"
    cat "$bad" "${bad%/bad}/log" | sed 's/^/    /' | head -20
done
[ -z "$(find "$work" -name bad)" ] && [ "$(made flip)" -eq "${FLIPS:-100}" ]
