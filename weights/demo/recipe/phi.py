"""phi, the textual inversion network, in PyTorch, and phrases by the world's own captions: what the figures are made with.

The network itself is distilled by the product (run.sh).
"""

import torch
from safetensors.torch import load_file
from torch import nn

import captions
import clip
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
    """Relative clauses about a picture."""

    def __init__(self, entities, rng):
        self.rng, self.captioner = rng, captions.Captioner(entities, rng)

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


article = captions.article


def with_word(tokenizer, texts):
    tokens = [tokenizer(t) for t in texts]
    return tokens, torch.tensor([t.index(259) for t in tokens])
