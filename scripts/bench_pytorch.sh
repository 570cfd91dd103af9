#!/usr/bin/env bash
# bench_pytorch.sh [--rounds N] [--epochs N] [--threads N] [--seconds N] [--target RATIO] [--decode-target RATIO] [train|decode] - hold
# lstmq against PyTorch, on the same pairs, the same batches and the same number of threads.
#
# PyTorch's side is scripts/pytorch_train.py and scripts/pytorch_decode.py, written for speed; lstmq's is `lstmq train --config
# notebook`, coordinator and all, and `lstmq bench translate` with the model it has just trained. The two take turns for N rounds
# (3), one at a time. Printed are target tokens/s, the ratio of the medians and the ratio of each round; the exit status is 1
# when a ratio of medians is below its target: --target (1.0) for training, --decode-target (0) for decoding. Training runs N
# epochs (2) a round, of which PyTorch's first 10 steps are not counted; decoding runs N seconds (5) at each batch size.
#
# PyTorch 2.11 is installed by pip into .venv in the checkout, once; PYTHON_TORCH=/path/to/python takes one that is there
# already. LSTMQ=/path/to/lstmq takes a program that is built already. LSTMQ_DATA is as for scripts/data.sh.
set -u
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root" || exit 1

torch=2.11.0
rounds=3 epochs=2 threads=2 target=1.0 decode_target=0 seconds=5 what='train decode'
while [ $# -gt 0 ]; do
    case "$1" in
    --rounds | --epochs | --threads | --seconds)
        case "${2:-}" in '' | *[!0-9]* | 0) die "$1 needs a number from 1" ;; esac
        printf -v "${1#--}" '%s' "$2" && shift
        ;;
    --target | --decode-target)
        printf '%s\n' "${2:-}" | grep -qx '[0-9]*\.\{0,1\}[0-9]\{1,\}' || die "$1 needs a ratio, as 1.5"
        name=${1#--}
        printf -v "${name//-/_}" '%s' "$2" && shift
        ;;
    train | decode) what=$1 ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
    esac
    shift
done

work=$(mktemp -d) || die "no temporary folder can be made in ${TMPDIR:-/tmp}"
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# The Python to use, in $python: the one named by PYTHON_TORCH, else that of .venv, which is made where it is missing.
find_python() {
    python=${PYTHON_TORCH:-$root/.venv/bin/python}
    if [ -n "${PYTHON_TORCH:-}" ]; then
        "$python" -c 'import torch' 2>"$work/log" || die "PYTHON_TORCH=$python cannot import torch: $(tail -n 1 "$work/log")"
        say "PyTorch: that of PYTHON_TORCH=$python, not one of this checkout's own"
        return
    fi
    "$python" -c "import torch; assert torch.__version__.split('+')[0] == '$torch'" 2>/dev/null && return
    say "Installing PyTorch $torch into .venv (up to 3 GB; PYTHON_TORCH=/path/to/python takes one that is there)"
    python3 -m venv .venv >"$work/log" 2>&1 || {
        tail -n 5 "$work/log" >&2
        die "python3 -m venv failed; python3-venv must be installed (apt-get install python3-venv)"
    }
    "$python" -m pip --disable-pip-version-check install --quiet "torch==$torch" numpy >"$work/log" 2>&1 || {
        tail -n 5 "$work/log" >&2
        die "PyTorch $torch could not be installed; the lines above say why"
    }
}

# value JSON KEY: a number out of an object.
value() {
    "$python" -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$1" "$2"
}

# One training by lstmq: every epoch's tokens over every epoch's training time, from its own metrics.
train_lstmq() {
    rm -rf "$work/run"
    "$lstmq" train --config notebook --data.pairs "$pairs" --run.dir "$work/run" --train.epochs "$epochs" --no-train.bleu \
        --train.threads "$threads" --run.progress none --log.level warn >"$work/log" 2>&1 || {
        cat "$work/log" >&2
        die "lstmq train failed"
    }
    "$python" - "$work/run/metrics.jsonl" >"$work/lstmq.json" <<'PYTHON'
import json, sys
epochs = [json.loads(line) for line in open(sys.argv[1])]
tokens = sum(epoch["tgt_tokens"] for epoch in epochs)
print(json.dumps({"tgt_tokens": epochs[0]["tgt_tokens"],
                  "tgt_tok_per_s": tokens / sum(epoch["tgt_tokens"] / epoch["tgt_tok_per_s"] for epoch in epochs)}))
PYTHON
}

