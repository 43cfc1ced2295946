"""Writes pictures of the training split, as PNG: what OTI inverts and phi is distilled from.

usage: pictures.py BUILD COUNT
"""

import random
import sys
from pathlib import Path

from PIL import Image

import data

SEED = 20261125  # not the model's: other pictures of the same world


def main(build, count):
    folder = Path(build) / "pictures"
    folder.mkdir(exist_ok=True)
    batches = data.Batches(build, None, 0, SEED)
    rng = random.Random(SEED + 1)
    for i in range(int(count)):
        picture, _ = batches.independent()
        # Every other one as galleries show it, the rest moved and scaled.
        pixels = batches.composer.paint(picture, rng if i % 2 else None)
        Image.fromarray(pixels).save(folder / f"{i:05d}.png", compress_level=1)


if __name__ == "__main__":
    main(*sys.argv[1:3])
