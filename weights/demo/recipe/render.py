"""Renders every entity by every vendor to premultiplied RGBA arrays of several sizes (sprites.npz, world.json)."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import world

SIZES = (62, 56, 50, 31, 29)  # single pictures at the first three, scenes at the last two


def folders(node_modules, build):
    n = Path(node_modules)
    return {
        "noto": (n / "emoji-datasource-google/img/google/64", "png"),
        "fluent-flat": (n / "@lobehub/fluent-emoji-flat/assets", "svg"),
        "fluent-3d": (n / "@lobehub/fluent-emoji-3d/assets", "webp"),
        "twemoji": (n / "emoji-datasource-twitter/img/twitter/64", "png"),
    }


def premultiplied(path, size):
    im = np.asarray(Image.open(path).convert("RGBA")).astype(np.float32) / 255
    im[..., :3] *= im[..., 3:]
    planes = [Image.fromarray(im[..., c]).resize((size, size), Image.LANCZOS) for c in range(4)]
    out = np.clip(np.stack([np.asarray(p) for p in planes], -1), 0, 1)
    out[..., :3] = np.minimum(out[..., :3], out[..., 3:])
    return (out * 255 + 0.5).astype(np.uint8)


def main(build):
    build = Path(build)
    node_modules = build / "node_modules"
    where = folders(node_modules, build)
    have = {v: {p.stem for p in d.glob("*." + ext)} for v, (d, ext) in where.items()}
    entities, names = world.load(node_modules, lambda v, code: code in have[v])
    svgs = build / "svg"
    codes = [e.code for e in entities]
    todo = [c for c in codes if not (svgs / f"{c}.png").exists()]
    script = build / "render.mjs"
    script.write_text((Path(__file__).parent / "render.mjs").read_text())
    subprocess.run(["node", str(script), str(where["fluent-flat"][0]), str(svgs)],
                   input="\n".join(todo), text=True, check=True, cwd=build)
    where["fluent-flat"] = (svgs, "png")
    arrays = {}
    for size in SIZES:
        a = np.zeros((len(world.ALL_VENDORS), len(entities), size, size, 4), np.uint8)
        for vi, v in enumerate(world.ALL_VENDORS):
            folder, ext = where[v]
            for e in entities:
                a[vi, e.id] = premultiplied(folder / f"{e.code}.{ext}", size)
        arrays[f"s{size}"] = a
    np.savez(build / "sprites.npz", **arrays)
    print(len(names), "names,", len(entities), "entities,", sum(a.nbytes for a in arrays.values()) >> 20, "MiB")
    (build / "world.json").write_text(json.dumps(
        {"names": names, "entities": [[e.name, e.slug, e.emoji, e.family] for e in entities]}, ensure_ascii=False))


if __name__ == "__main__":
    main(sys.argv[1])
