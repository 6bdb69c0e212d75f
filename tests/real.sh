#!/bin/sh
# The real backend over MPI on this machine: every dispatcher's output against a float64 reference,
# bytes sent against the schedule's loads (epsim-real checks both itself), and failures.
# usage: tests/real.sh EPSIM_REAL
set -u
real=$1
model=tests/data/real/tiny.yaml
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0
failed=0
skipped=0

if ! command -v mpirun >/dev/null 2>&1; then
    echo "real: no mpirun: skipped"
    echo "real: 0 passed, 0 failed, 1 skipped"
    exit 0
fi

run() { # ranks, arguments
    ranks=$1
    shift
    OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 timeout 120 \
        mpirun -q --oversubscribe --mca btl self,vader -n "$ranks" "$real" "$@"
}

good() {
    passed=$((passed + 1))
}

bad() { # what, file with the output
    failed=$((failed + 1))
    echo "real: FAILED: $1"
    sed 's/^/    /' "$2" | head -20
}

# An output within 1e-5 of the reference, by exit code and by the line that says so.
verifies() { # ranks, arguments
    n=$1
    shift
    if run "$n" --transport mpi --model $model --warmup 0 --iterations 2 "$@" -o "$work/rows.csv" \
        >"$work/log" 2>&1 && grep -q 'output off by' "$work/log" && [ -s "$work/rows.csv" ]; then
        good
    else
        bad "$n ranks: $*" "$work/log"
    fi
    rm -f "$work/rows.csv"
}

for dispatcher in nccl-flat nccl-two-stage nccl-agrs nccl-calls-normal nccl-calls-ll ll-slots; do
    verifies 32 --tokens 16 --dispatcher "$dispatcher"
    verifies 12 --cluster 3x4:nvlink_effective=1GB/s,nic_effective=1GB/s --tokens 9/0/4 --dispatcher $dispatcher
done
for ranks in 1 2 3 5 8; do
    verifies "$ranks" --tokens 24/0/7 --dispatcher nccl-flat
    verifies "$ranks" --tokens 24/0/7 --dispatcher nccl-calls-ll
done
verifies 8 --cluster 2x4:nvlink_effective=1GB/s,nic_effective=1GB/s --trace traces/minimoe-256e --layer 1 --tokens 24 \
    --dispatcher nccl-two-stage
verifies 8 --tokens 16 --routing uniform --seed 7 --dispatcher nccl-flat
verifies 32 --tokens 8 --layout tests/data/layout/trtllm-ep32.yaml --dispatcher nccl-two-stage

# The router's own choices, saved, feed the simulator.
if run 8 --transport mpi --model $model --tokens 12/3 --cluster 2x4:nvlink_effective=1GB/s,nic_effective=1GB/s \
    --dispatcher nccl-two-stage --warmup 0 --iterations 1 --write-trace "$work/trace" \
    -o "$work/rows.csv" >"$work/log" 2>&1 &&
    "${EPSIM:-./epsim}" simulate --trace "$work/trace" --model $model --check \
        --cluster 2x4:nvlink_effective=1GB/s,nic_effective=1GB/s --dispatcher nccl-two-stage >"$work/log" 2>&1; then
    good
else
    bad "a written trace replayed" "$work/log"
fi
rm -f "$work/rows.csv"

# Layers and steps of a trace in one job, and the simulator beside them: seven phases, mean and slowest.
replayed="--trace traces/minimoe-256e --model $model --tokens 8 --cluster 2x4:nvlink_effective=1GB/s,nic_effective=1GB/s
    --dispatcher nccl-two-stage"
