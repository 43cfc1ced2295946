"""Pictures as facts, and the captions that are true of them.

A Picture is one to four entities by one vendor on a background. A caption is a string together with the
facts it states, so that a batch knows which other pictures a caption is true of.
"""

from dataclasses import dataclass

import world

# The 24 prompt forms of SEARLE's textual inversion (facts of the method: METHOD, section 3.5).
TEMPLATES = (
    "This is a photo of a {}", "This photo contains a {}", "A photo of a {}", "This is an illustration of a {}",
    "This illustration contains a {}", "An illustrations of a {}", "This is a sketch of a {}",
    "This sketch contains a {}", "A sketch of a {}", "This is a diagram of a {}", "This diagram contains a {}",
    "A diagram of a {}", "A {}", "We see a {}", "{}", "We see a {} in this photo", "We see a {} in this image",
    "We see a {} in this illustration", "We see a {} photo", "We see a {} image", "We see a {} illustration",
    "{} photo", "{} image", "{} illustration",
)

SKIN_CLAUSES = ("has {} skin", "has {} skin", "has a {} skin tone", "is {}-skinned")
BACKGROUND_CLAUSES = ("is on {} background", "is on {} background", "has {} background", "is in front of {} background")
STYLE_CLAUSES = {"drawn": ("is drawn", "is in drawn style"), "flat": ("is flat", "is in flat style"),
                 "3d": ("is in 3d style", "is rendered in 3d")}
ADD_CLAUSES = ("has {} beside it", "is next to {}", "is with {}", "has {} added")
HAIR = {"red": "has red hair", "curly": "has curly hair", "white": "has white hair", "blond": "has blond hair",
        "bald": "is bald", "beard": "has a beard"}
PLURAL = {"cherries", "grapes", "eyes", "peanuts", "beans", "lungs", "glasses", "sunglasses", "jeans", "gloves",
          "socks", "scissors", "footprints", "fireworks", "french fries", "pancakes", "blueberries", "two hearts",
          "revolving hearts", "clapping hands", "raising hands", "heart hands", "folded hands", "crossed fingers",
          "crossed swords", "thumbs up", "thumbs down", "sparkles", "clinking glasses", "chopsticks",
          "clinking beer mugs", "sweat droplets", "fork and knife", "fork and knife with plate", "bacon", "popcorn"}


@dataclass
class Picture:
    vendor: int  # index into world.ALL_VENDORS
    entities: list  # world.Entity, one to four
    background: str


@dataclass
class Caption:
    text: str
    objects: tuple  # (name_id, skin or -1) each
    background: str  # "" where not stated
    style: int  # vendor index, -1 where not stated


def article(phrase):
    if phrase in PLURAL or phrase[0].isdigit():
        return phrase
    return ("an " if phrase[0] in "aeiou" and not phrase.startswith(("unicorn", "one", "european")) else "a ") + phrase


