#!/usr/bin/env python3
"""Train the notebook recipe's model in PyTorch on several processes, with DistributedDataParallel over gloo.

Otherwise it trains like pytorch_train.py. Rank 0 prints the speed as JSON. Each batch is cut into one part for each
rank. The ranks find each other through --store, a file that must not exist yet."""

import argparse
import json

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from pytorch_notebook import Notebook, Stopwatch
from pytorch_train import Trained, pack


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", required=True)
    parser.add_argument("--rank", type=int, required=True)
    parser.add_argument("--ranks", type=int, required=True)
    parser.add_argument("--store", required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--warm-up", type=int, default=10, help="steps before the clock starts")
    parser.add_argument("--batch", type=int, default=64)
    options = parser.parse_args()

    torch.manual_seed(42)
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    distributed.init_process_group("gloo", init_method=f"file://{options.store}", rank=options.rank,
                                   world_size=options.ranks)
    data = Notebook(options.pairs)
    model = DistributedDataParallel(Trained(*data.vocabularies), gradient_as_bucket_view=True)
    parameters = list(model.parameters())
    adam = torch.optim.Adam(parameters, lr=5e-4, weight_decay=1e-5, fused=True)

    def step(rows):
        batch = pack([data.rows[row] for row in rows[options.rank::options.ranks]])
        total = sum(len(data.rows[row][1]) for row in rows)
        # Gradients are averaged over ranks; the loss is the mean over the whole batch's tokens.
        loss = model(*batch) * (len(batch[3]) * options.ranks / total)
        adam.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        adam.step()
        return total

    for rows in data.epoch(options.batch)[:options.warm_up]:
        step(rows)
    data = Notebook(options.pairs)
    distributed.barrier()
    watch, tokens, steps = Stopwatch(), 0, 0
    for _ in range(options.epochs):
        for rows in data.epoch(options.batch):
            tokens += step(rows)
            steps += 1
    distributed.barrier()
    seconds = watch.seconds()
    if options.rank == 0:
        print(json.dumps({"torch": torch.__version__, "ranks": options.ranks, "threads": options.threads,
                          "steps": steps, "seconds": seconds, "tgt_tok_per_s": tokens / seconds}))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
