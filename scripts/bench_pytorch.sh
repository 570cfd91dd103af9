#!/usr/bin/env bash
# bench_pytorch.sh [--rounds N] [--epochs N] [--threads N] [--seconds N] [--target NAME=RATIO]... [--with COMMAND]
#                  [--write-docs] [train|as-written|bf16|decode]... - compare lstmq to PyTorch, on the same pairs and
#                  with the same number of threads.
#
#   train       the notebook recipe in fp32: `lstmq train --config notebook`, coordinator included, against
#               scripts/pytorch_train.py, an expert's program on the same batches: the faster of eager and torch.compile
#   as-written  the same against scripts/pytorch_as_written.py, which trains as the notebook does
#   bf16        lstmq with train.precision bf16 against the expert's under autocast; skipped without AVX512_BF16
#   decode      `lstmq bench translate` with the model just trained, against scripts/pytorch_decode.py: 1, 64 and 256
#               sentences at a time; the same weights, sentences and numbers of steps
#
# Without a word it runs all four. The programs take turns for N rounds (3). Training runs N epochs (2) a round, without
# PyTorch's first 10 steps; decoding runs N seconds (5) at each size. PyTorch's threads are bound to cores. The expert's
# program uses a malloc that keeps its memory, and no denormals. --with 'COMMAND' runs each measurement through a
# command, such as 'taskset -c 2,3'.
#
# It prints target tokens/s, the ratio of the medians and the ratio of each round, and lstmq's peak memory; --write-docs
# writes them to docs/performance.md, with the profile of a step. The exit status is 1 if a target is missed: fp32 1.7,
# as-written 5, bf16 1.6, bf16-fp32 2.3 (bf16 against PyTorch's fp32), decode 1.7 (the better of 64 and 256 on either
# side), one 8, unless --target gives another; 250 MB for training, 120 MB for decoding.
#
# It installs PyTorch 2.11 with pip into .venv in the checkout, once; PYTHON_TORCH=/path/to/python names another one.
# LSTMQ=/path/to/lstmq names a program that is built already. LSTMQ_DATA is as for scripts/data.sh.
set -u
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root" || exit 1

torch=2.11.0
rounds=3 epochs=2 threads=2 seconds=5 with='' page='' what='' not_compiled=''
targets=(fp32=1.7 as-written=5 bf16=1.6 bf16-fp32=2.3 decode=1.7 one=8)
while [ $# -gt 0 ]; do
    case "$1" in
    --rounds | --epochs | --threads | --seconds)
        case "${2:-}" in '' | *[!0-9]* | 0) die "$1 needs a number from 1" ;; esac
        printf -v "${1#--}" '%s' "$2" && shift
        ;;
    --target)
        printf '%s\n' "${2:-}" | grep -qxE '(fp32|as-written|bf16|bf16-fp32|decode|one)=[0-9]*\.?[0-9]+' ||
            die "$1 needs a name and a ratio, as fp32=1.5"
        targets+=("$2") && shift
        ;;
    --with) [ -n "${2:-}" ] || die "$1 needs a command" && with=$2 && shift ;;
    --write-docs) page=docs/performance.md ;;
    train | as-written | bf16 | decode) what="$what $1" ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
    esac
    shift
done
what="${what:-train as-written bf16 decode} "

work=$(mktemp -d) || die "no temporary folder can be made in ${TMPDIR:-/tmp}"
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# Set $python to the Python of PYTHON_TORCH, or else to that of .venv, which is made if it is missing.
find_python() {
    python=${PYTHON_TORCH:-$root/.venv/bin/python}
    if [ -n "${PYTHON_TORCH:-}" ]; then
        "$python" -c 'import torch' 2>"$work/log" ||
            die "PYTHON_TORCH=$python cannot import torch: $(tail -n 1 "$work/log")"
        say "PyTorch: PYTHON_TORCH=$python"
        return
    fi
    "$python" -c "import torch; assert torch.__version__.split('+')[0] == '$torch'" 2>/dev/null && return
    say "Installing PyTorch $torch into .venv (up to 3 GB; PYTHON_TORCH=/path/to/python names another one)"
    python3 -m venv .venv >"$work/log" 2>&1 || {
        tail -n 5 "$work/log" >&2
        die "python3 -m venv failed; python3-venv must be installed (apt-get install python3-venv)"
    }
    "$python" -m pip --disable-pip-version-check install --quiet "torch==$torch" numpy >"$work/log" 2>&1 || {
        tail -n 5 "$work/log" >&2
        die "PyTorch $torch could not be installed; the lines above say why"
    }
}

