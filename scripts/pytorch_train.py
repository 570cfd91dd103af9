#!/usr/bin/env python3
"""Train the notebook recipe's model in PyTorch, as fast as an expert can on a CPU, and print its speed as JSON.

It has the same pairs and the same batches in the same order as `lstmq train --config notebook`. It is fast because of
time-major sequences of the batch's longest length, projection and loss on real positions only, fused Adam, gradients
set to None, and no denormals."""

import argparse
import json

import torch
from torch import nn
from torch.nn import functional as F

from pytorch_notebook import PAD, SOS, Notebook, Stopwatch, Translator


class Trained(Translator):
    def forward(self, source, inputs, real, target):
        _, state = self.encoder(self.source(source))
        hidden, _ = self.decoder(self.target(inputs), state)
        hidden = hidden.reshape(-1, hidden.size(-1)).index_select(0, real)
        return F.cross_entropy(self.projection(hidden), target)


def pack(rows):
    """Source [S, B], decoder inputs [T, B], the real target positions, and their ids."""
    def padded(lists):
        longest = max(map(len, lists))
        return torch.tensor([ids + [PAD] * (longest - len(ids)) for ids in lists]).t().contiguous()

    source, target = padded([a for a, _ in rows]), padded([b for _, b in rows])
    inputs = torch.cat([torch.full_like(target[:1], SOS), target[:-1]])
    flat = target.reshape(-1)
    real = flat.nonzero().reshape(-1)
    return source, inputs, real, flat.index_select(0, real)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--warm-up", type=int, default=10, help="steps before the clock starts")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--compile", action="store_true", help="through torch.compile")
    options = parser.parse_args()

    torch.manual_seed(42)
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    data = Notebook(options.pairs)
    model = Trained(*data.vocabularies)
    run = torch.compile(model, dynamic=True) if options.compile else model
    parameters = list(model.parameters())
    adam = torch.optim.Adam(parameters, lr=5e-4, weight_decay=1e-5, fused=True)

    def step(rows):
        batch = pack([data.rows[row] for row in rows])
        with torch.autocast("cpu", torch.bfloat16, enabled=options.precision == "bf16"):
            loss = run(*batch)
        adam.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        adam.step()
        return len(batch[3]), loss

    for rows in data.epoch(options.batch)[:options.warm_up]:
        step(rows)
    data = Notebook(options.pairs)
    watch, tokens, steps, epoch_tokens = Stopwatch(), 0, 0, []
    for _ in range(options.epochs):
        before = tokens
        for rows in data.epoch(options.batch):
            count, loss = step(rows)
            tokens += count
            steps += 1
        epoch_tokens.append(tokens - before)
    seconds = watch.seconds()
    print(json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads(), "precision": options.precision,
                      "steps": steps, "tgt_tokens": epoch_tokens[0], "seconds": seconds,
                      "tgt_tok_per_s": tokens / seconds, "loss": loss.item()}))


if __name__ == "__main__":
    main()
