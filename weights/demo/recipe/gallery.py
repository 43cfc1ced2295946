"""The shipped gallery (gallery.zip), the composed queries over it (queries.json) and the concept lists, all by rule."""

import hashlib
import io
import json
import sys
import zipfile
from pathlib import Path

from PIL import Image

import captions
import data
import world
from captions import Picture, article

ROLES = ("farmer", "cook", "health worker", "teacher", "astronaut", "firefighter", "police officer", "singer", "scientist",
         "artist", "construction worker", "superhero")
ROLE_TONES = (0, 1, 5)
SINGLES = {"nature": 48, "food": 44, "place": 24, "thing": 34, "creature": 12, "heart-like": 6, "symbol": 6, "arrow": 5,
           "moon": 10, "heart": 99, "circle": 99, "square": 99, "book": 99, "apple": 99, "diamond": 99, "clock": 99,
           "cat": 99, "face": 42, "person": 10}  # how many names of each family
ON_COLOURS = ("blue", "green", "yellow", "black")
COLOURED = {"nature": 9, "food": 6, "heart": 2, "face": 3, "thing": 4}  # names shown on colours
ANCHORS, COMPANIONS = 13, 4  # scenes of two
TRIPLES = 16
PER_KIND = 28

# The first eight kinds are the showcase. Aspects are CIRCO's.
KINDS = {
    "background": ["spatial relations & background"],
    "added object": ["addition"],
    "expression": ["compare & change"],
    "colour": ["compare & change"],
    "skin tone": ["compare & change"],
    "gender": ["compare & change"],
    "clock": ["compare & change"],
    "style": ["compare & change"],
    "hair": ["compare & change"],
    "role": ["compare & change"],
    "species": ["compare & change"],
    "shape": ["compare & change"],
    "replaced object": ["addition", "negation", "conjunction"],
}


def rank(*words):
    """A fixed pseudo-random order."""
    return hashlib.sha256("|".join(map(str, words)).encode()).hexdigest()


def first(items, n, key):
    return sorted(items, key=lambda x: rank("gallery", key(x)))[:n]


def picture_id(p):
    return f"{world.ALL_VENDORS[p.vendor]}/{'+'.join(e.slug for e in p.entities)}@{p.background}"


def pictures(entities):
    """The gallery's pictures, without those whose pixels another one of the vendor already has."""
    plain = [e for e in entities if e.skin == 0]
    family = {}
    for e in plain:
        family.setdefault(e.family, []).append(e)
    singles = {f: first(family[f], n, lambda e: e.name) for f, n in SINGLES.items()}
    keep = {e.name for e in singles["face"]}
    singles["face"] += [e for e in family["face"] if e.name in world.CAT_OF_FACE and e.name not in keep]
    white = [e for l in singles.values() for e in l]
    for e in entities:
        role = e.family == "role" and e.base in ROLES and e.gender in ("man", "woman")
        if role and (e.skin in ROLE_TONES or world.skin_held_out(e)):
            white.append(e)
        if e.family == "hair" and e.gender in ("man", "woman") and e.skin in (0, 5):
            white.append(e)
        if e.family == "hand" and e.has_skin and e.skin in (0, 5):
            white.append(e)
    out = [([e], "white") for e in white]
    for f, n in COLOURED.items():
        out += [([e], b) for e in singles[f][:n] for b in ON_COLOURS]
    anchors = first(singles["nature"][:30] + singles["thing"][:10], ANCHORS, lambda e: "anchor " + e.name)
    others = first(singles["food"] + singles["thing"] + singles["heart"], 40, lambda e: "companion " + e.name)
    for i, a in enumerate(anchors):
        for k in range(COMPANIONS):
            b = others[(i + k * 5) % len(others)]
            if a.name != b.name:
                out.append(([a, b], "white"))
    for i in range(TRIPLES):
        trio = [anchors[i % len(anchors)], others[(i * 3 + 1) % len(others)], others[(i * 3 + 2) % len(others)]]
        if len({e.name for e in trio}) == 3:
            out.append((trio, "white"))
    unique = {picture_id(p): p for p in (Picture(v, es, b) for es, b in out for v in range(len(world.VENDORS)))}
    return list(unique.values())


def encode(image):
    """A palette PNG."""
    out = io.BytesIO()
    Image.fromarray(image).quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return out.getvalue()


def manifest_entry(p):
    held = any(world.skin_held_out(e) or world.background_held_out(e, p.background) for e in p.entities)
    vendor = world.ALL_VENDORS[p.vendor]
    attributes = {"background": p.background, "style": world.STYLES[vendor]}
    if len(p.entities) == 1:
        attributes |= p.entities[0].attributes()
    else:
        attributes["objects"] = ",".join(e.name for e in p.entities)
    names = [e.name + (f" with {world.SKINS[e.skin]} skin" if e.skin else "") for e in p.entities]
    return {"id": picture_id(p), "name": " and ".join(names), "emoji": "".join(e.emoji for e in p.entities),
            "vendor": vendor, "attributes": attributes, "split": "held-out" if held else "train"}