# value JSON KEY: a number in an object.
value() {
    "$python" -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$1" "$2"
}

wanted() { case " $what" in *" $1 "*) ;; *) return 1 ;; esac }

# note ROW SIDE VALUE: keep a measurement.
note() { printf '%s %s %.0f\n' "$@" | tee -a "$work/rounds" >&2; }

# Run a Python program of this folder, its threads bound to cores; its result goes to pytorch.json.
pytorch() {
    local program=$1
    shift
    # shellcheck disable=SC2086
    OMP_NUM_THREADS=$threads OMP_PROC_BIND=true OMP_PLACES=cores $with "$python" "scripts/$program" \
        --threads "$threads" "$@" \
        >"$work/pytorch.json" 2>"$work/log" && [ -s "$work/pytorch.json" ]
}

# The same with a malloc that keeps its memory, as an expert would run it.
expert() {
    MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=4294967295 MALLOC_TOP_PAD_=67108864 pytorch "$@"
}

# Run lstmq in its own process; its peak memory, in MB, goes to the file `peak`.
measured() {
    # shellcheck disable=SC2086
    $with "$python" -c '
import resource, subprocess, sys
status = subprocess.run(sys.argv[2:]).returncode
with open(sys.argv[1], "w") as file:
    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024, file=file)
sys.exit(status)' "$work/peak" "$lstmq" "$@"
}

# train_lstmq PRECISION: the tokens of all epochs over their training time, from metrics.jsonl.
train_lstmq() {
    rm -rf "$work/run"
    measured train --config notebook --data.pairs "$pairs" --run.dir "$work/run" --train.epochs "$epochs" \
        --no-train.bleu --train.threads "$threads" --train.precision "$1" --run.progress none --log.level warn \
        >"$work/log" 2>&1 || {
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
    note "$1" lstmq "$(value "$work/lstmq.json" tgt_tok_per_s)"
}

# train_expert PRECISION: eager, and compiled. If the compiler fails, or is slower by a tenth in the first round, it is
# not tried again.
train_expert() {
    local plain compiled
    expert pytorch_train.py --pairs "$pairs" --epochs "$epochs" --precision "$1" || {
        cat "$work/log" >&2
        die "PyTorch's training failed"
    }
    plain=$(value "$work/pytorch.json" tgt_tok_per_s)
    note "$1" eager "$plain"
    expert_tokens=$(value "$work/pytorch.json" tgt_tokens)
    case " $not_compiled " in *" $1 "*) return 0 ;; esac
    if expert pytorch_train.py --pairs "$pairs" --epochs "$epochs" --precision "$1" --compile; then
        compiled=$(value "$work/pytorch.json" tgt_tok_per_s)
        note "$1" compiled "$compiled"
        [ "${compiled%.*}" -ge $((${plain%.*} * 9 / 10)) ] || {
            say "torch.compile makes $1 slower here: it is skipped from now on"
            not_compiled="$not_compiled $1"
        }
    else
        say "torch.compile does not work here: $(grep -v '^ *$' "$work/log" | tail -n 1)"
        not_compiled='fp32 bf16'
    fi
}

same_pairs() {
    [ "$(value "$work/lstmq.json" tgt_tokens)" = "$expert_tokens" ] ||
        die "the two programs trained on different pairs: an epoch has" \
            "$(value "$work/lstmq.json" tgt_tokens) target tokens in lstmq and $expert_tokens in PyTorch"
}

train_as_written() {
    pytorch pytorch_as_written.py --pairs "$pairs" || {
        cat "$work/log" >&2
        die "the notebook's training failed"
    }
    note as-written notebook "$(value "$work/pytorch.json" tgt_tok_per_s)"
}