# shellcheck disable=SC2086 # a list of flags
if run 8 --transport mpi $replayed --layer 1,4 --step 0..4:2 --warmup 1 --iterations 3 \
    -o "$work/rows.csv" >"$work/log" 2>&1 &&
    "${EPSIM:-./epsim}" compare $replayed --measured "$work/rows.csv" --tsv steps -o "$work/steps.tsv" \
        >"$work/log" 2>&1 && [ ! -s "$work/log" ] &&
    awk -F '\t' '/^#/ { next }
        !columns { for (columns = 1; columns <= NF; columns++) at[$columns] = columns; next }
        { rows++; places[$at["layer"] "/" $at["step"]]++; kinds[$at["phase"] "," $at["stat"]]++ }
        !($at["measured_us"] > 0 && $at["simulate_us"] > 0 && $at["estimate_us"] > 0) { wrong++ }
        { off = 100 * ($at["simulate_us"] / $at["measured_us"] - 1) - $at["simulate_pct"] }
        off > 0.01 || off < -0.01 { wrong++ }
        END { for (l = 1; l <= 4; l += 3) for (s = 0; s <= 4; s += 2) wrong += places[l "/" s] != 14
              for (k in kinds) count++
              exit !(rows == 84 && count == 14 && !wrong) }' "$work/steps.tsv"; then
    good
else
    head -40 "$work/steps.tsv" >>"$work/log" 2>&1
    bad "a trace's steps laid beside the simulator" "$work/log"
fi
rm -f "$work/rows.csv" "$work/steps.tsv"

# Rows of two runs can be read together: no id is in both.
if run 2 --transport mpi --model $model --tokens 8 --dispatcher nccl-flat --iterations 1 -o "$work/a.csv" >"$work/log" 2>&1 &&
    run 2 --transport mpi --model $model --tokens 8 --dispatcher nccl-flat --iterations 1 -o "$work/b.csv" \
        >"$work/log" 2>&1 && "${EPSIM:-./epsim}" accuracy "$work/a.csv" "$work/b.csv" --model $model \
        --cluster 1x2:nvlink_effective=1GB/s --engine estimate >"$work/log" 2>&1 &&
    [ -z "$(cut -d, -f1 "$work/a.csv" "$work/b.csv" | grep -v '^id$' | sort | uniq -d)" ]; then
    good
else
    bad "rows of two runs" "$work/log"
fi
rm -f "$work/a.csv" "$work/b.csv"

# A timeline of ranks and phases.
if run 4 --transport mpi --model $model --tokens 8 --dispatcher nccl-flat --warmup 0 --iterations 1 \
    --timeline "$work/timeline.json" -o "$work/rows.csv" >"$work/log" 2>&1 &&
    grep -q '"name":"combine","pid":0,"tid":3' "$work/timeline.json"; then
    good
else
    bad "a timeline" "$work/log"
fi
rm -f "$work/rows.csv" "$work/timeline.json"

# The machine itself.
if run 4 probe --transport mpi --cluster 2x2:nvlink_effective=1GB/s,nic_effective=1GB/s --warmup 1 --iterations 3 \
    -o "$work/probe.tsv" >"$work/log" 2>&1 && grep -q '^# epsim.probe/1' "$work/probe.tsv"; then
    good
else
    bad "probe" "$work/log"
fi
rm -f "$work/probe.tsv"

# Its all-to-alls as measured rows.
if run 2 probe --transport mpi --cluster 1x2:nvlink_effective=1GB/s --warmup 0 --iterations 1 --most 4KiB \
    -o "$work/probe.csv" >"$work/log" 2>&1 &&
    "${EPSIM:-./epsim}" accuracy "$work/probe.csv" --cluster a100-nvl8 --engine estimate >"$work/log" 2>&1; then
    good
else
    bad "rows of a probe" "$work/log"
fi
rm -f "$work/probe.csv"

