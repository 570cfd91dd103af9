#!/usr/bin/env python3
"""Train the notebook's network as the notebook does, and print the speed as JSON.

Nothing is faster than in the notebook: a cell of four gates with eight small products, called once for each step of
either side; every row padded to 14 ids on both sides; the projection inside the decoder's loop, for padding too;
teacher forcing with the padded target; predictions of all positions for the running accuracy; plain Adam, gradient
clipping and `.item()`. Only the pairs, their order and the number of threads are those of the other programs. It is
slow, so only some steps of an epoch are timed, after a few that do not count."""

import argparse
import json
import random

import torch
from torch import nn
from torch.nn import functional as F

from pytorch_notebook import PAD, SOS, Notebook, Stopwatch

LENGTH, BATCH = 14, 64


class Gate(nn.Module):
    def __init__(self, inputs, hidden):
        super().__init__()
        self.of_input = nn.Parameter(nn.init.xavier_uniform_(torch.empty(inputs, hidden)))
        self.of_state = nn.Parameter(nn.init.xavier_uniform_(torch.empty(hidden, hidden)))
        self.bias = nn.Parameter(torch.zeros(hidden))

    def forward(self, x, h):
        return x @ self.of_input + h @ self.of_state + self.bias


class Cell(nn.Module):
    def __init__(self, inputs, hidden):
        super().__init__()
        self.let_in, self.forget, self.candidate, self.let_out = (Gate(inputs, hidden) for _ in range(4))

    def forward(self, x, state):
        h, c = state
        i, f = torch.sigmoid(self.let_in(x, h)), torch.sigmoid(self.forget(x, h))
        g, o = torch.tanh(self.candidate(x, h)), torch.sigmoid(self.let_out(x, h))
        c = f * c + i * g
        return o * torch.tanh(c), c


class Encoder(nn.Module):
    def __init__(self, vocabulary, embed, hidden):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embed, padding_idx=PAD)
        self.cell, self.hidden = Cell(embed, hidden), hidden

    def forward(self, source):
        state = torch.zeros(len(source), self.hidden), torch.zeros(len(source), self.hidden)
        for t in range(source.size(1)):
            state = self.cell(self.embedding(source[:, t]), state)
        return state


class Decoder(nn.Module):
    def __init__(self, vocabulary, embed, hidden):
        super().__init__()
        self.embedding, self.cell = nn.Embedding(vocabulary, embed, padding_idx=PAD), Cell(embed, hidden)
        self.projection = nn.Linear(hidden, vocabulary)

    def forward(self, state, target):
        logits = []
        for t in range(target.size(1)):
            before = target[:, t - 1] if t > 0 else torch.full((len(target),), SOS)
            state = self.cell(self.embedding(before), state)
            logits.append(self.projection(state[0]).unsqueeze(1))
        logits = torch.cat(logits, 1)
        return logits, logits.argmax(-1)


def padded(rows):
    return torch.tensor([ids + [PAD] * (LENGTH - len(ids)) for ids in rows])


def batches(source, target):
    """Without end: each epoch's rows, in its own order."""
    order = list(range(len(source)))
    while True:
        random.shuffle(order)
        for first in range(0, len(order), BATCH):
            rows = order[first:first + BATCH]
            yield source[rows], target[rows]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--warm-up", type=int, default=3, help="steps before the clock starts")
    options = parser.parse_args()

    random.seed(42)
    torch.manual_seed(42)
    torch.set_num_threads(options.threads)
    data = Notebook(options.pairs)
    source, target = (padded(side) for side in zip(*data.rows))
    encoder, decoder = Encoder(data.vocabularies[0], 128, 256), Decoder(data.vocabularies[1], 128, 256)
    parameters = [*encoder.parameters(), *decoder.parameters()]
    adam = torch.optim.Adam(parameters, lr=5e-4, weight_decay=1e-5)

    watch, tokens, loss_sum, right, total = Stopwatch(), 0, 0.0, 0, 0
    for step, (x, y) in zip(range(options.warm_up + options.steps), batches(source, target)):
        if step == options.warm_up:
            tokens = 0
            watch.start()
        logits, predicted = decoder(encoder(x), y)
        loss = F.cross_entropy(logits.reshape(-1, logits.size(-1)), y.reshape(-1), ignore_index=PAD)
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        adam.step()
        loss_sum += loss.item()
        real = y != PAD
        right += ((predicted == y) & real).sum().item()
        total += real.sum().item()
        tokens += int(real.sum())
    seconds = watch.seconds()
    print(json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads(), "steps": options.steps,
                      "tgt_tok_per_s": tokens / seconds, "seconds": seconds, "train_acc": right / total,
                      "loss": loss_sum / (options.warm_up + options.steps)}))


if __name__ == "__main__":
    main()