def queries(pics):
    """Candidates of every kind, in a fixed pseudo-random order, the first PER_KIND of each."""
    index = {}
    for p in pics:
        index.setdefault((tuple(e.slug for e in p.entities), p.background), []).append(p)
    singles = [p for p in pics if len(p.entities) == 1]
    white = [p for p in singles if p.background == "white"]
    found = {k: [] for k in KINDS}

    def add(kind, ref, caption, slugs, background, only=None):
        right = [picture_id(t) for t in index.get((slugs, background), ()) if only is None or t.vendor == only]
        if right and picture_id(ref) not in right:
            found[kind].append({"kind": kind, "reference": picture_id(ref), "caption": caption, "targets": right,
                                "aspects": KINDS[kind]})

    by_slug = {p.entities[0].slug: p.entities[0] for p in white}
    for ref in white:
        e = ref.entities[0]
        for background in ON_COLOURS:
            add("background", ref, f"is on {article(background)} background", (e.slug,), background)
        for slugs, background in index:
            if len(slugs) == 2 and slugs[0] == e.slug:
                add("added object", ref, f"has {article(by_slug[slugs[1]].name)} beside it", slugs, background)
        for t in by_slug.values():
            if t.slug == e.slug:
                continue
            same_tone = t.skin == e.skin
            if e.expression and t.expression and t.family == e.family:
                add("expression", ref, t.expression, (t.slug,), "white")
            if e.colour and t.base == e.base and t.colour:
                add("colour", ref, f"is {t.colour} instead of {e.colour}", (t.slug,), "white")
            if e.colour and t.colour == e.colour and t.base != e.base:
                add("shape", ref, f"is {article(t.base)}", (t.slug,), "white")
            if e.has_skin and t.name == e.name:
                add("skin tone", ref, f"has {world.SKINS[t.skin]} skin", (t.slug,), "white")
            if e.gender and t.gender and same_tone and (t.base, t.hair) == (e.base, e.hair) and t.gender != e.gender:
                add("gender", ref, f"is {article(t.gender)}", (t.slug,), "white")
            if e.hour and t.hour:
                add("clock", ref, f"shows {t.hour}", (t.slug,), "white")
            if e.family == t.family == "hair" and same_tone and t.gender == e.gender and t.hair:
                add("hair", ref, captions.HAIR[t.hair], (t.slug,), "white")
            if e.family == t.family == "role" and same_tone and t.gender == e.gender:
                add("role", ref, f"is {article(t.base)}", (t.slug,), "white")
            if world.CAT_OF_FACE.get(e.name) == t.name:
                add("species", ref, "is a cat instead", (t.slug,), "white")
            if world.CAT_OF_FACE.get(t.name) == e.name:
                add("species", ref, "is a face instead", (t.slug,), "white")
        for v, vendor in enumerate(world.VENDORS):
            add("style", ref, captions.STYLE_CLAUSES[world.STYLES[vendor]][-1], (e.slug,), "white", only=v)
    for ref in pics:
        if len(ref.entities) != 2:
            continue
        a, b = ref.entities
        for slugs, background in index:
            if len(slugs) == 2 and slugs[0] == a.slug and slugs[1] != b.slug:
                text = f"has {article(by_slug[slugs[1]].name)} instead of {article(b.name)}"
                add("replaced object", ref, text, slugs, background)
    out = []
    for kind, items in found.items():
        items.sort(key=lambda q: rank("query", q["reference"], q["caption"]))
        seen = set()
        for q in items:
            # Each reference once a kind, so that the kinds are not a few pictures asked again.
            if q["reference"] not in seen:
                seen.add(q["reference"])
                if len(seen) > PER_KIND:
                    break
                out.append({"id": f"{kind.replace(' ', '-')}-{len(seen):02d}", **q})
    return out


def main(build, out):
    entities, names = data.entities(build)
    composer = data.Composer(build)
    kept, seen = [], set()
    with zipfile.ZipFile(Path(out) / "gallery.zip", "w", zipfile.ZIP_STORED) as z:
        manifest = []
        files = []
        for p in pictures(entities):
            image = composer.paint(p)
            key = (p.vendor, image.tobytes())
            if key in seen:
                print("same pixels, left out:", picture_id(p))
                continue
            seen.add(key)
            kept.append(p)
            entry = manifest_entry(p)
            files.append((entry["id"] + ".png", encode(image)))
            manifest.append(entry)
        fixed = (1980, 1, 1, 0, 0, 0)  # the same bytes at every build
        info = zipfile.ZipInfo("manifest.json", fixed)
        info.compress_type = zipfile.ZIP_DEFLATED
        z.writestr(info, json.dumps({"pictures": manifest}, ensure_ascii=False, separators=(",", ":")))
        for name, png in files:
            z.writestr(zipfile.ZipInfo(name, fixed), png)
    qs = queries(kept)
    Path(out, "queries.json").write_text(json.dumps({"queries": qs}, ensure_ascii=False, indent=1) + "\n")
    Path(out, "concepts.txt").write_text("\n".join(names) + "\n")
    count = {k: sum(q["kind"] == k for q in qs) for k in KINDS}
    print(len(kept), "pictures,", sum(m["split"] == "held-out" for m in manifest), "held out,", len(qs), "queries", count)
    print((Path(out) / "gallery.zip").stat().st_size, "bytes")


if __name__ == "__main__":
    main(*sys.argv[1:3])