# Ends with this code and one line of ours that has the words; leaves no output.
refuses() { # code, words, ranks, arguments
    code=$1
    words=$2
    shift 2
    run "$@" -o "$work/rows.csv" >"$work/log" 2>&1
    got=$?
    lines=$(grep -c '^epsim-real: error: ' "$work/log")
    if [ $got -eq "$code" ] && [ "$lines" -eq 1 ] && grep -q "$words" "$work/log" &&
        [ -z "$(find "$work" -mindepth 1 ! -name log)" ]; then
        good
    else
        echo "exit $got, $lines lines of ours" >>"$work/log"
        bad "refusal: $*" "$work/log"
    fi
    rm -rf "$work/rows.csv"
}

rm -rf "$work/trace"
refuses 2 'no such model' 2 --transport mpi --model no-such-model
refuses 2 'latent space of 32' 2 --transport mpi --model $model:latent=32
refuses 2 'without a gate' 2 --transport mpi --model $model:gated=false
refuses 2 'the job has 4 ranks' 4 --transport mpi --ep 8
refuses 2 'top-8 of 256 experts' 2 --transport mpi --model mixtral-8x7b --trace traces/minimoe-256e
refuses 1 'the output is off' 2 --transport mpi --model $model --tokens 8 --tolerance 1e-12 \
    --dispatcher nccl-flat
refuses 4 'memory' 2 --transport mpi --model deepseek-v3 --tokens 16000000 --verify 0 \
    --dispatcher nccl-flat
refuses 2 'only with --trace' 2 --transport mpi --model $model --step 1
refuses 2 'expected indices from 0' 2 --transport mpi --model $model --layer 1..x
refuses 2 "expected 0 to 5, the trace's layers" 2 --transport mpi --model $model --tokens 8 \
    --trace traces/minimoe-256e --layer 0,6 --dispatcher nccl-flat
refuses 2 'nccl-flat dispatches fp8 bf16 fp32' 2 --transport mpi --model tests/data/real/nvfp4.yaml --dispatcher nccl-flat
refuses 2 'lines with flags' 2 --transport mpi --model $model --dispatcher trtllm-twosided --dispatch-dtype bf16 \
    --combine-dtype bf16
refuses 2 'kernels are not run here' 2 --transport mpi --model $model --dispatcher deepep-ll --dispatch-dtype bf16 \
    --combine-dtype bf16
refuses 2 'has no CUDA graphs' 2 --transport mpi --model $model --tokens 8 --dispatcher nccl-flat --graph
refuses 2 'expected one of the two' 2 --transport mpi --model $model --tokens 8 --graph --timeline "$work/timeline.json"
refuses 2 'rank 2: expected 0 to 1' 2 --transport mpi --model $model --tokens 8 --dispatcher nccl-flat --disturb 2
refuses 2 'moves a byte matrix' 2 --transport mpi --model $model --dispatcher raw

# Another job beside one rank: outputs are right all the same, and rows say it.
if run 2 --transport mpi --model $model --tokens 64 --dispatcher nccl-flat --disturb 1 --verify 16 --iterations 3 \
    -o "$work/disturbed.csv" >"$work/log" 2>&1 &&
    [ "$(tail -n +2 "$work/disturbed.csv" | grep -c ',1$')" -eq "$(tail -n +2 "$work/disturbed.csv" | wc -l)" ] &&
    grep -q 'output off by' "$work/log"; then
    good
else
    bad "--disturb" "$work/log"
fi
rm -f "$work/disturbed.csv"

# A rank killed in mid-run ends the job soon, and leaves nothing half-written.
run 4 --transport mpi --model $model --tokens 512 --iterations 100000 --dispatcher nccl-flat \
    -o "$work/rows.csv" >"$work/log" 2>&1 &
job=$!
sleep 6
victim=$(pgrep -f "$real --transport mpi --model $model --tokens 512" | tail -1)
[ -n "$victim" ] && kill -9 "$victim"
begin=$(date +%s)
wait $job
code=$?
lines=$(grep -c '^epsim-real: error: .*another rank was lost' "$work/log")
if [ -n "$victim" ] && [ $code -ne 0 ] && [ $(($(date +%s) - begin)) -le 30 ] && [ "$lines" -eq 1 ] &&
    [ -z "$(find "$work" -mindepth 1 ! -name log)" ]; then
    good
