#!/usr/bin/env bash
# bench_gloo.sh [--rounds N] [--sums N] [--bytes N] [--ranks N] [--target RATIO] [--json] - compare the ring's
# all-reduce to torch.distributed's gloo.
#
# N processes (2) on this host sum N bytes (18 MiB) of floats, in turns for N rounds (9) of N sums (20): gloo, then the
# ring over tcp, over tcp with encryption, over tcp in bf16, over ipc, and over ipc with shared memory, as workers of
# one host use it. It prints the median time of a sum, the processor time of all processes, and the median of the
# rounds' speed ratios. The exit status is 1 if the ring over tcp, in fp32 and without keys, has less than --target
# (0.9) times gloo's speed.
#
# PYTHON_TORCH=/path/to/python names a Python with PyTorch; the default is the one that scripts/bench_pytorch.sh
# installs into .venv.
set -u
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root" || exit 1

case "${1:-}" in -h | --help) usage && exit 0 ;; esac
python=${PYTHON_TORCH:-$root/.venv/bin/python}
"$python" -c 'import torch.distributed as d; assert d.is_gloo_available()' 2>/dev/null ||
    die "$python has no PyTorch with gloo; set PYTHON_TORCH, or run scripts/bench_pytorch.sh once, which installs it"
if [ -z "${LSTMQ_RING_SPEED:-}" ]; then
    scripts/dependencies.sh build || exit
    build release ring_speed
fi
exec "$python" scripts/bench_gloo.py --program "${LSTMQ_RING_SPEED:-build/release/tests/cluster/ring_speed}" "$@"
