#!/usr/bin/env python3
"""Hold `lstmq train` against curves that PyTorch computed from the same bits.

  parity.py tiny                 the project's own tiny cases, LSTM and RNN, beside this script
  parity.py reference-tiny       the same for the cases in $LSTMQ_REFERENCE
  parity.py steps                real pairs ($LSTMQ_DATA), first 40 steps and first epochs
  parity.py notebook             real pairs, 50 epochs, LSTM
  parity.py notebook-rnn         real pairs, 30 epochs, plain RNN
  parity.py bf16-steps           real pairs, 2 epochs in bf16 against as many in fp32
  parity.py bf16                 real pairs, 50 epochs in bf16: the best validation accuracy against the reference's
  parity.py or-gate              the notebook's first network

Exit status: 0 all bands kept, 1 a band missed, 77 what is needed is not there. Only the standard library is used.
"""
import array, json, os, pathlib, resource, struct, subprocess, sys, tempfile, zipfile

HERE = pathlib.Path(__file__).resolve().parent
LSTMQ = os.environ.get("LSTMQ", str(HERE.parent.parent / "build/release/lstmq"))
SAMPLES = ("hello", "where is the station ?", "this is a small cat .", "how are you ?", "i do not know")
missed = []


def skip(why):
    print(f"skipped: {why}")
    sys.exit(77)


def check(name, value, limit, unit=""):
    ok = value <= limit
    print(f"  {'ok  ' if ok else 'MISS'} {name}: {value:.3g}{unit} (limit {limit:g}{unit})")
    if not ok:
        missed.append(name)


def check_equal(name, got, wanted):
    ok = got == wanted
    print(f"  {'ok  ' if ok else 'MISS'} {name}: {got}" + ("" if ok else f", wanted {wanted}"))
    if not ok:
        missed.append(name)


def relative(got, wanted):
    return abs(got - wanted) / abs(wanted)


def objects(path):
    return [json.loads(line) for line in open(path, encoding="utf-8")]


def tensors(path):
    """name -> array of floats, from a safetensors file of F32."""
    data = pathlib.Path(path).read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    out = {}
    for name, entry in header.items():
        assert entry["dtype"] == "F32", name
        begin, end = entry["data_offsets"]
        out[name] = array.array("f", data[8 + size + begin:8 + size + end])
    return out


