"""Trains phi, the textual inversion network, through the frozen text tower of the exported model.

Two losses, on pictures of the training split. Content: a template with the pseudo-word must say what the picture
shows (its image feature, against the batch's others). Phrase: "a photo of $ that CLAUSE" must say what the same
sentence with the picture's own noun phrase says.
"""

import argparse
import hashlib
import random
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import cross_entropy, normalize

import bpe
import captions
import clip
import data
import export
import world

HIDDEN = 4 * clip.CONFIG["embed"]


class Phi(nn.Module):
    def __init__(self, dropout=0.5):
        super().__init__()
        d, w = clip.CONFIG["embed"], clip.CONFIG["text_width"]
        self.layers = nn.Sequential(nn.Linear(d, HIDDEN), nn.GELU(), nn.Dropout(dropout), nn.Linear(HIDDEN, HIDDEN),
                                    nn.GELU(), nn.Dropout(dropout), nn.Linear(HIDDEN, w))

    def forward(self, x):
        return self.layers(x)


def load(path):
    phi = Phi()
    phi.load_state_dict({k: v.float() for k, v in load_file(path).items()})
    return phi.eval().requires_grad_(False)


def image_features(model, images, chunk=256):
    with torch.no_grad():
        return torch.cat([model.image(clip.pixels(images[i : i + chunk])) for i in range(0, len(images), chunk)])


class Phrases:
    """Pairs of a plain phrase and the same with `$` for the picture's noun phrase."""

    def __init__(self, entities, rng):
        self.rng, self.captioner = rng, captions.Captioner(entities, rng)

    def noun(self, pic):
        c, rng = self.captioner, self.rng
        parts = [article(c.noun(e, c.state_skin(e, 0.95))) for e in pic.entities]
        noun = parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
        if rng.random() < (0.85 if pic.background != "white" else 0.15):
            noun += f" on {article(pic.background)} background"
        if rng.random() < 0.2:
            noun += f" in {world.STYLES[world.ALL_VENDORS[pic.vendor]]} style"
        return noun

    def clause(self, pic):
        c, rng, e = self.captioner, self.rng, pic.entities[0]
        r = rng.random()
        if r < 0.15:
            return c.clause_background(rng.choice(list(world.BACKGROUNDS)))
        if r < 0.25:
            return c.clause_style(rng.randrange(3))
        if r < 0.4:
            return rng.choice(captions.ADD_CLAUSES).format(article(rng.choice(c.names).name))
        if e.has_skin and r < 0.6:
            return rng.choice(captions.SKIN_CLAUSES).format(rng.choice(world.SKINS))
        target = rng.choice(c.by_family[e.family])
        edits = [c.edit_gender, c.edit_hair, c.edit_colour, c.edit_shape, c.edit_expression, c.edit_species, c.edit_clock,
                 c.edit_role]
        rng.shuffle(edits)
        for edit in edits:
            if found := edit(target):
                return found[1]
        return c.edit_name(target)[1]

    def pair(self, pic):
        clause = self.clause(pic)
        return f"a photo of {self.noun(pic)} that {clause}", f"a photo of $ that {clause}"


article = captions.article


def with_word(tokenizer, texts):
    tokens = [tokenizer(t) for t in texts]
    return tokens, torch.tensor([t.index(259) for t in tokens])


def main():
    a = argparse.ArgumentParser()
    a.add_argument("build")
    a.add_argument("out")
    a.add_argument("--pictures", type=int, default=24000)
    a.add_argument("--steps", type=int, default=1200)
    a.add_argument("--batch", type=int, default=256)
    a.add_argument("--seconds", type=float, default=0, help="shorten the schedule to this")
    a.add_argument("--dropout", type=float, default=0.1)
    a.add_argument("--seed", type=int, default=20261123)
    a.add_argument("--threads", type=int, default=2)
    a = a.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    folder = Path(a.out) / "model"
    model, digest = export.load(folder)
    tokenizer = bpe.Tokenizer(folder)
    batches = data.Batches(a.build, tokenizer, a.batch, a.seed + 1)
    pics = [batches.independent()[0] for _ in range(a.pictures)]
    cache = Path(a.build) / f"features-{digest[:16]}-{a.pictures}.npy"
    if not cache.exists():
        parts = []
        for i in range(0, len(pics), 512):
            images = np.stack([batches.composer.paint(p, batches.rng if k % 2 else None) for k, p in enumerate(pics[i : i + 512])])
            parts.append(image_features(model, images))
        np.save(cache, torch.cat(parts).numpy())
    features = torch.from_numpy(np.load(cache))
    rng = random.Random(a.seed)
    phrases = Phrases(batches.entities, rng)
    phi = Phi(a.dropout)
    opt = torch.optim.AdamW(phi.parameters(), lr=1e-3, weight_decay=0.01)
    started, fraction, step = time.time(), 0.0, 0
    while fraction < 1:
        for g in opt.param_groups:
            g["lr"] = 2e-3 * min(1, fraction / 0.03 + 0.02, (1 - fraction) / 0.6)
        rows = rng.sample(range(len(pics)), a.batch)
        x = features[rows]
        plain, pseudo = zip(*(phrases.pair(pics[r]) for r in rows))
        prompts = ["a photo of $" if rng.random() < 0.3 else rng.choice(captions.TEMPLATES).format("$") for _ in rows]
        words = phi(x)
        with torch.no_grad():
            p = normalize(model.text([tokenizer(t) for t in plain], chunks=3))
        q = normalize(model.text(*_args(tokenizer, pseudo, words), chunks=3))
        y = normalize(model.text(*_args(tokenizer, prompts, words), chunks=2))
        unit = normalize(x)
        target = torch.arange(a.batch)
        content = cross_entropy(30 * y @ unit.T, target)
        phrase = (1 - (q * p).sum(1)).mean()
        loss = 0.1 * content + phrase + 0.1 * cross_entropy(30 * q @ p.T, target)
        opt.zero_grad()
        loss.backward()
        opt.step()
        step += 1
        fraction = step / a.steps
        if a.seconds:
            fraction = max(fraction, (time.time() - started) / a.seconds)
        if step % 50 == 0:
            print(step, round(fraction, 3), f"content {content.item():.3f} phrase {phrase.item():.4f}",
                  f"{time.time() - started:.0f} s", flush=True)
    meta = {"arch": "mlp", "in": str(clip.CONFIG["embed"]), "hidden": str(HIDDEN), "out": str(clip.CONFIG["text_width"]),
            "model": "emoji-world", "model_sha256": digest, "trained": "through the frozen text tower"}
    save_file({k: v.half() for k, v in phi.state_dict().items()}, Path(a.out) / "phi.safetensors", metadata=meta)


def _args(tokenizer, texts, words):
    tokens, at = with_word(tokenizer, texts)
    return tokens, words, at


if __name__ == "__main__":
    main()
