"""Trains the CLIP of the emoji world. Checkpoints every few minutes; run again, it goes on where it was."""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

import bpe
import clip
import data
import world


class Heads(nn.Module):
    """Prototypes of names and skin tones, shared by both towers. They speed training up and are not shipped."""

    def __init__(self, names, width):
        super().__init__()
        self.names = nn.Parameter(torch.randn(names, width) * width**-0.5)
        self.skins = nn.Linear(width, len(world.SKINS))
        self.backgrounds = nn.Linear(width, len(world.BACKGROUNDS))
        self.styles = nn.Linear(width, len(world.VENDORS))

    def loss(self, feature, facts):
        name, skin, background, vendor = (torch.from_numpy(f) for f in facts)
        unit = normalize(feature)
        logp = (16 * unit @ normalize(self.names).T).log_softmax(-1)
        there = (name >= 0).float()
        loss = -(logp.gather(1, name.clamp(min=0)) * there).sum(1).div(there.sum(1)).mean()
        single = (name[:, 1] < 0) & (skin[:, 0] >= 0)
        scaled = 11.3 * unit  # about the norm of a layer-normed vector of this width
        for head, target in ((self.skins, torch.where(single, skin[:, 0], -1)), (self.backgrounds, background),
                             (self.styles, vendor)):
            if (target >= 0).any():
                loss = loss + 0.5 * cross_entropy(head(scaled), target, ignore_index=-1)
        return loss


def orthogonalized(g, steps=5):
    """Newton-Schulz iteration of the Muon optimiser (coefficients of Jordan et al., 2024); g [n, rows, cols]."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = g.shape[1] > g.shape[2]
    x = g.transpose(1, 2) if tall else g
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        s = x @ x.transpose(1, 2)
        x = a * x + (b * s + c * s @ s) @ x
    return x.transpose(1, 2) if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised: for the matrices inside the transformers."""

    def __init__(self, params, lr, momentum=0.95, decay=0.02):
        super().__init__(params, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            shapes = {}
            for p in group["params"]:
                if "m" not in self.state[p]:
                    self.state[p]["m"] = torch.zeros_like(p)
                m = self.state[p]["m"]
                m.lerp_(p.grad, 1 - group["momentum"])
                shapes.setdefault(p.shape, []).append((p, p.grad.lerp(m, group["momentum"])))
            for shape, items in shapes.items():
                update = orthogonalized(torch.stack([g for _, g in items]))
                scale = 0.2 * max(shape) ** 0.5  # the size of an AdamW step
                for (p, _), u in zip(items, update):
                    p.mul_(1 - group["lr"] * group["decay"]).add_(u, alpha=-group["lr"] * scale)


def optimizers(model, heads, lr):
    matrices, decayed, plain, temperature = [], [], [], []
    for name, p in [*model.named_parameters(), *heads.named_parameters()]:
        if name == "logit_scale":
            temperature.append(p)
        elif ".encoder." in name and p.ndim == 2:
            matrices.append(p)
        else:
            (decayed if p.ndim >= 2 else plain).append(p)
    adam = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0},
                              {"params": temperature, "weight_decay": 0.0, "times": 10.0}], lr=lr, betas=(0.9, 0.98))
    muon = Muon(matrices, lr)
    for opt in (adam, muon):
        for g in opt.param_groups:
            g["peak"] = lr * g.get("times", 1.0)
    return adam, muon


def rate(fraction):
    """Warm up over 1.5 %, hold to 35 %, then fall linearly to zero."""
    return min(1, fraction / 0.015 + 0.01, (1 - fraction) / 0.65)


def recorded(path):
    """The schedule of a log: steps and the fraction done at each, the last word on a step counting."""
    rows = {r["step"]: r["fraction"] for r in map(json.loads, Path(path).read_text().splitlines())}
    steps = sorted(rows)
    return [0, *steps], [0.0, *(rows[s] for s in steps)]


