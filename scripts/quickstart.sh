#!/usr/bin/env bash
# quickstart.sh [--epochs N] - from a fresh machine to a trained model and its first translations.
#
# Installs what the build needs, builds, gets sentence pairs, trains the recipe ops/recipes/notebook.yaml, and
# translates five sentences. Safe to repeat and to interrupt: finished parts are not repeated, and a stopped training
# continues where it was. --epochs N trains N epochs instead of the recipe's, for a short look.
set -u
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root" || exit 1

lstmq=build/release/lstmq
epochs=
while [ $# -gt 0 ]; do
    case "$1" in
    --epochs) epochs=${2:-} && shift ;;
    --epochs=*) epochs=${1#*=} ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
    esac
    case "$epochs" in '' | *[!0-9]* | 0) die "--epochs needs a number from 1" ;; esac
    shift
done
trap 'exit 130' INT TERM

# The number of the last epoch in metrics.jsonl.
epochs_done() {
    [ -f "$run/metrics.jsonl" ] || { echo 0 && return; }
    sed -n 's/.*"epoch": *\([0-9]*\).*/\1/p' "$run/metrics.jsonl" | tail -n 1 | grep . || echo 0
}

train() {
    local wanted words=(--config notebook --data.pairs "$pairs" --run.dir "$run") status
    wanted=${epochs:-$("$lstmq" train "${words[@]}" --dump-config | sed -n 's/^ *epochs: *//p')}
    words+=(--train.epochs "$wanted")
    if [ "$(epochs_done)" -ge "$wanted" ]; then
        say "$run has finished its $wanted epochs already (to train again: rm -r $run)"
        return 0
    fi
    if [ -e "$run" ]; then
        words+=(--resume)
        say "$run exists: training continues from its latest checkpoint"
    fi
    # On Ctrl-C the program writes a checkpoint and exits; its exit status then ends this script.
    trap : INT
    "$lstmq" train "${words[@]}"
    status=$?
    trap 'exit 130' INT
    [ $status -ne 130 ] || say "Interrupted; run scripts/quickstart.sh again to continue"
    return $status
}

scripts/dependencies.sh build || exit
stage "Building"
build release lstmq
"$lstmq" --version >&2

stage "Sentence pairs"
pairs=$(scripts/data.sh) || exit
pairs=${pairs#"$root"/}
run=runs/quickstart
! grep -q "generated sample" .data/EDITION || run=runs/quickstart-sample

stage "Training"
train || exit

stage "Five translations"
sentences="hello
where is the station ?
this is a small cat .
how are you ?
i do not know"
translations=$("$lstmq" translate --model "$run" <<<"$sentences") || exit
paste <(echo "$sentences") <(echo "$translations") | awk -F '\t' '{ printf "  %-24s  %s\n", $1, $2 }'

cat <<TEXT

The curves:  $run/report.html (open it in a browser; the figures are in $run/metrics.jsonl)
What next:
  translate your own sentences
    echo 'i am happy .' | $lstmq translate --model $run
  serve the model to programs and browsers, and ask it (docs/serving.md has more)
    $lstmq serve --model $run --http 127.0.0.1:5000 &
    curl -s --retry 5 --retry-connrefused http://127.0.0.1:5000/translate -d q='i am happy .' -d source=en -d target=fr
  train on your own pairs, SOURCE TAB TARGET in each line; --resume continues an interrupted run
    $lstmq train --config default --data.pairs MINE.tsv --run.dir runs/mine
  train on all of these pairs, without the notebook's quirks
    $lstmq train --config default --data.pairs $pairs --run.dir runs/default
  see the other commands, and run the tests
    $lstmq help
    scripts/test.sh
TEXT
