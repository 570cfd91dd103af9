#!/usr/bin/env python3
"""Translate greedily in PyTorch, as fast as an expert can on a CPU, and print the speed at each batch size as JSON.

The work is that of `lstmq bench translate --model RUN --data.pairs FILE`: weights and vocabularies of a checkpoint, and
for each sentence as many steps as its reference is long. Sentences are sorted by length, padded only to the longest of
their batch, and leave the batch when they are done."""

import argparse
import json
import os
import random

import torch

from lstmq_torch import read_safetensors
from pytorch_notebook import PAD, SOS, Stopwatch, Translator, encode, normalise


def load(folder):
    tensors = read_safetensors(os.path.join(folder, "model.safetensors"))
    source, embed = tensors["encoder.embedding"].shape
    target, hidden = tensors["projection.weight"].shape
    model = Translator(source, target, embed, hidden)
    with torch.no_grad():
        model.projection.weight.copy_(tensors["projection.weight"])
        model.projection.bias.copy_(tensors["projection.bias"])
        for name, embedding, lstm in (("encoder", model.source, model.encoder),
                                      ("decoder", model.target, model.decoder)):
            embedding.weight.copy_(tensors[name + ".embedding"])
            lstm.weight_ih_l0.copy_(tensors[name + ".lstm.weight_ih_l0"])
            lstm.weight_hh_l0.copy_(tensors[name + ".lstm.weight_hh_l0"])
            lstm.bias_ih_l0.copy_(tensors[name + ".lstm.bias_ih_l0"])
            lstm.bias_hh_l0.zero_()
    return model.eval()


def read_pairs(path, folder):
    """(source ids, steps) of each pair, longest source first, then longest target."""
    def index(name):
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            return {word: i for i, word in enumerate(file.read().split("\n"))}

    source, target = index("src.vocab"), index("tgt.vocab")
    rows = []
    with open(path, encoding="utf-8") as file:
        for line in file.read().strip().split("\n"):
            a, b = map(normalise, line.split("\t")[:2])
            rows.append((encode(a, source), len(encode(b, target))))
    return sorted(rows, key=lambda row: (-len(row[0]), -row[1]))


def decode(model, rows):
    """Rows are in falling order of steps, so finished rows are always the last ones."""
    rows = sorted(rows, key=lambda row: -row[1])
    longest = max(len(ids) for ids, _ in rows)
    source = torch.tensor([ids + [PAD] * (longest - len(ids)) for ids, _ in rows]).t()
    _, (hidden, cell) = model.encoder(model.source(source))
    live = len(rows)
    token = torch.full((live,), SOS)
    out = []
    for t in range(rows[0][1]):
        if rows[live - 1][1] <= t:
            while rows[live - 1][1] <= t:
                live -= 1
            hidden, cell, token = hidden[:, :live].contiguous(), cell[:, :live].contiguous(), token[:live]
        output, (hidden, cell) = model.decoder(model.target(token).unsqueeze(0), (hidden, cell))
        token = model.projection(output[0]).argmax(-1)
        out.append(token)
    return out


def measure(model, rows, size, seconds):
    batches = [rows[i:i + size] for i in range(0, len(rows), size)]
    random.Random(42).shuffle(batches)
    decode(model, rows[:size])
    watch, sentences, tokens, i = Stopwatch(), 0, 0, 0
    while i < 3 or watch.seconds() < seconds:
        batch = batches[i % len(batches)]
        decode(model, batch)
        sentences += len(batch)
        tokens += sum(steps for _, steps in batch)
        i += 1
    taken = watch.seconds()
    return {"batch": size, "sentences_per_s": sentences / taken, "tgt_tok_per_s": tokens / taken}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of a checkpoint, of the notebook recipe")
    parser.add_argument("--pairs", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5)
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    model, rows = load(options.model), read_pairs(options.pairs, options.model)
    with torch.inference_mode():
        batches = [measure(model, rows, size, options.seconds) for size in (1, 64, 256)]
    print(json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads(), "pairs": len(rows),
                      "tgt_tokens_mean": sum(steps for _, steps in rows) / len(rows), "batches": batches}))


if __name__ == "__main__":
    main()