def main():
    a = argparse.ArgumentParser()
    a.add_argument("build")
    a.add_argument("--batch", type=int, default=192)
    a.add_argument("--steps", type=int, default=5000)
    a.add_argument("--deadline", type=float, default=0, help="unix time: stretch or shrink the schedule to end then")
    a.add_argument("--schedule", help="a log of an earlier run, whose schedule is followed")
    a.add_argument("--lr", type=float, default=2e-3)
    a.add_argument("--keep", type=int, default=28, help="patches looked at, of 64, until 85 %% are done")
    a.add_argument("--seed", type=int, default=20261123)
    a.add_argument("--threads", type=int, default=2)
    a.add_argument("--name", default="run")
    a = a.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    folder = Path(a.build) / a.name
    folder.mkdir(parents=True, exist_ok=True)
    schedule = recorded(a.schedule) if a.schedule else None
    tokenizer = bpe.Tokenizer(Path(a.build) / "model")
    batches = data.Batches(a.build, tokenizer, a.batch, a.seed)
    model = clip.CLIP()
    heads = Heads(len(batches.names), clip.CONFIG["embed"])
    opts = optimizers(model, heads, a.lr)
    average = {k: v.clone() for k, v in model.state_dict().items()}
    step, fraction, seconds = 0, 0.0, 0.0
    saved = folder / "checkpoint.pt"
    if saved.exists():
        c = torch.load(saved, weights_only=False)
        model.load_state_dict(c["model"])
        heads.load_state_dict(c["heads"])
        for o, s in zip(opts, c["opts"]):
            o.load_state_dict(s)
        average, step, fraction, seconds = c["average"], c["step"], c["fraction"], c["seconds"]
        torch.set_rng_state(c["torch_rng"])
        batches.rng.setstate(c["rng"])
    log = (folder / "log.jsonl").open("a")
    started, pace, last_save = time.time(), 0.0, time.time()
    sums, count = torch.zeros(4), 0

    def save():
        torch.save({"model": model.state_dict(), "heads": heads.state_dict(), "opts": [o.state_dict() for o in opts],
                    "average": average, "step": step, "fraction": fraction, "seconds": seconds,
                    "torch_rng": torch.get_rng_state(), "rng": batches.rng.getstate(), "args": vars(a)},
                   str(saved) + ".new")
        os.replace(str(saved) + ".new", saved)

    while fraction < 1:
        t0 = time.time()
        factor = rate(fraction)
        for o in opts:
            for g in o.param_groups:
                g["lr"] = g["peak"] * factor
        images, tokens, picture, caption = batches.draw()
        x = model.image(clip.pixels(images), a.keep if fraction < 0.85 else None)
        y = model.text(tokens, chunks=4)
        logits = model.logit_scale.exp() * normalize(y) @ normalize(x).T
        false_negative = torch.from_numpy(data.true_of(caption, picture)).fill_diagonal_(False)
        logits = logits.masked_fill(false_negative, float("-inf"))
        target = torch.arange(len(x))
        contrast = (cross_entropy(logits, target) + cross_entropy(logits.T, target)) / 2
        aux = heads.loss(x, picture), heads.loss(y, caption)
        loss = contrast + (0.5 if fraction < 0.6 else 0.25) * (aux[0] + aux[1])
        loss.backward()
        nn.utils.clip_grad_norm_([*model.parameters(), *heads.parameters()], 2.0)
        for o in opts:
            o.step()
            o.zero_grad(set_to_none=True)
        with torch.no_grad():
            model.logit_scale.clamp_(max=4.6052)
            keep = min(0.998, (step + 1) / (step + 10))
            for k, v in model.state_dict().items():
                average[k].lerp_(v, 1 - keep)
        step += 1
        took = time.time() - t0
        seconds += took
        pace = took if pace == 0 else 0.98 * pace + 0.02 * took
        if a.deadline:
            # Full pictures cost about twice as much: the last 15 % of the schedule count so.
            left = max(1.0, (a.deadline - time.time()) / pace)
            cost = 1.0 if fraction >= 0.85 else (0.85 - fraction) + 0.15 * 1.9
            fraction += (1 - fraction) / left if fraction >= 0.85 else cost / left
        elif schedule:
            fraction = float(np.interp(step, *schedule)) if step < schedule[0][-1] else 1.0
        else:
            fraction = step / a.steps
        sums += torch.tensor([contrast.item(), aux[0].item(), aux[1].item(),
                              (logits.argmax(0) == target).float().mean().item()])
        count += 1
        if step % 50 == 0 or step == 10 or fraction >= 1:
            s = (sums / count).tolist()
            sums.zero_()
            count = 0
            log.write(json.dumps({"step": step, "fraction": round(fraction, 5), "contrast": round(s[0], 4), "image": round(s[1], 4),
                                  "text": round(s[2], 4), "right": round(s[3], 4), "scale": round(model.logit_scale.exp().item(), 2),
                                  "samples/s": round(a.batch / pace, 1), "seconds": round(seconds)}) + "\n")
            log.flush()
        if time.time() - last_save > 120:
            save()
            last_save = time.time()
    save()


if __name__ == "__main__":
    main()