class Captioner:
    """Draws captions of pictures. All randomness comes from rng (random.Random)."""

    def __init__(self, entities, rng):
        self.rng = rng
        self.entities = entities
        self.by_family = {}
        self.by_key = {}
        seen = set()
        for e in entities:
            self.by_key[e.name, e.skin] = e
            if e.name not in seen:
                seen.add(e.name)
                self.by_family.setdefault(e.family, []).append(e)
        self.names = [e for l in self.by_family.values() for e in l]
        self.gendered = {}
        for e in self.names:
            if e.gender:
                self.gendered.setdefault((e.family, e.base, e.hair), []).append(e)

    # Noun phrases, without the article.

    def noun(self, e, skin):
        """The entity's name; skin is the index to state, or -1."""
        rng, name = self.rng, e.name
        if e.family == "clock" and rng.random() < 0.4:
            name = "clock showing " + name
        if skin < 0:
            return name
        tone = world.SKINS[skin]
        r = rng.random()
        if r < 0.25:
            return f"{name}: {tone} skin tone"
        if r < 0.6:
            return f"{tone}-skinned {name}"
        return f"{name} with {tone} skin"

    def state_skin(self, e, p):
        if not e.has_skin or self.rng.random() >= (p if e.skin else 0.35 * p):
            return -1
        return e.skin

    # Relative clauses: each returns (old noun entity, clause) for a single picture, or None.

    def edit_skin(self, e):
        if not e.has_skin:
            return None
        clause = self.rng.choice(SKIN_CLAUSES).format(world.SKINS[e.skin])
        return self.by_key.get((e.name, self.rng.randrange(6)), e), clause

    def edit_gender(self, e):
        others = [o for o in self.gendered.get((e.family, e.base, e.hair), ()) if o.name != e.name] if e.gender else []
        if not others:
            return None
        return self.rng.choice(others), self.rng.choice((f"is a {e.gender}", f"is a {e.gender} instead"))

    def edit_hair(self, e):
        if e.family != "hair" or not e.hair:
            return None
        others = [o for o in self.by_family["hair"] if o.gender == e.gender and o.hair != e.hair]
        return self.rng.choice(others), HAIR[e.hair]

    def edit_colour(self, e):
        if not e.colour:
            return None
        old = self.rng.choice([o for o in self.by_family[e.family] if o.name != e.name])
        tail = f" instead of {old.colour}" if self.rng.random() < 0.3 else ""
        return old, f"is {e.colour}{tail}"

    def edit_shape(self, e):
        if not e.colour:
            return None
        others = [o for o in self.names if o.colour == e.colour and o.base != e.base]
        if not others:
            return None
        return self.rng.choice(others), f"is {article(e.base)}" + self.rng.choice(("", " instead"))

    def edit_expression(self, e):
        if not e.expression:
            return None
        others = [o for o in self.by_family[e.family] if o.name != e.name]
        return self.rng.choice(others), e.expression

    def edit_species(self, e):
        for face, cat in world.CAT_OF_FACE.items():
            if e.name == cat:
                return self.by_key[face, 0], self.rng.choice(("is a cat", "is a cat instead"))
            if e.name == face and (cat, 0) in self.by_key:
                return self.by_key[cat, 0], self.rng.choice(("is a face", "is a face instead"))
        return None

    def edit_clock(self, e):
        if not e.hour:
            return None
        old = self.rng.choice([o for o in self.by_family["clock"] if o.name != e.name])
        return old, self.rng.choice((f"shows {e.hour}", f"shows {e.hour}", f"is at {e.hour}"))

    def edit_role(self, e):
        if e.family != "role" or e.base.startswith(("in ", "with ", "wearing ")) or e.base.endswith("ing") or "ing " in e.base:
            return None
        others = [o for o in self.by_family["role"] if o.gender == e.gender and o.base != e.base]
        return self.rng.choice(others), f"is {article(e.base)}" + self.rng.choice(("", " instead"))

    def edit_name(self, e):
        others = self.by_family[e.family] if self.rng.random() < 0.7 else self.names
        return self.rng.choice(others), self.rng.choice(("is {}", "is {} instead", "is now {}")).format(article(e.name))

    def clause_background(self, background):
        return self.rng.choice(BACKGROUND_CLAUSES).format(article(background))

    def clause_style(self, vendor):
        return self.rng.choice(STYLE_CLAUSES[world.STYLES[world.ALL_VENDORS[vendor]]])

    # Captions.

    def caption(self, pic, contrast=""):
        """A caption of the picture; contrast names the fact that tells it from its neighbours in the batch."""
        if len(pic.entities) > 1:
            return self.scene(pic, contrast)
        return self.single(pic, contrast)

    def single(self, pic, contrast):
        rng, e = self.rng, pic.entities[0]
        r = rng.random()
        if r < 0.55:
            return self.relative(pic, contrast)
        skin = self.state_skin(e, 0.95 if contrast == "skin" else 0.6)
        noun, style, background = self.noun(e, skin), -1, ""
        if rng.random() < (0.9 if contrast == "style" else 0.15) and pic.vendor < 3:
            noun, style = world.STYLES[world.ALL_VENDORS[pic.vendor]] + " " + noun, pic.vendor
        if rng.random() < (0.9 if contrast == "background" else 0.2 if pic.background != "white" else 0.05):
            noun, background = f"{noun} on {article(pic.background)} background", pic.background
        r = rng.random()
        if r < 0.6:
            text = rng.choice(TEMPLATES).format(noun)
        elif r < 0.85:
            text = "a photo of " + article(noun)
        else:
            text = article(noun)
        return Caption(text, ((e.name_id, skin),), background, style)

    def relative(self, pic, contrast):
        """ "a photo of NP that CLAUSE": the clause adds a fact, or overrides an old value said in NP."""
        rng, e = self.rng, pic.entities[0]
        override = rng.random() < 0.62
        edits = []
        if contrast in ("", "skin"):
            edits.append(self.edit_skin)
        if contrast in ("", "name"):
            edits += [self.edit_gender, self.edit_hair, self.edit_colour, self.edit_shape, self.edit_expression,
                      self.edit_species, self.edit_clock, self.edit_role, self.edit_name]
        rng.shuffle(edits)
        skin = self.state_skin(e, 0.9 if contrast == "skin" else 0.5)
        background, style = "", -1
        old, clause = None, ""
        r = rng.random()
        if contrast == "background" or (not contrast and r < (0.3 if pic.background != "white" else 0.06)):
            clause, background, old = self.clause_background(pic.background), pic.background, e
        elif pic.vendor < 3 and (contrast == "style" or (not contrast and r > 0.9)):
            clause, style, old = self.clause_style(pic.vendor), pic.vendor, e
        else:
            for edit in edits:
                if found := edit(e):
                    old, clause = found
                    if edit == self.edit_skin:
                        skin = e.skin
                    elif skin >= 0 and not (old.has_skin or rng.random() < 0.5):
                        skin = -1
                    break
        if old is None:
            old, clause = self.edit_name(e)
        if old.name == e.name and background == "" and style < 0:  # a skin edit
            noun = self.noun(old, old.skin if override and (old.skin or rng.random() < 0.3) else -1)
        else:
            noun = self.noun(old, skin)
        noun = article(noun) if rng.random() < 0.8 else noun
        if background and override:
            noun += f" on {article(rng.choice(list(world.BACKGROUNDS)))} background"
        elif not background and rng.random() < (0.25 if pic.background != "white" else 0.05):
            noun, background = noun + f" on {article(pic.background)} background", pic.background
        if rng.random() < 0.12 and pic.vendor < 3:
            own = world.STYLES[world.ALL_VENDORS[pic.vendor]]
            if style < 0:
                noun, style = f"{noun} in {own} style", pic.vendor
            elif override:
                noun = f"{noun} in {rng.choice(list(world.STYLES.values()))} style"
        lead = "a photo of " if rng.random() < 0.85 else ""
        return Caption(f"{lead}{noun} that {clause}", ((e.name_id, skin),), background, style)

    def scene(self, pic, contrast):
        rng = self.rng
        es = list(pic.entities)
        rng.shuffle(es)
        said = es if len(es) == 2 or rng.random() < 0.75 else es[:2]
        skins = [self.state_skin(e, 0.4) for e in said]
        nouns = [article(self.noun(e, s)) for e, s in zip(said, skins)]
        objects = tuple((e.name_id, s) for e, s in zip(said, skins))
        background = ""
        r = rng.random()
        if r < 0.45:
            head, tail = nouns[0], " and ".join(nouns[1:])
            if rng.random() < 0.3:  # an old companion, replaced
                old = article(self.noun(rng.choice(self.names), -1))
                text = f"{head} and {old} that has {tail} instead" + ("" if rng.random() < 0.5 else f" of {old}")
            else:
                text = f"{head} that {rng.choice(ADD_CLAUSES).format(tail)}"
        else:
            joined = ", ".join(nouns[:-1]) + " and " + nouns[-1] if rng.random() < 0.6 else rng.choice(
                (" next to ", " beside ", " with ")).join((nouns[0], " and ".join(nouns[1:])))
            text = joined
        if rng.random() < (0.9 if contrast == "background" else 0.2 if pic.background != "white" else 0.03):
            background = pic.background
            text += f" on {article(background)} background" if " that " not in text else f" and is on {article(background)} background"
        if rng.random() < 0.75:
            text = rng.choice(("a photo of ", "a photo of ", "we see ", "this is ", "this photo contains ",
                               "this illustration contains ")) + text
        return Caption(text, objects, background, -1)
