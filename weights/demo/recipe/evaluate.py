"""The figures of the model card, and the reference features of testdata, from the exported files alone."""

import io
import json
import random
import sys
import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import normalize

import bpe
import captions
import data
import export
import gallery
import phi as phimod
import world

K = 10


def text_features(model, tokenizer, texts, words=None):
    with torch.no_grad():
        if words is None:
            return model.text([tokenizer(t) for t in texts], chunks=max(1, len(texts) // 64))
        tokens, at = phimod.with_word(tokenizer, texts)
        return model.text(tokens, words, at, chunks=max(1, len(texts) // 64))


def names(model, tokenizer, build, report):
    """Naming over all names of the world, and skin tones on held-out combinations."""
    entities, all_names = data.entities(build)
    composer = data.Composer(build)
    prompts = normalize(text_features(model, tokenizer, ["a photo of " + captions.article(n) for n in all_names]))
    plain = [e for e in entities if e.skin == 0]
    for title, vendors in (("trained vendors", (0, 1, 2)), ("unseen vendor", (3,))):
        pics = [captions.Picture(v, [e], "white") for v in vendors for e in plain]
        f = normalize(phimod.image_features(model, np.stack([composer.paint(p) for p in pics])))
        want = torch.tensor([p.entities[0].name_id for p in pics])
        scores = f @ prompts.T
        place = (scores > scores.gather(1, want[:, None])).sum(1)
        report[f"name R@1, {title}"] = (place < 1).float().mean().item()
        report[f"name R@10, {title}"] = (place < 10).float().mean().item()
        family = {}
        for p, k in zip(pics, place.tolist()):
            family.setdefault(p.entities[0].family, []).append(k < 1)
        report[f"name R@1 by family, {title}"] = {k: round(float(np.mean(v)), 3) for k, v in family.items()}
    toned = [e for e in entities if e.has_skin]
    for title, chosen, vendors in (
        ("held-out combinations", [e for e in toned if world.skin_held_out(e)], (0, 1, 2)),
        ("trained combinations", [e for e in toned if not world.skin_held_out(e) and e.skin > 0], (0, 1, 2)),
        ("held-out combinations, unseen vendor", [e for e in toned if world.skin_held_out(e)], (3,)),
    ):
        chosen = gallery.first(chosen, 150, lambda e: "skin " + e.slug)
        pics = [captions.Picture(v, [e], "white") for v in vendors for e in chosen]
        f = normalize(phimod.image_features(model, np.stack([composer.paint(p) for p in pics])))
        texts = [f"a photo of {captions.article(e.name)} with {t} skin" for e in chosen for t in world.SKINS]
        t = normalize(text_features(model, tokenizer, texts)).view(len(chosen), 6, -1).repeat(len(vendors), 1, 1)
        best = (t @ f[:, :, None])[..., 0].argmax(1)
        report[f"skin tone of 6 right, {title}"] = (best == torch.tensor([p.entities[0].skin for p in pics])).float().mean().item()


def concepts_of(model, tokenizer, x, all_names, k=15):
    """The k names nearest to each image feature, by the average of the 24 templates."""
    prompts = [t.format(f" {n} ") for n in all_names for t in captions.TEMPLATES]
    f = normalize(text_features(model, tokenizer, prompts)).view(len(all_names), len(captions.TEMPLATES), -1)
    return [[all_names[i] for i in row] for row in (normalize(x) @ normalize(f.mean(1)).T).topk(k, dim=1).indices.tolist()]


def oti(model, tokenizer, x, phrases=None, concepts=None, steps=150, seed=1):
    """Textual inversion (METHOD, section 3) with the world's own relative clauses for GPT's; the averaged words."""
    torch.manual_seed(seed)
    prepared = [phimod.with_word(tokenizer, [t.format("$")]) for t in captions.TEMPLATES]
    v = (0.02 * torch.randn(len(x), model.text_projection.in_features)).requires_grad_()
    ema = v.detach().clone()
    opt = torch.optim.AdamW([v], lr=2e-2, weight_decay=0.01)
    unit = normalize(x)
    for _ in range(steps):
        pick = torch.randint(len(prepared), (len(x),)).tolist()
        y = normalize(model.text([prepared[i][0][0] for i in pick], v, torch.tensor([prepared[i][1].item() for i in pick]), chunks=3))
        loss = (1 - (y * unit).sum(1)).sum() / 32
        if phrases:
            drawn = [phrases.rng.choice(c) for c in concepts]
            clauses = [phrases.clause(captions.Picture(0, [phrases.captioner.by_key[c, 0]], "white")) for c in drawn]
            p = normalize(text_features(model, tokenizer, [f"a photo of {c} that {k}" for c, k in zip(drawn, clauses)]))
            tokens, at = phimod.with_word(tokenizer, [f"a photo of $ that {k}" for k in clauses])
            q = normalize(model.text(tokens, v, at, chunks=3))
            loss = (loss + 0.5 * (1 - (q * p).sum(1)).sum() / 32) / 1.5
        opt.zero_grad()
        loss.backward()
        opt.step()
        ema.lerp_(v.detach(), 0.01)
    return ema


def average_precision(order, right):
    hits, total = 0, 0.0
    for k, i in enumerate(order[:K]):
        if i in right:
            hits += 1
            total += hits / (k + 1)
    return total / min(len(right), K)


def composed(model, tokenizer, out, build, report, with_oti):
    z = zipfile.ZipFile(Path(out) / "gallery.zip")
    pictures = json.loads(z.read("manifest.json"))["pictures"]
    images = np.stack([np.asarray(Image.open(io.BytesIO(z.read(p["id"] + ".png"))).convert("RGB")) for p in pictures])
    raw = phimod.image_features(model, images)
    feats = normalize(raw)
    at = {p["id"]: i for i, p in enumerate(pictures)}
    queries = json.loads((Path(out) / "queries.json").read_text())["queries"]
    ref = torch.tensor([at[q["reference"]] for q in queries])
    phrase = [f"a photo of $ that {q['caption']}" for q in queries]
    text = normalize(text_features(model, tokenizer, [q["caption"] for q in queries]))
    every_name = sorted({p["name"] for p in pictures})
    named = normalize(text_features(model, tokenizer, ["a photo of " + captions.article(n) for n in every_name]))
    guess = [every_name[i] for i in (feats[ref] @ named.T).argmax(1).tolist()]
    methods = {
        "image": feats[ref],
        "text": text,
        "image + text": normalize(feats[ref] + text),
        "predicted name + text": normalize(text_features(model, tokenizer, [
            f"a photo of {captions.article(g)} that {q['caption']}" for g, q in zip(guess, queries)])),
        "phi": normalize(text_features(model, tokenizer, phrase, phimod.load(Path(out) / "phi.safetensors")(raw[ref]))),
    }
    true_names = [pictures[i]["name"] for i in ref.tolist()]
    methods["true name + text"] = normalize(text_features(model, tokenizer, [
        f"a photo of {captions.article(g)} that {q['caption']}" for g, q in zip(true_names, queries)]))
    if with_oti:
        unique, back = torch.unique(ref, return_inverse=True)
        entities, all_names = data.entities(build)
        phrases = phimod.Phrases(entities, random.Random(1))
        concepts = concepts_of(model, tokenizer, raw[unique], all_names)
        for title, words in (("OTI", oti(model, tokenizer, raw[unique])),
                             ("OTI + phrases", oti(model, tokenizer, raw[unique], phrases, concepts))):
            methods[title] = normalize(text_features(model, tokenizer, phrase, words[back]))
    table = {}
    for method, f in methods.items():
        scores = f @ feats.T
        scores[torch.arange(len(queries)), ref] = -2
        order = scores.topk(K, dim=1).indices.tolist()
        kinds = {}
        for q, o in zip(queries, order):
            kinds.setdefault(q["kind"], []).append(average_precision(o, {at[t] for t in q["targets"]}))
        table[method] = {"macro": 100 * float(np.mean([np.mean(v) for v in kinds.values()])),
                         **{k: round(100 * float(np.mean(v)), 1) for k, v in kinds.items()}}
    report["mAP@10"] = table


def reference(model, tokenizer, out):
    """Features by PyTorch of a few gallery pictures, texts and composed queries, for the Go engine's tests."""
    z = zipfile.ZipFile(Path(out) / "gallery.zip")
    pictures = json.loads(z.read("manifest.json"))["pictures"]
    chosen = [p["id"] for p in gallery.first(pictures, 8, lambda p: "reference " + p["id"])]
    images = np.stack([np.asarray(Image.open(io.BytesIO(z.read(i + ".png"))).convert("RGB")) for i in chosen])
    queries = json.loads((Path(out) / "queries.json").read_text())["queries"][:3]
    texts = ["a dog", "a photo of a man farmer with dark skin", "a red heart that is blue", "A photo of two o'clock!",
             "xylophone naïve café 42"] + [q["caption"] for q in queries]
    network = phimod.load(Path(out) / "phi.safetensors")
    f = phimod.image_features(model, images)
    words = network(f)
    phrases = [f"a photo of $ that {queries[i % 3]['caption']}" for i in range(len(chosen))]
    composed_f = text_features(model, tokenizer, phrases, words)
    text_f = text_features(model, tokenizer, texts)
    lists = lambda t: [[float(np.float32(x)) for x in row] for row in t.tolist()]
    folder = Path(out) / "testdata"
    folder.mkdir(exist_ok=True)
    (folder / "reference.json").write_text(json.dumps({
        "images": [{"id": i, "feature": a, "pseudo_word": w} for i, a, w in zip(chosen, lists(f), lists(words))],
        "texts": [{"text": t, "ids": tokenizer(t), "feature": a} for t, a in zip(texts, lists(text_f))],
        "composed": [{"id": i, "prompt": t, "ids": tokenizer(t), "feature": a} for i, t, a in zip(chosen, phrases, lists(composed_f))],
    }) + "\n")


def main(build, out, *flags):
    torch.set_num_threads(2)
    model, digest = export.load(Path(out) / "model")
    tokenizer = bpe.Tokenizer(Path(out) / "model")
    report = {"model_sha256": digest, "temperature scale": model.logit_scale.exp().item()}
    reference(model, tokenizer, out)
    names(model, tokenizer, build, report)
    composed(model, tokenizer, out, build, report, "oti" in flags)
    print(json.dumps(report, indent=1))
    (Path(build) / "evaluation.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
