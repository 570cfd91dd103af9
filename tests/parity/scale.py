#!/usr/bin/env python3
"""Check that time and memory of `lstmq train --config default` grow with the pairs and no faster.

  scale.py small    a small network, 4,000, 16,000 and 64,000 pairs: memory; time is printed and not judged
  scale.py full     the recipe's own network as well, 4,000, 32,000 and all pairs of $LSTMQ_DATA: time within 10 %

Three files hold the same pairs in a random order, cut at different lengths, so that their sentences are equally long.
Without $LSTMQ_DATA the pairs are drawn from a grammar. The recipe's vocabulary grows with the pairs, and with it the
network and the cost of a token. So data.vocab_limit is the vocabulary of the smallest file, and all three train the
same network.

Time is that of an epoch's training, from metrics.jsonl, divided by target tokens. For the smaller files it is the
fastest of some epochs, since other processes may use the machine. Memory is the peak of the process after one epoch:
its growth from file to file, divided by the pairs between them. A small network is the harder test of memory: a large
one would hide what is read before the network exists. Exit status: 0 kept, 1 missed, 77 a requirement is missing."""
import json, os, pathlib, random, subprocess, sys, tempfile, zipfile

HERE = pathlib.Path(__file__).resolve().parent
LSTMQ = os.environ.get("LSTMQ", str(HERE.parent.parent / "build/release/lstmq"))
BYTES_A_PAIR = 100
SMALL = ("--data.vocab_limit", "1000", "--model.embed", "16", "--model.hidden", "32")
RECIPE = ("--data.vocab_limit", "3000")
missed = []


def check(name, ok, text):
    print(f"  {'ok  ' if ok else 'MISS'} {name}: {text}", flush=True)
    if not ok:
        missed.append(name)


def all_pairs(count):
    """Lines SOURCE TAB TARGET in a random order: the real pairs, or `count` drawn ones."""
    draw = random.Random(1)
    archive = pathlib.Path(os.environ.get("LSTMQ_DATA", "/nowhere")) / "fra-eng.zip"
    if archive.exists():
        with zipfile.ZipFile(archive) as z:
            lines = z.read("fra.txt").decode("utf-8").strip().split("\n")
        draw.shuffle(lines)
        return lines
    if count is None:
        print("skipped: LSTMQ_DATA names no folder with fra-eng.zip")
        sys.exit(77)
    def word(side):
        return f"{side}{int(2000 ** draw.random()):x}".translate(str.maketrans("0123456789", "ghijklmnop"))
    def sentence(side):
        return " ".join(word(side) for _ in range(draw.randint(2, 10)))
    return [f"{sentence('a')}\t{sentence('b')}" for _ in range(count)]


def train(pairs, run, epochs, options):
    """(peak MB, seconds of training for each target token in the quickest epoch, pairs trained on)"""
    command = [
        LSTMQ, "train", "--config", "default", "--data.pairs", str(pairs), "--run.dir", str(run), "--train.epochs",
        str(epochs), "--no-train.bleu", "--train.keep", "1", "--progress", "none", "--log.level", "warn", *options]
    child = os.posix_spawn(LSTMQ, command, os.environ)
    _, status, usage = os.wait4(child, 0)
    if status != 0:
        sys.exit(f"{' '.join(command)}\nstatus {status}")
    with open(run / "metrics.jsonl", encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    subprocess.run(["rm", "-rf", str(run)], check=True)
    return usage.ru_maxrss / 1024, min(1 / record["tgt_tok_per_s"] for record in records), records[0]["tgt_tokens"]


def compare(folder, files, options, slack, memory=True):
    points = []
    for pairs, path in files:
        epochs = max(1, min(4, 64000 // pairs))
        peak, _, tokens = train(path, folder / "run", 1, options)
        seconds = min(train(path, folder / "run", epochs, options)[1] for _ in range(2 if pairs < 50000 else 1))
        points.append((pairs, peak, seconds))
        print(
            f"       {pairs} pairs: {tokens} target tokens, {1e6 * seconds:.2f} us each, peak {peak:.1f} MB", flush=True
        )
    slowest, quickest = max(p[2] for p in points), min(p[2] for p in points)
    if slack is not None:
        check(
            "time for each token, slowest over quickest", slowest <= slack * quickest,
            f"{slowest / quickest:.3f} (limit {slack:g})")
    if memory:
        (least, before, _), (most, after, _) = points[0], points[-1]
        growth = (after - before) * 2**20 / (most - least)
        check("memory for each further pair", growth <= BYTES_A_PAIR, f"{growth:.0f} bytes (limit {BYTES_A_PAIR})")


def main():
    case = sys.argv[1] if len(sys.argv) > 1 else ""
    if case not in ("small", "full"):
        sys.exit(__doc__)
    lines = all_pairs(64000 if case == "small" else None)
    with tempfile.TemporaryDirectory(prefix="lstmq-scale-") as temporary:
        folder = pathlib.Path(temporary)
        counts = (4000, 16000, 64000) if case == "small" else (4000, 32000, len(lines))
        files = [(count, folder / f"{count}.tsv") for count in counts]
        for count, path in files:
            path.write_text("\n".join(lines[:count]) + "\n", encoding="utf-8")
        print("a small network", flush=True)
        compare(folder, files, SMALL, None if case == "small" else 1.25)
        if case == "full":
            print("the recipe's network", flush=True)
            compare(folder, files, RECIPE, 1.1)
    print("missed: " + ", ".join(missed) if missed else "all kept")
    sys.exit(1 if missed else 0)


main()
