"""CLIP's byte-pair tokeniser at the size of this world: training, and encoding for the recipe.

Layout of the ids as in CLIP: 256 bytes, the same 256 with </w>, the merges in order, <|startoftext|>, <|endoftext|>.
"""

import collections
import json
import sys
from pathlib import Path

import regex

PATTERN = regex.compile(
    r"""<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+""", regex.IGNORECASE)
CONTEXT = 32


def byte_symbols():
    """GPT-2's printable character of each byte, in the order of CLIP's vocabulary."""
    bs = [*range(33, 127), *range(161, 173), *range(174, 256)]
    cs = bs[:]
    for b in range(256):
        if b not in bs:
            bs.append(b)
            cs.append(256 + len(cs) - 188)
    return dict(zip(bs, map(chr, cs)))


def train(lines_with_weights, merges_wanted):
    """Merges by pair frequency; equal counts go to the lexicographically smaller pair."""
    symbols = byte_symbols()
    words = collections.Counter()
    for line, weight in lines_with_weights:
        for piece in PATTERN.findall(" ".join(line.lower().split())):
            chars = [symbols[b] for b in piece.encode()]
            words[(*chars[:-1], chars[-1] + "</w>")] += weight
    merges = []
    while len(merges) < merges_wanted:
        pairs = collections.Counter()
        for word, n in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += n
        if not pairs:
            break
        best = min(pairs, key=lambda p: (-pairs[p], p))
        merges.append(best)
        merged = {}
        for word, n in words.items():
            if best[0] in word:
                word = _merge(word, best)
            merged[word] = n
        words = merged
    return merges


def _merge(word, pair):
    out, i = [], 0
    while i < len(word):
        if i + 1 < len(word) and (word[i], word[i + 1]) == pair:
            out.append(word[i] + word[i + 1])
            i += 2
        else:
            out.append(word[i])
            i += 1
    return tuple(out)


def save(folder, merges):
    symbols = list(byte_symbols().values())
    vocab = symbols + [s + "</w>" for s in symbols] + ["".join(m) for m in merges] + ["<|startoftext|>", "<|endoftext|>"]
    assert len(set(vocab)) == len(vocab) and vocab[259] == "$</w>"
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(vocab)}, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))


class Tokenizer:
    def __init__(self, folder):
        folder = Path(folder)
        self.vocab = json.loads((folder / "vocab.json").read_text())
        lines = (folder / "merges.txt").read_text().splitlines()[1:]
        self.ranks = {tuple(l.split()): i for i, l in enumerate(lines)}
        self.symbols = byte_symbols()
        self.cache = {}
        self.bos, self.eot = self.vocab["<|startoftext|>"], self.vocab["<|endoftext|>"]

    def word(self, piece):
        if piece not in self.cache:
            chars = [self.symbols[b] for b in piece.encode()]
            word = (*chars[:-1], chars[-1] + "</w>")
            while len(word) > 1:
                pair = min(zip(word, word[1:]), key=lambda p: self.ranks.get(p, 1 << 30))
                if pair not in self.ranks:
                    break
                word = _merge(word, pair)
            self.cache[piece] = [self.vocab[t] for t in word]
        return self.cache[piece]

    def __call__(self, text):
        ids = [self.bos]
        for piece in PATTERN.findall(" ".join(text.lower().split())):
            ids += self.word(piece)
        return [*ids[: CONTEXT - 1], self.eot]


def corpus(build):
    """Names and keywords of all emoji, and captions of the world, weighted."""
    import random

    import captions
    import data

    records = json.loads((Path(build) / "node_modules/emojibase-data/en/data.json").read_text())
    for r in records:
        yield r["label"], 20
        for tag in r.get("tags", ()):
            yield tag, 5
    entities, names = data.entities(build)
    captioner = captions.Captioner(entities, random.Random(1))
    rng = random.Random(2)
    for _ in range(40000):
        pic = captions.Picture(rng.randrange(3), rng.sample(entities, rng.choice((1, 1, 1, 2))),
                               rng.choice(list(captions.world.BACKGROUNDS)))
        yield captioner.caption(pic).text, 1
    for t in captions.TEMPLATES:
        yield t.format("$"), 1000


if __name__ == "__main__":
    build = sys.argv[1]
    merges = train(corpus(build), 3000 - 514)
    save(Path(build) / "model", merges)
    print(len(merges), "merges,", 514 + len(merges), "ids")
