"""Composes pictures from sprites, and draws training batches."""

import random
from pathlib import Path

import numpy as np

import captions
import render
import world

SIZE = 64


def entities(build):
    where = render.folders(Path(build) / "node_modules", Path(build))
    have = {v: {p.stem for p in d.glob("*." + ext)} for v, (d, ext) in where.items()}
    return world.load(Path(build) / "node_modules", lambda v, code: code in have[v])


class Composer:
    """Paints Pictures as uint8 [64, 64, 3]."""

    def __init__(self, build):
        z = np.load(Path(build) / "sprites.npz")
        self.sprites = {s: z[f"s{s}"] for s in render.SIZES}

    def paint(self, pic, rng=None):
        """The picture; without rng in its canonical form (as in the gallery)."""
        colour = np.array(world.BACKGROUNDS[pic.background], np.int16)
        if rng and pic.background != "white":
            colour = np.clip(colour + np.array([rng.randint(-14, 14) for _ in range(3)], np.int16), 0, 255)
        canvas = np.empty((SIZE, SIZE, 3), np.uint16)
        canvas[:] = colour.astype(np.uint16)
        n = len(pic.entities)
        if n == 1:
            size = rng.choice(render.SIZES[:3]) if rng else render.SIZES[1]
            slack = SIZE - size
            x, y = (rng.randint(0, slack), rng.randint(0, slack)) if rng else (slack // 2, slack // 2)
            self._put(canvas, pic.vendor, pic.entities[0], size, x, y)
        else:
            for e, (size, x, y) in zip(pic.entities, self._layout(n, rng)):
                self._put(canvas, pic.vendor, e, size, x, y)
        return canvas.astype(np.uint8)

    def _layout(self, n, rng):
        """Side by side for two; the corners for three and four."""
        j = (lambda a: rng.randint(-a, a)) if rng else (lambda a: 0)
        if n == 2:
            s = rng.choice(render.SIZES[3:]) if rng else render.SIZES[4]
            spots = [(1, 16), (33, 17)]
            return [(s, min(max(x + j(2), 0), SIZE - s), min(max(y + j(12), 0), SIZE - s)) for x, y in spots]
        s = render.SIZES[4]
        spots = [(2, 2), (33, 2), (2, 33), (33, 33)]
        if n == 3:
            spots = [(2, 3), (33, 3), (17, 33)]
        return [(s, min(max(x + j(2), 0), SIZE - s), min(max(y + j(2), 0), SIZE - s)) for x, y in spots[:n]]

    def _put(self, canvas, vendor, e, s, x, y):
        sprite = self.sprites[s][vendor, e.id].astype(np.uint16)
        window = canvas[y : y + s, x : x + s]
        window *= 255 - sprite[..., 3:]
        window += 127
        window //= 255
        window += sprite[..., :3]
        np.minimum(window, 255, out=window)


class Batches:
    """Training batches: half of them in groups of siblings that differ in one fact, half independent."""

    GROUP = 4

    def __init__(self, build, tokenizer, batch, seed):
        self.entities, self.names = entities(build)
        self.composer = Composer(build)
        self.tokenizer, self.batch = tokenizer, batch
        self.rng = random.Random(seed)
        self.captioner = captions.Captioner(self.entities, self.rng)
        self.train = [e for e in self.entities if not world.skin_held_out(e)]
        self.by_name, self.families = {}, {}
        for e in self.train:
            self.by_name.setdefault(e.name, []).append(e)
            self.families.setdefault(e.family, []).append(e.name)
        self.families = {f: list(dict.fromkeys(l)) for f, l in self.families.items()}
        self.gendered = {}
        for name, l in self.by_name.items():
            if l[0].gender:
                self.gendered.setdefault((l[0].family, l[0].base, l[0].hair), []).append(name)
        self.name_list = list(self.by_name)
        # Faces, hands, clocks and roles are hard to tell apart: more of them.
        hard = {"face": 2.0, "clock": 2.0, "cat": 1.5, "role": 1.3, "hair": 1.5, "hand": 1.3, "moon": 1.3}
        weights = [hard.get(self.by_name[n][0].family, 1.0) for n in self.name_list]
        self.cum = np.cumsum(weights).tolist()

    def entity(self, name):
        l = self.by_name[name]
        return l[0] if len(l) == 1 or self.rng.random() < 0.25 else self.rng.choice(l)

    def any_entity(self):
        return self.entity(self.rng.choices(self.name_list, cum_weights=self.cum)[0])

    def background(self, es):
        if self.rng.random() < 0.5:
            return "white"
        for _ in range(10):
            b = self.rng.choice(list(world.BACKGROUNDS))
            if not any(world.background_held_out(e, b) for e in es):
                return b
        return "white"

    def independent(self):
        n = 1 if self.rng.random() < 0.72 else self.rng.choice((2, 2, 2, 3, 4))
        es = [self.any_entity() for _ in range(n)]
        return captions.Picture(self.rng.randrange(3), es, self.background(es)), ""

    def siblings(self):
        rng = self.rng
        e = self.any_entity()
        vendor, background, r = rng.randrange(3), self.background([e]), rng.random()
        same_background = rng.random() < 0.6
        tones = self.by_name[e.name]
        if len(tones) > 1 and r < 0.4:
            es, contrast = rng.sample(tones, min(self.GROUP, len(tones))), "skin"
        elif e.gender and r < 0.65 and len(self.gendered[e.family, e.base, e.hair]) > 1:
            group = self.gendered[e.family, e.base, e.hair]
            es, contrast = [self.entity(rng.choice(group)) for _ in range(self.GROUP)], ""
        elif r < 0.78:
            pool = self.families[e.family]
            es = [self.entity(n) for n in rng.sample(pool, min(self.GROUP, len(pool)))]
            contrast = "name" if rng.random() < 0.5 else ""
        elif r < 0.9:
            es, contrast, same_background = [e] * self.GROUP, "background", False
        elif r < 0.94:
            return [(captions.Picture(v, [e], background), "style") for v in range(3)]
        else:
            pics = [[e, self.any_entity()] for _ in range(self.GROUP)]
            return [(captions.Picture(vendor, es, self.background(es)), "") for es in pics]
        out = []
        for x in es:
            b = background if same_background and not world.background_held_out(x, background) else self.background([x])
            out.append((captions.Picture(vendor, [x], b), contrast))
        return out

    def draw(self):
        """(uint8 [B,64,64,3], token id lists, picture facts, caption facts)."""
        pics = []
        while len(pics) < self.batch // 2:
            pics += self.siblings()
        while len(pics) < self.batch:
            pics.append(self.independent())
        pics = pics[: self.batch]
        images = np.stack([self.composer.paint(p, self.rng) for p, _ in pics])
        caps = [self.captioner.caption(p, c) for p, c in pics]
        tokens = [self.tokenizer(c.text) for c in caps]
        return images, tokens, picture_facts([p for p, _ in pics]), caption_facts(caps)


def picture_facts(pics):
    """name [B,4] and skin [B,4] (-1 where absent), background [B], vendor [B]."""
    backgrounds = {b: i for i, b in enumerate(world.BACKGROUNDS)}
    name = np.full((len(pics), 4), -1)
    skin = np.full((len(pics), 4), -1)
    for i, p in enumerate(pics):
        for k, e in enumerate(p.entities):
            name[i, k] = e.name_id
            skin[i, k] = e.skin if e.has_skin else -1
    return (name, skin, np.array([backgrounds[p.background] for p in pics]), np.array([p.vendor for p in pics]))


def caption_facts(caps):
    backgrounds = {b: i for i, b in enumerate(world.BACKGROUNDS)}
    name = np.full((len(caps), 4), -1)
    skin = np.full((len(caps), 4), -1)
    for i, c in enumerate(caps):
        for k, (n, s) in enumerate(c.objects):
            name[i, k], skin[i, k] = n, s
    return (name, skin, np.array([backgrounds.get(c.background, -1) for c in caps]), np.array([c.style for c in caps]))


def true_of(caption, picture):
    """bool [captions, pictures]: every fact the caption states holds in the picture."""
    cn, cs, cb, cv = caption
    pn, ps, pb, pv = picture
    same = cn[:, None, :, None] == pn[None, :, None, :]
    tone = (cs[:, None, :, None] == -1) | (cs[:, None, :, None] == ps[None, :, None, :])
    found = (same & tone).any(-1) | (cn[:, None, :] == -1)
    return (found.all(-1) & ((cb[:, None] == -1) | (cb[:, None] == pb[None]))
            & ((cv[:, None] == -1) | (cv[:, None] == pv[None])))