decode() {
    expert pytorch_decode.py --model "$work/decoded/best" --pairs "$work/held_out.tsv" --seconds "$seconds" || {
        cat "$work/log" >&2
        die "PyTorch's decoding failed"
    }
    measured bench translate --model "$work/decoded" --data.pairs "$work/held_out.tsv" --threads "$threads" \
        --bench.seconds "$seconds" --json >"$work/lstmq.json" || die "lstmq bench translate failed"
    "$python" - "$work/lstmq.json" "$work/pytorch.json" <<'PYTHON' | tee -a "$work/rounds" >&2
import json, sys
ours, theirs = (json.load(open(path)) for path in sys.argv[1:])
speed = {side: {size["batch"]: size["tgt_tok_per_s"] for size in sizes}
         for side, sizes in (("lstmq", ours["translate"]["batches"]), ("eager", theirs["batches"]))}
for batch in (1, 64, 256):
    for side in ("lstmq", "eager"):
        print(f"decode-{batch} {side} {speed[side][batch]:.0f}")
PYTHON
    [ "${PIPESTATUS[0]}" -eq 0 ] || die "the two programs decoded different sentences"
}

# The peak memory of a training run and of translating all held-out sources.
memory() {
    cut -f 1 "$work/held_out.tsv" >"$work/sources"
    note memory-train lstmq "$(cat "$work/peak.train")"
    [ -d "$work/decoded" ] || return 0
    measured translate --model "$work/decoded" --threads "$threads" <"$work/sources" >/dev/null 2>"$work/log" || {
        cat "$work/log" >&2
        die "lstmq translate failed"
    }
    note memory-decode lstmq "$(cat "$work/peak")"
}

profile() {
    # shellcheck disable=SC2086
    $with "$lstmq" bench train --config notebook --threads "$threads" --bench.seconds 3 "$@" ||
        die "lstmq bench train failed"
}

round() {
    if wanted train || wanted as-written; then
        wanted train && train_expert fp32
        train_lstmq fp32
        cp "$work/peak" "$work/peak.train"
        wanted train && same_pairs
        rm -rf "$work/decoded" && mv "$work/run" "$work/decoded"
    fi
    wanted as-written && train_as_written
    if wanted bf16; then
        wanted train || train_expert fp32
        train_expert bf16
        train_lstmq bf16
        same_pairs
    fi
    if wanted decode; then
        [ -d "$work/decoded" ] ||
            { train_lstmq fp32 && cp "$work/peak" "$work/peak.train" && mv "$work/run" "$work/decoded"; }
        decode
    fi
}

stage "PyTorch"
find_python
stage "lstmq"
lstmq=${LSTMQ:-build/release/lstmq}
if [ -n "${LSTMQ:-}" ]; then
    say "LSTMQ=$lstmq"
else
    scripts/dependencies.sh build || exit
    build release lstmq
fi
pairs=$(scripts/data.sh) || exit
: >"$work/rounds"
"$python" scripts/pytorch_notebook.py "$pairs" >"$work/held_out.tsv" || die "the pairs in $pairs cannot be read"
notes=()
if wanted bf16 && ! grep -qw avx512_bf16 /proc/cpuinfo; then
    what=${what/ bf16 / }
    notes+=(--note "bf16 is skipped: this processor has no AVX512_BF16.")
    say "SKIPPED: bf16, this processor has no AVX512_BF16"
fi

stage "Taking turns: $rounds rounds, $threads threads, target tokens/s"
for _ in $(seq "$rounds"); do
    round
done
[ ! -e "$work/peak.train" ] || memory

stage "Result"
profiles=()
if [ -n "$page" ]; then
    profile >"$work/profile" || exit
    profiles=(--profile "$work/profile")
    if wanted bf16; then
        profile --train.precision bf16 >"$work/profile.bf16" || exit
        profiles+=(--profile "$work/profile.bf16")
    fi
fi
heading=$(printf '%s, %s cores, %s threads; PyTorch %s; %s.' \
    "$(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1)" "$(nproc)" "$threads" \
    "$("$python" -c 'import torch; print(torch.__version__)')" "$("$lstmq" --version | head -n 1)")
"$python" scripts/bench_table.py "$work/rounds" "${targets[@]/#/--target=}" --heading "$heading" "${notes[@]}" \
    "${profiles[@]}" ${page:+--write-page "$page"}
