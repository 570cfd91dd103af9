#!/usr/bin/env bash
# bench_cluster.sh [--rounds N] [--epochs N] [--ranks N] [--target NAME=RATIO]... [--json] - compare a coordinator with
# workers of one thread to one process with as many threads, and to PyTorch's DistributedDataParallel over gloo.
#
# It trains the notebook recipe on the real pairs, in turns for N rounds (3) of N epochs (1): `lstmq train` with 2
# threads; a coordinator and 2 workers with 1 thread each, train.reduce fp32 and exact; scripts/pytorch_ddp.py with 2
# processes of 1 thread. It prints target tokens/s of training and the medians of the rounds' ratios. The exit status is
# 1 if one is below its target: fp32 0.75 and exact 0.6 times one process, ddp 1.5 (fp32 against PyTorch).
#
# PYTHON_TORCH=/path/to/python names a Python with PyTorch; the default is the one that scripts/bench_pytorch.sh
# installs into .venv. Without either, PyTorch is left out, with a message. LSTMQ_DATA is as for scripts/data.sh.
set -u
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root" || exit 1

case "${1:-}" in -h | --help) usage && exit 0 ;; esac
python=${PYTHON_TORCH:-$root/.venv/bin/python}
with=(--python "$python")
"$python" -c 'import torch.distributed as d; assert d.is_gloo_available()' 2>/dev/null || {
    say "PyTorch is left out: $python has no PyTorch with gloo; set PYTHON_TORCH, or run scripts/bench_pytorch.sh once"
    with=()
}
[ -s .data/fra.txt ] || scripts/data.sh || exit
if [ -z "${LSTMQ:-}" ]; then
    scripts/dependencies.sh build || exit
    build release lstmq
fi
exec python3 scripts/bench_cluster.py --program "${LSTMQ:-build/release/lstmq}" --pairs .data/fra.txt \
    ${with[@]+"${with[@]}"} "$@"