else
    bad "a killed rank: exit $code, $lines lines of ours" "$work/log"
fi

# Two ranks that were not asked the same: one line that says what differs, within 5 s, and nothing runs.
differs() { # words, arguments of rank 0, arguments of rank 1
    common="--transport mpi --quiet -o $work/rows.csv"
    # shellcheck disable=SC2086 # lists of flags
    OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 timeout -k 1 5 mpirun -q --oversubscribe \
        --mca btl self,vader -n 1 "$real" $2 $common : -n 1 "$real" $3 $common >"$work/log" 2>&1
    code=$?
    lines=$(grep -c '^epsim-real: error: ' "$work/log")
    if [ $code -eq 2 ] && [ "$lines" -eq 1 ] && grep -q "error: rank 1: $1 differs from rank 0's" "$work/log" &&
        [ -z "$(find "$work" -mindepth 1 ! -name log)" ]; then
        good
    else
        bad "arguments that differ in $1: exit $code, $lines lines of ours" "$work/log"
    fi
}
tiny="--model $model --dispatcher nccl-flat"
differs --tokens "$tiny --tokens 8" "$tiny --tokens 16"
differs --tokens "$tiny --tokens 8/3" "$tiny --tokens 8/4"
differs --seed "$tiny --tokens 8" "$tiny --tokens 8 --seed 2"
differs --dispatcher "$tiny --tokens 8" "--model $model --tokens 8 --dispatcher ll-slots"
differs --model "$tiny --tokens 8" "--model qwen3-30b-a3b --tokens 8 --dispatcher nccl-flat"
differs --iterations "$tiny --tokens 8 --iterations 3" "$tiny --tokens 8 --iterations 4"
differs --layer "$tiny --trace traces/minimoe-256e --layer 0,1" "$tiny --trace traces/minimoe-256e --layer 0"
differs --trace "$tiny --tokens 8 --trace traces/minimoe-256e" "$tiny --tokens 8"
differs 'the command' "$tiny --tokens 8" "probe"
differs --most "probe --most 1KiB" "probe --most 4KiB"
differs --cluster "probe --most 1KiB" "probe --most 1KiB --cluster 2x1:nvlink_effective=1GB/s,nic_effective=1GB/s"

# Two versions in one job: one line, and nothing runs. The other version is this one with its name changed.
name=$("${EPSIM:-./epsim}" --version | sed 's/^epsim //')
other=$(echo "$name" | sed 's/.$/~/')
LC_ALL=C sed "s/$name/$other/g" "$real" >"$work/other-version" && chmod +x "$work/other-version"
OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 timeout 120 mpirun -q --oversubscribe \
    --mca btl self,vader -n 2 "$real" --transport mpi --model $model --tokens 8 --dispatcher nccl-flat \
    -o "$work/rows.csv" : -n 1 "$work/other-version" --transport mpi --model $model --tokens 8 \
    --dispatcher nccl-flat -o "$work/rows.csv" >"$work/log" 2>&1
code=$?
rm -f "$work/other-version"
if [ $code -eq 4 ] && [ "$(grep -c '^epsim-real: error: ' "$work/log")" -eq 1 ] &&
    grep -q 'rank 2 runs version' "$work/log" && [ -z "$(find "$work" -mindepth 1 ! -name log)" ]; then
    good
else
    bad "two versions in one job: exit $code" "$work/log"
fi

# Built with CUDA, on a machine without a GPU: one line, exit 3.
if command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi >/dev/null 2>&1; then
    echo "real: there is a GPU here: absence skipped"
    skipped=$((skipped + 1))
elif ldd "$real" | grep -q libcudart; then
    refuses 3 'no CUDA GPU' 1 --model $model
else
    refuses 3 'built without CUDA' 1 --transport nccl --model $model
fi

echo "real: $passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ]
