#!/usr/bin/env python3
"""bench_table.py ROUNDS --target NAME=RATIO... [--heading TEXT] [--profile FILE] [--note TEXT]... [--write-page
PAGE] - the table of bench_pytorch.sh, from its measurements.

ROUNDS has a line for each measurement: ROW SIDE VALUE. ROW is one of the names below, SIDE is lstmq or a way to run
PyTorch, VALUE is target tokens/s. The first line of a row and side belongs to the first round, and so on. PyTorch's
best way counts, by its median. It prints medians, the ratio of the medians and the ratio of each round. With
--write-page the table, and below it the profile of a step, replace the text between the page's two lines <!-- bench -->
and <!-- /bench -->. The exit status is 1 if a ratio misses its target, which stderr then names."""

import argparse
import sys
import textwrap
from statistics import median

# name of the target, title of its row, measurement of lstmq, measurement of PyTorch
COMPARED = (
    ("fp32", "training, fp32, against the expert's", "fp32", "fp32"),
    ("as-written", "training, fp32, against the notebook as written", "fp32", "as-written"),
    ("bf16", "training, bf16, against the expert's bf16", "bf16", "bf16"),
    ("bf16-fp32", "training, bf16, against the expert's fp32", "bf16", "fp32"),
    ("one", "decoding, one sentence at a time", "decode-1", "decode-1"),
    (None, "decoding, 64 at a time", "decode-64", "decode-64"),
    (None, "decoding, 256 at a time", "decode-256", "decode-256"),
    ("decode", "decoding, the better of both on either side", "decode", "decode"),
)
# measurement, its title, its limit in MB
MEMORY = (("memory-train", "training", 250), ("memory-decode", "decoding", 120))
BEGIN, END = "<!-- bench -->", "<!-- /bench -->"
LINE_LENGTH = 120


def read(path):
    """{row: {side: [value of each round]}}"""
    rows = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            row, side, value = line.split()
            rows.setdefault(row, {}).setdefault(side, []).append(float(value))
    batched = [rows[row] for row in ("decode-64", "decode-256") if row in rows]
    if batched:
        rows["decode"] = {side: max((row[side] for row in batched), key=median) for side in batched[0]}
    return rows


def compare(rows, targets):
    """(lines of the table, what was missed)"""
    lines, missed = [], []
    for target, shown, ours_row, theirs_row in COMPARED:
        ours = rows.get(ours_row, {}).get("lstmq")
        ways = {way: values for way, values in rows.get(theirs_row, {}).items() if way != "lstmq"}
        if not ours or not ways:
            continue
        way = max(ways, key=lambda name: median(ways[name]))
        theirs = ways[way]
        ratio, least = median(ours) / median(theirs), targets.get(target)
        each = ", ".join(f"{a / b:.2f}" for a, b in zip(ours, theirs))
        by = f" ({way})" if len(ways) > 1 else ""
        lines.append(f"| {shown} | {median(theirs):,.0f}{by} | {median(ours):,.0f} | {ratio:.2f} | {each} | "
                     f"{'' if least is None else f'{least:g}'} |")
        if least is not None and ratio < least:
            missed.append(f"{shown}: {ratio:.2f} times PyTorch's speed, the target is {least:g}")
    return lines, missed


def memory(rows):
    """(a sentence, what was missed)"""
    known = [(name, rows[row]["lstmq"][-1], most) for row, name, most in MEMORY if row in rows]
    text = ", ".join(f"{name} {value:.0f} MB (at most {most})" for name, value, most in known)
    return (f"Peak memory: {text}." if known else "",
            [f"memory: {name}: {value:.0f} MB, the target is {most}" for name, value, most in known if value > most])


def write_page(path, text):
    with open(path, encoding="utf-8") as file:
        page = file.read()
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        sys.exit(f"{path} has no place for the table: add the lines {BEGIN} and {END}")
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{before}{BEGIN}\n{text}\n{END}{after}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rounds")
    parser.add_argument("--target", action="append", default=[], metavar="NAME=RATIO")
    parser.add_argument("--heading", default="")
    parser.add_argument("--note", action="append", default=[])
    parser.add_argument("--profile", action="append", default=[])
    parser.add_argument("--write-page")
    options = parser.parse_args()
    targets = {name: float(ratio) for name, ratio in (target.split("=") for target in options.target)}

    rows = read(options.rounds)
    table, missed = compare(rows, targets)
    used, too_much = memory(rows)
    missed += too_much
    text = [options.heading, "", "| target tokens/s | PyTorch | lstmq | ratio | each round | target |",
            "|---|---|---|---|---|---|",
            *table]
    for note in filter(None, [used, *options.note, missed and f"Missed: {'; '.join(missed)}."]):
        text += ["", *textwrap.wrap(note, LINE_LENGTH, break_on_hyphens=False)]
    print(*text, sep="\n")
    for path in options.profile:
        with open(path, encoding="utf-8") as file:
            text += ["", "```text", file.read().rstrip(), "```"]
    if options.write_page:
        write_page(options.write_page, "\n".join(text))
    print(*missed, sep="\n", end="\n" if missed else "", file=sys.stderr)
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