train_pytorch() {
    OMP_NUM_THREADS=$threads "$python" scripts/pytorch_train.py --pairs "$pairs" --threads "$threads" --epochs "$epochs" \
        >"$work/pytorch.json" || die "PyTorch's training failed"
}

decode_lstmq() {
    "$lstmq" bench translate --model "$work/run" --data.pairs "$work/held_out.tsv" --threads "$threads" \
        --bench.seconds "$seconds" --json >"$work/lstmq.json" || die "lstmq bench translate failed"
}

decode_pytorch() {
    OMP_NUM_THREADS=$threads "$python" scripts/pytorch_decode.py --model "$work/run/best" --pairs "$work/held_out.tsv" \
        --threads "$threads" --seconds "$seconds" >"$work/pytorch.json" || die "PyTorch's decoding failed"
}

# Keep a round's figures: NAME PYTORCH LSTMQ, a line for each thing compared.
note_training() {
    [ "$(value "$work/lstmq.json" tgt_tokens)" = "$(value "$work/pytorch.json" tgt_tokens)" ] ||
        die "the two did not train on the same pairs: $(value "$work/lstmq.json" tgt_tokens) target tokens an epoch in lstmq," \
            "$(value "$work/pytorch.json" tgt_tokens) in PyTorch"
    printf 'training %.0f %.0f\n' "$(value "$work/pytorch.json" tgt_tok_per_s)" "$(value "$work/lstmq.json" tgt_tok_per_s)" |
        tee -a "$work/rounds" >&2
}

note_decoding() {
    "$python" - "$work/lstmq.json" "$work/pytorch.json" <<'PYTHON' | tee -a "$work/rounds" >&2
import json, sys
ours, theirs = (json.load(open(path)) for path in sys.argv[1:])
for a, b in zip(ours["translate"]["batches"], theirs["batches"]):
    assert a["batch"] == b["batch"]
    print(f"decoding,_batch_{a['batch']} {b['tgt_tok_per_s']:.0f} {a['tgt_tok_per_s']:.0f}")
PYTHON
    [ "${PIPESTATUS[0]}" -eq 0 ] || die "the two did not decode the same"
}

# The table, and whether every target was reached.
summary() {
    "$python" - "$work/rounds" "$target" "$decode_target" <<'PYTHON'
import sys
from statistics import median
rounds = {}
for line in open(sys.argv[1]):
    name, theirs, ours = line.split()
    rounds.setdefault(name.replace("_", " "), []).append((float(theirs), float(ours)))
targets = {"t": float(sys.argv[2]), "d": float(sys.argv[3])}
print("| target tokens/s | PyTorch | lstmq | ratio | each round | target |")
print("|---|---|---|---|---|---|")
missed = []
for name, pairs in rounds.items():
    theirs, ours = (median(side) for side in zip(*pairs))
    least = targets[name[0]]
    if ours < least * theirs:
        missed.append(f"{name}: {ours / theirs:.2f} times PyTorch's speed, the target is {least:g}")
    print(f"| {name} | {theirs:,.0f} | {ours:,.0f} | {ours / theirs:.2f} | "
          f"{', '.join(f'{b / a:.2f}' for a, b in pairs)} | {least:g} |")
print(*missed, sep="\n", file=sys.stderr)
sys.exit(bool(missed))
PYTHON
}

stage "PyTorch"
find_python
stage "lstmq"
lstmq=${LSTMQ:-build/release/lstmq}
if [ -n "${LSTMQ:-}" ]; then
    say "That of LSTMQ=$lstmq"
else
    scripts/dependencies.sh build || exit
    build release lstmq
fi
pairs=$(scripts/data.sh) || exit
"$python" scripts/pytorch_notebook.py "$pairs" >"$work/held_out.tsv" || die "the pairs in $pairs cannot be read"

stage "Taking turns: $rounds rounds, $threads threads, target tokens/s of PyTorch and of lstmq"
[ "$what" != decode ] || epochs=1
for _ in $(seq "$rounds"); do
    case "$what" in *train*) train_pytorch && train_lstmq && note_training ;; esac
    case "$what" in *decode*)
        [ -d "$work/run" ] || train_lstmq
        decode_pytorch && decode_lstmq && note_decoding
        ;;
    esac
done

stage "Result"
printf '%s, %s cores, %s threads; PyTorch %s; %s\n\n' \
    "$(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1)" "$(nproc)" "$threads" \
    "$("$python" -c 'import torch; print(torch.__version__)')" "$("$lstmq" --version | head -n 1)"
summary
