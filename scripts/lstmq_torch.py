"""A trained lstmq model in PyTorch: the same losses, the same translations. It needs torch and nothing else.

    import lstmq_torch
    model = lstmq_torch.load("runs/quickstart")   # a run, or one of its checkpoints
    print(model.translate("i am happy ."))

A checkpoint has one bias for each side, but PyTorch adds two: bias_hh_l0 is zero here. To train further as lstmq does,
exclude bias_hh_l0 from the optimizer: it would learn the same a second time."""

import json
import os
import re
import unicodedata

import torch
from torch import nn
from torch.nn import functional as F

PAD, SOS, EOS, UNKNOWN = 0, 1, 2, 3
MARKERS = ("<pad>", "<sos>", "<eos>", "<unk>")


def read_safetensors(path):
    """{name: tensor} of a file of float32 tensors."""
    with open(path, "rb") as file:
        data = bytearray(file.read())
    size = int.from_bytes(data[:8], "little")
    tensors = {}
    for name, entry in json.loads(data[8:8 + size]).items():
        if name == "__metadata__":
            continue
        if entry["dtype"] != "F32":
            raise ValueError(f"{path}: {name} is {entry['dtype']}; F32 is expected")
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        tensors[name] = torch.frombuffer(data[begin:end], dtype=torch.float32).reshape(entry["shape"])
    return tensors


def normalise(text, rule):
    """The text that is split into words, by the rule data.normalise."""
    if rule == "notebook":
        text = re.sub(r"[^a-zA-ZÀ-ÿ?.!'\s-]", "", text.lower())
    elif rule == "nfc":
        text = unicodedata.normalize("NFC", text)
    elif rule != "none":
        raise ValueError(f"data.normalise is {rule}; this module knows notebook, nfc and none")
    if rule != "notebook":
        text = re.sub(r"[\x00-\x1f\x7f]", " ", text)
    return " ".join(text.split())


class Translator(nn.Module):
    """Embeddings and one recurrent layer on each side, and a projection onto the target's words; batch first."""

    def __init__(self, config, source_words, target_words):
        super().__init__()
        self.config, self.source_words, self.target_words = config, source_words, target_words
        self.ids = [{word: i for i, word in enumerate(words) if word not in MARKERS}
                    for words in (source_words, target_words)]
        embed, hidden = config["model.embed"], config["model.hidden"]
        layer = {"lstm": nn.LSTM, "rnn": nn.RNN}[config["model.cell"]]
        self.source_embedding = nn.Embedding(len(source_words), embed, padding_idx=PAD)
        self.target_embedding = nn.Embedding(len(target_words), embed, padding_idx=PAD)
        self.encoder = layer(embed, hidden, batch_first=True)
        self.decoder = layer(embed, hidden, batch_first=True)
        self.projection = nn.Linear(hidden, len(target_words))

    def load_tensors(self, tensors):
        """Copy a checkpoint's model.safetensors into the layers."""
        state = {"projection.weight": tensors["projection.weight"], "projection.bias": tensors["projection.bias"]}
        for embedding, side in (("source_embedding", "encoder"), ("target_embedding", "decoder")):
            state[embedding + ".weight"] = tensors[side + ".embedding"]
            for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0"):
                state[f"{side}.{name}"] = tensors[f"{side}.{self.config['model.cell']}.{name}"]
            state[side + ".bias_hh_l0"] = torch.zeros_like(state[side + ".bias_ih_l0"])
        self.load_state_dict(state)

    def _encode(self, text, side):
        words = normalise(text, self.config["data.normalise"]).split()
        ids = [SOS, *(self.ids[side].get(word, UNKNOWN) for word in words), EOS]
        return ids[:self.config["data.length"]]

    def source_ids(self, text):
        """[1, S] ids of a source sentence."""
        ids = self._encode(text, 0)
        if self.config["model.encoder_padding"]:
            ids += [PAD] * (self.config["data.length"] - len(ids))
        return torch.tensor([ids])

    def target_ids(self, text):
        """[1, T] ids that the decoder has to predict."""
        return torch.tensor([self._encode(text, 1)[0 if self.config["data.target_start"] else 1:]])

    def forward(self, source, inputs):
        """Logits [B, T, words] for source ids [B, S] and the decoder's input ids [B, T]."""
        _, state = self.encoder(self.source_embedding(source))
        output, _ = self.decoder(self.target_embedding(inputs), state)
        return self.projection(output)

    def loss(self, source, target):
        """(sum of the losses of a pair's target tokens, their number), with the reference as the decoder's input."""
        ids = self.target_ids(target)
        logits = self(self.source_ids(source), F.pad(ids[:, :-1], (1, 0), value=SOS))
        return F.cross_entropy(logits[0], ids[0], reduction="sum"), ids.numel()

    @torch.no_grad()
    def translate(self, text):
        """The greedy translation of a sentence, as `lstmq translate` gives it."""
        if not normalise(text, self.config["data.normalise"]):
            return ""
        _, state = self.encoder(self.source_embedding(self.source_ids(text)))
        token, words = torch.tensor([[SOS]]), []
        for _ in range(self.config["data.length"]):
            output, state = self.decoder(self.target_embedding(token), state)
            token = self.projection(output).argmax(-1)
            if token.item() == EOS:
                break
            if token.item() not in (PAD, SOS):
                words.append(self.target_words[token.item()])
        return " ".join(words)


def locate(run):
    """The checkpoint that `lstmq translate --model` takes: the folder itself, or a run's best, latest or newest one."""
    steps = [step for step in map(re.compile(r"step-(\d+)").fullmatch, os.listdir(run)) if step]
    newest = [step[0] for step in sorted(steps, key=lambda step: int(step[1]), reverse=True)]
    for name in ("", "best", "latest", *newest):
        if os.path.exists(os.path.join(run, name, "manifest.json")):
            return os.path.join(run, name)
    raise FileNotFoundError(f"{run}: neither a checkpoint nor a run with one")


def load(run):
    """The model of a run or of a checkpoint, ready to translate."""
    folder = locate(run)
    with open(os.path.join(folder, "state.json"), encoding="utf-8") as file:
        config = json.load(file)["config"]
    words = []
    for name in ("src.vocab", "tgt.vocab"):
        with open(os.path.join(folder, name), encoding="utf-8", newline="\n") as file:
            words.append(file.read().rstrip("\n").split("\n"))
    model = Translator(config, *words)
    model.load_tensors(read_safetensors(os.path.join(folder, "model.safetensors")))
    return model.eval()
