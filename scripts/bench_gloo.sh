#!/usr/bin/env bash
# bench_gloo.sh [--rounds N] [--sums N] [--bytes N] [--ranks N] [--target RATIO] [--json] - hold the ring's all-reduce against
# torch.distributed's gloo.
#
# N processes (2) on this host sum N bytes (18 MiB) of floats: first gloo, then the ring, over tcp, encrypted, rounded, over ipc,
# and over ipc with memory beside it as workers of one host have it, in turns for N rounds (9) of N sums (20). Printed are the
# median time of a sum, the processor time it takes all processes together, and the median of the rounds' ratios of speed; the
# exit status is 1 when the ring over tcp, in fp32 and without keys, has less than --target (0.9) times gloo's speed.
#
# PYTHON_TORCH=/path/to/python names a Python with PyTorch; without it the one that scripts/bench_pytorch.sh has installed
# into .venv is taken.
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
