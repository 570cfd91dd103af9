#!/usr/bin/env bash
# bench_serve.sh [--rounds N] [--seconds S] - measure a translation queue: every figure of `lstmq bench serve`, and its
# speed against the Majordomo pattern of ZeroMQ's guide, which tests/serve/majordomo.c builds.
#
# The two run in turns, N rounds (5) of S seconds (2) each, on this machine. It prints the medians and their ratio. Then
# it runs `lstmq bench serve` with the notebook's recipe, trained for an epoch on the real pairs. The exit status is 1
# if the ratio is below 1 or a row misses its target. LSTMQ_DATA is as for scripts/data.sh.
set -u
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root" || exit 1

rounds=5 seconds=2
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help) usage && exit 0 ;;
    --rounds) rounds=${2:?} && shift 2 ;;
    --seconds) seconds=${2:?} && shift 2 ;;
    *) die "unknown argument $1; see --help" ;;
    esac
done
[ -s .data/fra.txt ] || scripts/data.sh || exit
scripts/dependencies.sh test || exit
build release lstmq majordomo
lstmq=build/release/lstmq
status=0

stage "the queue and Majordomo, in turns"
for ((round = 0; round < rounds; round++)); do
    $lstmq bench serve queue --bench.seconds "$seconds" --json | sed 's/^/lstmq /'
    build/release/tests/serve/majordomo "$seconds" | sed 's/^/majordomo /'
done | python3 -c '
import json, statistics, sys
found = {"lstmq": [], "majordomo": []}
for line in sys.stdin:
    name, text = line.split(" ", 1)
    row = json.loads(text)
    found[name].append(row.get("serve", row))
print(" " * 35 + "lstmq  majordomo   ratio")
for key, text in (("pipelined_per_s", "requests/s, pipelined"), ("alone_p50_us", "us, one at a time")):
    ours, theirs = (statistics.median(row[key] for row in found[name]) for name in ("lstmq", "majordomo"))
    print(f"  {text:<22} {ours:15,.0f} {theirs:10,.0f} {ours / theirs:7.2f}")
    if key == "pipelined_per_s" and ours < theirs:
        sys.exit("missed: the queue is slower than Majordomo")
' || status=1

stage "lstmq bench serve"
run=$(mktemp -d) && trap 'rm -rf "$run"' EXIT
$lstmq train --config notebook --data.pairs .data/fra.txt --run.dir "$run/run" --train.epochs 1 --run.progress none ||
    exit
$lstmq bench serve --bench.seconds "$seconds" --model "$run/run" --data.pairs .data/fra.txt || status=1
exit $status
