#!/bin/sh
# SGLang's recorder files, written and read by PyTorch: the loads of all modes are those that were recorded,
# and per_token's choices are the recorded ones. Skipped where PYTHON (python3) has no PyTorch.
# usage: EPSIM=./epsim tests/sglang_pt.sh
set -eu
cd "$(dirname "$0")/.."
EPSIM=$(realpath "${EPSIM:-./epsim}")
PYTHON=${PYTHON:-python3}
export EPSIM
if ! "$PYTHON" -c 'import torch, numpy' 2>/dev/null; then
    echo "sglang_pt: skipped: $PYTHON has no PyTorch with NumPy (PYTHON=... names another)"
    exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
data=tests/data/import
"$PYTHON" $data/make.py --pt "$work"

convert() {
    name=$1
    shift
    "$PYTHON" traces/sglang_pt.py "$@" -o "$work/$name" -q
}
loads() {
    "$EPSIM" trace info "$1" --cluster 1x2:nvlink_effective=100GB/s,nic_effective=1GB/s --tsv trace | sed '/^#/d' | cut -f1-8
}
same() {
    if ! cmp -s "$1" "$2"; then
        echo "sglang_pt: FAILED: $3" >&2
        diff "$1" "$2" >&2 || true
        exit 1
    fi
}

convert stat "$work/stat.pt" --model $data/model.yaml --ep 2
"$EPSIM" trace import $data/counts.npy --model $data/model.yaml --ep 2 -o "$work/counts" -q
same "$work/stat/expert_ids.npy" "$work/counts/expert_ids.npy" "stat: other choices than of the same counts"

convert token "$work/per_token_0.pt" "$work/per_token_1.pt" --topk 2
convert pass "$work/per_pass_0.pt" "$work/per_pass_1.pt" --model $data/model.yaml --ep 2
loads "$work/token" >"$work/token.tsv"
loads "$work/pass" >"$work/pass.tsv"
same "$work/token.tsv" "$work/pass.tsv" "per_pass: other loads than per_token"

# What make.py recorded, without the padding token, by logical expert.
"$PYTHON" - "$work/token" <<'END'
import sys
import numpy
ids = numpy.load(sys.argv[1] + "/expert_ids.npy")
steps = numpy.load(sys.argv[1] + "/steps.npy")
token = 0
for step, number in enumerate((7, 8)):
    for rank in range(2):
        for t in range(3 + rank):
            assert steps[token].tolist() == [step, rank], (token, steps[token])
            for layer in range(4):
                for k in range(2):
                    wanted = (t + number + rank + 2 * (layer + 1) + 3 * k) % 8
                    assert ids[token, layer, k] == wanted, (token, layer, k)
            token += 1
assert token == len(ids)
END

# A file that is not one, and a file with more than data in it, are refused.
printf 'no archive' >"$work/bad.pt"
printf '%s\n' 'import sys, torch' 'class Other: pass' 'torch.save({"records": [Other()]}, sys.argv[1])' >"$work/evil.py"
"$PYTHON" "$work/evil.py" "$work/evil.pt"
for bad in bad evil; do
    code=0
    "$PYTHON" traces/sglang_pt.py "$work/$bad.pt" -o "$work/out" 2>"$work/err" || code=$?
    if [ "$code" -ne 2 ] || [ -e "$work/out" ] || ! grep -q "$bad.pt" "$work/err"; then
        echo "sglang_pt: FAILED: $bad.pt: exit $code" >&2
        exit 1
    fi
done
echo "sglang_pt: stat, per_pass and per_token are as recorded"
