"""The notebook recipe's pairs and model in PyTorch, as an expert writes it for speed.

The programs that bench_pytorch.sh compares to lstmq share it. As a program it prints the validation pairs:
pytorch_notebook.py PAIRS."""

import random
import re
import sys
import time

import torch
from torch import nn

PAD, SOS, EOS, UNKNOWN = 0, 1, 2, 3


def normalise(text):
    text = re.sub(r"[^a-zA-ZÀ-ÿ?.!'\s-]", "", text.lower().strip())
    return re.sub(r"\s+", " ", text).strip()


def encode(text, index, length=14):
    return ([SOS] + [index.get(word, UNKNOWN) for word in text.split()] + [EOS])[:length]


def vocabulary(texts, limit=10000):
    counts = {}
    for text in texts:
        for word in text.split():
            counts[word] = counts.get(word, 0) + 1
    words = sorted(counts, key=lambda word: (-counts[word], word))
    return ["<pad>", "<sos>", "<eos>", *words][:limit]


class Notebook:
    """The recipe's training and validation pairs, and the random numbers that also shuffle each epoch."""

    def __init__(self, path, take=8000, seed=42):
        self.stream = random.Random(seed)
        pairs = []
        with open(path, encoding="utf-8") as file:
            for line in file.read().strip().split("\n"):
                source, target = map(normalise, line.split("\t")[:2])
                if 2 <= len(source.split()) <= 10 and 2 <= len(target.split()) <= 10:
                    pairs.append((source, target))
        self.stream.shuffle(pairs)
        pairs = pairs[:take]
        words = [vocabulary(side) for side in zip(*pairs)]
        self.vocabularies = tuple(map(len, words))
        source, target = ({word: i for i, word in enumerate(side)} for side in words)
        cut = int(0.9 * len(pairs))
        self.rows = [(encode(a, source), encode(b, target)) for a, b in pairs[:cut]]
        self.held_out = pairs[cut:]

    def epoch(self, batch):
        """The batches of the next epoch: row numbers."""
        order = list(range(len(self.rows)))
        self.stream.shuffle(order)
        return [order[i:i + batch] for i in range(0, len(order), batch)]


class Translator(nn.Module):
    """Time-major; embeddings, one layer of LSTM on each side, a projection."""

    def __init__(self, source, target, embed=128, hidden=256):
        super().__init__()
        self.source = nn.Embedding(source, embed, padding_idx=PAD)
        self.target = nn.Embedding(target, embed, padding_idx=PAD)
        self.encoder = nn.LSTM(embed, hidden)
        self.decoder = nn.LSTM(embed, hidden)
        self.projection = nn.Linear(hidden, target)


class Stopwatch:
    """Seconds since the last start."""

    def __init__(self):
        self.start()

    def start(self):
        self.begin = time.perf_counter()

    def seconds(self):
        return time.perf_counter() - self.begin


if __name__ == "__main__":
    for pair in Notebook(sys.argv[1]).held_out:
        print(*pair, sep="\t")
