"""Writes masks.json: outlines with the masks that pycocotools draws, compressed. Run with pycocotools 2.0 and numpy."""
import json
import os
import random

import numpy as np
from pycocotools import mask as M

random.seed(3)
cases = []


def add(h, w, seg):
    if isinstance(seg, list):
        runs = M.merge(M.frPyObjects(seg, h, w))
    elif isinstance(seg["counts"], list):
        runs = M.frPyObjects(seg, h, w)
    else:
        runs = seg
    mask = M.decode(runs)
    counts = M.encode(np.asfortranarray(mask))["counts"].decode()
    cases.append(dict(width=w, height=h, segmentation=seg, counts=counts, area=int(mask.sum())))


for n in range(60):
    h, w = random.randint(1, 40), random.randint(1, 40)
    polygons = []
    for _ in range(random.randint(1, 3)):
        corners, digits = random.randint(3, 8), random.choice([0, 2])
        polygons.append([round(random.uniform(-6, 1.2 * (w if i % 2 == 0 else h)), digits) for i in range(2 * corners)])
    add(h, w, polygons)
# Repeated corners, edges walked twice, and the image's border.
add(12, 12, [[1, 1, 1, 1, 8, 1, 8, 8, 1, 8, 1, 1]])
add(12, 12, [[3, 3, 9, 3, 9, 3, 3, 3]])
add(9, 9, [[0, 0, 9, 0, 9, 9, 0, 9]])
add(7, 5, dict(size=[7, 5], counts=[3, 4, 10, 8, 0, 0, 10]))
add(7, 5, dict(size=[7, 5], counts=[0, 35]))
big = np.zeros((300, 200), np.uint8, order="F")
big[40:250, 30:170] = 1
big[100:120, 50:60] = 0
add(300, 200, dict(size=[300, 200], counts=M.encode(big)["counts"].decode()))
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "masks.json"), "w") as f:
    f.write("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
