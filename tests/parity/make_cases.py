#!/usr/bin/env python3
"""Write the tiny parity cases beside this script: tiny_curve.json, tiny.final.safetensors and their tiny_rnn twins.

PyTorch in double precision, every random draw from CPython's MT19937: one stream shuffles the pairs and then each
epoch, another one draws the parameters in table order. Run it again only after a change of tiny.tsv. Needs torch, numpy
and safetensors."""
import json, math, pathlib, random, re
import numpy as np, torch
import torch.nn.functional as F
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).resolve().parent
PAD, SOS, EOS, UNKNOWN = range(4)
TAKE, E, H, BATCH, EPOCHS, LENGTH, SEED = 23, 8, 12, 5, 40, 14, 42
LR, DECAY, CLIP = 0.005, 1e-5, 0.2
torch.set_default_dtype(torch.float64)


def clean(text):
    kept = re.sub(r"[^a-zA-ZÀ-ÿ?.!'\s-]", "", text.lower().strip())
    return " ".join(kept.split())


def read_pairs(stream):
    rows = (HERE / "tiny.tsv").read_text(encoding="utf-8").strip().split("\n")
    pairs = [tuple(clean(part) for part in row.split("\t")[:2]) for row in rows]
    pairs = [pair for pair in pairs if all(2 <= len(side.split()) <= 10 for side in pair)]
    stream.shuffle(pairs)
    return len(rows), pairs[:TAKE]


def vocabulary(sentences):
    count = {}
    for word in " ".join(sentences).split():
        count[word] = count.get(word, 0) + 1
    return {word: i for i, word in enumerate(["<pad>", "<sos>", "<eos>"] + sorted(count, key=lambda w: (-count[w], w)))}


def encode(sentences, ids):
    rows = torch.zeros(len(sentences), LENGTH, dtype=torch.long)
    for row, sentence in zip(rows, sentences):
        full = [SOS] + [ids.get(word, UNKNOWN) for word in sentence.split()] + [EOS]
        row[:len(full[:LENGTH])] = torch.tensor(full[:LENGTH])
    return rows


def draw_parameters(cell, sizes):
    """The table of tensors, as float32 values in double precision."""
    rng, table = random.Random(SEED), {}
    G = 4 * H if cell == "lstm" else H

    def single(values, *shape):
        return torch.tensor(np.array(values, np.float32).reshape(shape), dtype=torch.float64)

    def uniform(bound, *shape):
        return single([bound * (2.0 * rng.random() - 1.0) for _ in range(math.prod(shape))], *shape)

    for side, V in zip(("encoder", "decoder"), sizes):
        embedding = single([rng.gauss(0.0, 1.0) for _ in range(V * E)], V, E)
        embedding[PAD] = 0
        table[f"{side}.embedding"] = embedding
        table[f"{side}.{cell}.weight_ih_l0"] = uniform(math.sqrt(6 / (E + H)), G, E)
        if cell == "lstm":
            hidden = uniform(math.sqrt(6 / (H + H)), G, H)
        else:
            q = np.array([[rng.gauss(0.0, 1.0) for _ in range(H)] for _ in range(H)])
            for i in range(H):
                for j in range(i):
                    q[i] -= (q[i] @ q[j]) * q[j]
                q[i] /= np.sqrt(q[i] @ q[i])
            hidden = single(q, H, H)
        table[f"{side}.{cell}.weight_hh_l0"] = hidden
        table[f"{side}.{cell}.bias_ih_l0"] = torch.zeros(G)
    table["projection.weight"] = uniform(1 / math.sqrt(H), sizes[1], H)
    table["projection.bias"] = uniform(1 / math.sqrt(H), sizes[1])
    return {name: value.requires_grad_() for name, value in table.items()}


class Model:
    def __init__(self, cell, table):
        self.cell, self.table = cell, table

    def step(self, side, ids, h, c):
        """One time step, written out: gates in the order i, f, g, o."""
        t = self.table
        x = F.embedding(ids, t[f"{side}.embedding"], padding_idx=PAD)
        layer = f"{side}.{self.cell}."
        a = x @ t[layer + "weight_ih_l0"].T + t[layer + "bias_ih_l0"] + h @ t[layer + "weight_hh_l0"].T
        if self.cell == "rnn":
            return torch.tanh(a), c
        i, f, g, o = a.chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c

    def logits(self, source, target, free):
        h = c = torch.zeros(len(source), H)
        for t in range(LENGTH):
            h, c = self.step("encoder", source[:, t], h, c)
        ids, out = torch.full((len(source),), SOS), []
        for t in range(LENGTH):
            h, c = self.step("decoder", ids, h, c)
            out.append(h @ self.table["projection.weight"].T + self.table["projection.bias"])
            ids = out[-1].argmax(1) if free else target[:, t]
        return torch.stack(out, 1)


def loss_of(logits, target):
    return F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=PAD)


def validate(model, source, target):
    accuracy, free_loss, forced_loss, tokens = [], [], 0.0, 0
    for x, y in zip(source.split(BATCH), target.split(BATCH)):
        real = y != PAD
        free = model.logits(x, y, True)
        accuracy.append(((free.argmax(2) == y) & real).sum().item() / real.sum().item())
        free_loss.append(loss_of(free, y).item())
        forced_loss += loss_of(model.logits(x, y, False), y).item() * real.sum().item()
        tokens += real.sum().item()
    return {
        "val_loss": sum(free_loss) / len(free_loss), "val_acc": sum(accuracy) / len(accuracy),
        "val_tf_loss": forced_loss / tokens}


def make(cell, name):
    stream = random.Random(SEED)
    lines, pairs = read_pairs(stream)
    src, tgt = vocabulary([p[0] for p in pairs]), vocabulary([p[1] for p in pairs])
    x, y = encode([p[0] for p in pairs], src), encode([p[1] for p in pairs], tgt)
    cut = int(0.9 * len(pairs))
    table = draw_parameters(cell, (len(src), len(tgt)))
    model, adam = Model(cell, table), torch.optim.Adam(table.values(), lr=LR, weight_decay=DECAY)
    curve = {
        "lines": lines, "pairs": len(pairs), "train": cut, "src_vocab": len(src), "tgt_vocab": len(tgt), "steps": [],
        "epochs": []}
    for epoch in range(1, EPOCHS + 1):
        order, losses, right, tokens = list(range(cut)), [], 0, 0
        stream.shuffle(order)
        for rows in torch.tensor(order).split(BATCH):
            logits = model.logits(x[rows], y[rows], False)
            loss = loss_of(logits, y[rows])
            adam.zero_grad()
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(table.values(), CLIP)
            adam.step()
            real = y[rows] != PAD
            right += ((logits.argmax(2) == y[rows]) & real).sum().item()
            tokens += real.sum().item()
            losses.append(loss.item())
            if len(curve["steps"]) < 40:
                curve["steps"].append({"loss": loss.item(), "grad_norm": norm.item()})
        with torch.no_grad():
            scores = validate(model, x[cut:], y[cut:])
        curve["epochs"].append(
            {
                "epoch": epoch, "train_loss": sum(losses) / len(losses), "train_acc": right / tokens,
                "tgt_tokens": tokens, **scores})
    (HERE / f"{name}_curve.json").write_text(json.dumps(curve, indent=1) + "\n")
    save_file({k: v.detach().float().contiguous() for k, v in table.items()}, HERE / f"{name}.final.safetensors")
    print(name, curve["epochs"][-1])


make("lstm", "tiny")
make("rnn", "tiny_rnn")