def train(pairs, run, *options):
    command = [
        LSTMQ, "train", "--data.pairs", str(pairs), "--run.dir", str(run), "--progress", "none", *map(str, options)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\nexit status {done.returncode}\n{done.stdout}{done.stderr}")


def real_pairs(folder):
    data = os.environ.get("LSTMQ_DATA")
    archive = data and pathlib.Path(data) / "fra-eng.zip"
    if not archive or not archive.exists():
        skip("LSTMQ_DATA names no folder with fra-eng.zip")
    with zipfile.ZipFile(archive) as z:
        z.extract("fra.txt", folder)
    return folder / "fra.txt"


def reference(name):
    folder = os.environ.get("LSTMQ_REFERENCE")
    path = folder and pathlib.Path(folder) / name
    if not path or not path.exists():
        skip(f"LSTMQ_REFERENCE names no folder with {name}")
    return json.load(open(path, encoding="utf-8"))


def compare_steps(run, curve, loss_limit, norm_limit):
    steps = objects(run / "steps.jsonl")
    check_equal("steps logged", len(steps), len(curve["steps"]))
    check(
        "loss of the first steps, relative", max(relative(g["loss"], w["loss"]) for g, w in zip(steps, curve["steps"])),
        loss_limit)
    check("gradient norm of the first steps, relative",
          max(relative(g["grad_norm"], w["grad_norm"]) for g, w in zip(steps, curve["steps"])), norm_limit)


def compare_tiny(folder, name, cell, lr, steady=10**6):
    """One tiny case: the curve, and the parameters after the last step. `steady` is the last epoch that is judged.
    Later, rounding grows until PyTorch in single precision leaves its own curve in double precision; those epochs
    are only printed."""
    curve = json.load(open(folder / f"{name}_curve.json", encoding="utf-8"))
    print(f"{name}: {len(curve['epochs'])} epochs of {curve['train']} pairs")
    with tempfile.TemporaryDirectory() as temporary:
        run = pathlib.Path(temporary) / "run"
        options = (
            "--config", "notebook", "--model.cell", cell, "--data.take", 23, "--model.embed", 8, "--model.hidden", 12,
            "--train.batch", 5, "--train.lr", lr, "--train.clip", 0.2, "--log.steps", len(curve["steps"]))
        train(folder / "tiny.tsv", run, *options, "--train.epochs", len(curve["epochs"]))
        compare_steps(run, curve, 2e-6, 1e-5)
        epochs = objects(run / "metrics.jsonl")
        check_equal("epochs", len(epochs), len(curve["epochs"]))
        both = [(g, w) for g, w in zip(epochs, curve["epochs"]) if w["epoch"] <= steady]
        check(
            f"train_loss of {len(both)} epochs, relative",
            max(relative(g["train_loss"], w["train_loss"]) for g, w in both), 1e-4)
        check(
            f"validation accuracy of {len(both)} epochs", max(abs(g["val_acc"] - w["val_acc"]) for g, w in both), 1e-9)
        check_equal("target tokens", epochs[0]["tgt_tokens"], curve["epochs"][0]["tgt_tokens"])
        got, wanted = tensors(run / "latest/model.safetensors"), tensors(folder / f"{name}.final.safetensors")
        check_equal("tensor names", sorted(got), sorted(wanted))
        worst = max(abs(a - b) for k in wanted for a, b in zip(got[k], wanted[k]))
        if steady >= len(epochs):
            check("final parameters, absolute", worst, 2e-3)
        else:
            print(f"       not held after epoch {steady}, where rounding has grown: "
                  f"final parameters differ by {worst:.3g}")


def repeats(words):
    return any(words[i] == words[i + 1] == words[i + 2] for i in range(len(words) - 2))


def compare_samples(run, length):
    done = subprocess.run(
        [LSTMQ, "translate", "--model", str(run / "latest")], input="".join(s + "\n" for s in SAMPLES),
        capture_output=True, text=True)
    check_equal("translate exits", done.returncode, 0)
    lines = done.stdout.split("\n")[:-1]
    check_equal("sample translations", len(lines), len(SAMPLES))
    for source, line in zip(SAMPLES, lines):
        print(f"       {source} -> {line}")
        words = line.split()
        good = 0 < len(words) < length - 2 and not repeats(words) and "cut at" not in done.stderr
        check_equal(f"'{source}' is translated, ended, without a word three times running", good, True)


def bands(epochs, curve, limits):
    for first, last, limit in limits:
        pairs = [(g, w) for g, w in zip(epochs, curve["epochs"]) if first <= w["epoch"] <= last]
        if pairs:
            worst = max(relative(g["train_loss"], w["train_loss"]) for g, w in pairs)
            check(f"train_loss of epochs {first}-{min(last, pairs[-1][1]['epoch'])}, relative", worst, limit)


BANDS = ((1, 20, 0.002), (21, 30, 0.005), (31, 10**6, 0.015))
# The plain network is chaotic from its second epoch on: in that epoch PyTorch in double precision differs from the
# reference, PyTorch in single precision, by 0.26 % (4.4445 against 4.4564). The rest only shows that the curve is of
# the same kind.
RNN_BANDS = ((1, 1, 0.002), (2, 10**6, 0.06))


def real(config, curve_name, epochs=None, whole=True):
    curve = reference(curve_name)
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        pairs, run = real_pairs(folder), folder / "run"
        if curve["lines"] != len(pairs.read_text(encoding="utf-8").strip().split("\n")):
            skip("the pairs are another edition than the reference curve's")
        epochs = epochs or len(curve["epochs"])
        train(pairs, run, "--config", config, "--log.steps", len(curve["steps"]), "--train.epochs", epochs)
        compare_steps(run, curve, 1e-5, 1e-4)
        got = objects(run / "metrics.jsonl")
        check_equal("epochs", len(got), epochs)
        check_equal("target tokens of an epoch", got[0]["tgt_tokens"], curve["epochs"][0]["tgt_tokens"])
        bands(got, curve, RNN_BANDS if config == "notebook-rnn" else BANDS)
        if not whole:
            # early validation figures are near the reference's too: a wrong decoder would show
            check(
                "val_tf_loss, relative",
                max(relative(g["val_tf_loss"], w["val_tf_loss"]) for g, w in zip(got, curve["epochs"])), 0.005)
            check(
                "val_loss, relative", max(relative(g["val_loss"], w["val_loss"]) for g, w in zip(got, curve["epochs"])),
                0.02)
            check(
                "val_acc, points", max(100 * abs(g["val_acc"] - w["val_acc"]) for g, w in zip(got, curve["epochs"])), 1)
        else:
            best = max(e["val_acc"] for e in got)
            print(f"       best val_acc {100 * best:.2f} %, "
                  f"BLEU of normalised references {got[-1]['bleu_normalised']:.2f}")
            check("best val_acc, points from the reference's", 100 * abs(best - curve["best_val_acc"]), 1)
            check("BLEU from the reference's", abs(got[-1]["bleu_normalised"] - curve["bleu"]), 1)
            if config == "notebook":
                compare_samples(run, 14)
        speed = sorted(e["tgt_tok_per_s"] for e in got)
        print(f"       target tokens/s: median {speed[len(speed) // 2]:.0f}")
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        check("peak memory", peak, 350, " MB")


def bf16(epochs):
    """bf16 against fp32: `epochs` of both in turn, or, with None, the reference's number of epochs against the
    reference. Rounding leads each run along its own path. So the test compares the results: the loss, and the best
    validation accuracy."""
    if epochs is None:
        curve = reference("notebook_curve.json")
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        probe = subprocess.run(
            [
                LSTMQ, "train", "--data.pairs", HERE / "tiny.tsv", "--run.dir", folder / "probe", "--train.epochs", "1",
                "--model.hidden", "8", "--progress", "none", "--train.precision", "bf16"],
            capture_output=True, text=True)
        if "AVX512_BF16" in probe.stderr:
            skip("bf16 wants a processor with AVX512_BF16 or AMX")
        pairs, got = real_pairs(folder), {}
        for precision in ("bf16", "fp32") if epochs else ("bf16",):
            train(pairs, folder / precision, "--config", "notebook", "--no-train.bleu", "--train.precision", precision,
                  "--train.epochs", epochs or len(curve["epochs"]))
            got[precision] = objects(folder / precision / "metrics.jsonl")
        wanted = got["fp32"] if epochs else curve["epochs"]
        best, theirs = (max(e["val_acc"] for e in side) for side in (got["bf16"], wanted))
        print(f"       best val_acc {100 * best:.2f} % in bf16, {100 * theirs:.2f} % in fp32")
        check("best val_acc, points from fp32's", 100 * abs(best - theirs), 1)
        check(
            "train_loss, relative",
            max(relative(g["train_loss"], w["train_loss"]) for g, w in zip(got["bf16"], wanted)),
            0.01 if epochs else 0.05)
        check("val_tf_loss of the first epochs, relative",
              max(relative(g["val_tf_loss"], w["val_tf_loss"]) for g, w in zip(got["bf16"][:4], wanted)), 0.01)


def main():
    case = sys.argv[1] if len(sys.argv) > 1 else ""
    if case == "tiny":
        compare_tiny(HERE, "tiny", "lstm", 0.005)
        compare_tiny(HERE, "tiny_rnn", "rnn", 0.005)
    elif case == "reference-tiny":
        reference("tiny_curve.json")
        folder = pathlib.Path(os.environ["LSTMQ_REFERENCE"])
        compare_tiny(folder, "tiny", "lstm", 0.02)
        compare_tiny(folder, "tiny_rnn", "rnn", 0.02, steady=16)
    elif case == "steps":
        real("notebook", "notebook_curve.json", epochs=2, whole=False)
    elif case == "notebook":
        real("notebook", "notebook_curve.json")
    elif case == "notebook-rnn":
        real("notebook-rnn", "notebook_rnn_curve.json")
    elif case == "bf16-steps":
        bf16(2)
    elif case == "bf16":
        bf16(None)
    elif case == "or-gate":
        sys.exit(subprocess.run([LSTMQ, "or-gate"]).returncode)
    else:
        sys.exit(__doc__)
    print("missed: " + ", ".join(missed) if missed else "all bands kept")
    sys.exit(1 if missed else 0)


main()
