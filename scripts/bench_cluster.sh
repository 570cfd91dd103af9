#!/usr/bin/env bash
# bench_cluster.sh [--rounds N] [--epochs N] [--ranks N] [--target NAME=RATIO]... [--json] - hold a coordinator and workers of one thread
# against one process with as many threads, and against PyTorch's DistributedDataParallel over gloo.
#
# The notebook recipe on the real pairs, in turns for N rounds (3) of N epochs (1): `lstmq train` with 2 threads; a coordinator and 2
# workers with 1 thread each, train.reduce fp32 and exact; scripts/pytorch_ddp.py with 2 processes of 1 thread. Printed are target
# tokens/s of training, and the medians of the rounds' ratios; the exit status is 1 when one is below its target: fp32 0.75 and exact
# 0.6 times one process, ddp 1.5 (fp32 against PyTorch).
#
# PYTHON_TORCH=/path/to/python names a Python with PyTorch; without it the one that scripts/bench_pytorch.sh has installed into
# .venv is taken, and where there is none, PyTorch is left out and that is said. LSTMQ_DATA is as for scripts/data.sh.
set -u
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root" || exit 1

case "${1:-}" in -h | --help) usage && exit 0 ;; esac
python=${PYTHON_TORCH:-$root/.venv/bin/python}
with=(--python "$python")
"$python" -c 'import torch.distributed as d; assert d.is_gloo_available()' 2>/dev/null || {
    say "PyTorch is left out: $python has none with gloo; set PYTHON_TORCH, or run scripts/bench_pytorch.sh once"
    with=()
}
[ -s .data/fra.txt ] || scripts/data.sh || exit
if [ -z "${LSTMQ:-}" ]; then
    scripts/dependencies.sh build || exit
    build release lstmq
fi
exec python3 scripts/bench_cluster.py --program "${LSTMQ:-build/release/lstmq}" --pairs .data/fra.txt ${with[@]+"${with[@]}"} "$@"
