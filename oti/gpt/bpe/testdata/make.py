"""Writes strings.jsonl.gz, decoded.json and merges.txt.gz: python make.py ENCODER_JSON VOCAB_BPE CONCEPTS

CONCEPTS is weights/demo/concepts.txt. Run in this directory.
"""

import gzip
import json
import random
import sys

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

END = "<|endoftext|>"
vocab = json.load(open(sys.argv[1]))
lines = open(sys.argv[2], encoding="utf8").read().split("\n")[1:]
hf = Tokenizer(models.BPE(vocab, [tuple(l.split(" ")) for l in lines if l.strip()]))
hf.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
hf.decoder = decoders.ByteLevel()
hf.add_special_tokens([AddedToken(END, special=True, normalized=False)])

R = random.Random(4)
concepts = [l.strip() for l in open(sys.argv[3])]
words = [w for w in vocab if w.isascii() and w.isalpha() and len(w) > 2]
pieces = [w.replace("Ġ", " ") for w in vocab if all(c == "Ġ" or c.isascii() for c in w)]
spaces = [" ", "  ", "\n", "\n\n", "\t", "\r\n", "   ", "\u00a0", "\u3000", "\u2009", "\u0085", "\x0b", "\x0c", "\x1c",
          "\u200b", "\u2028", "\u1680", " \n "]
contractions = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'LL", "’s", "''s", "'", "'x", "'l", "'r", "'v"]
marks = list("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") + [
    "...", "--", "!!!", "?!", "://", "==", "->", END, "<|endoftext", "<|startoftext|>", "«", "»", "—", "…", "€", "™"]
blocks = [(0x20, 0x7f)] * 2 + [
    (0xa0, 0x180), (0x370, 0x400), (0x400, 0x500), (0x590, 0x600), (0x600, 0x700), (0x900, 0x980), (0xe00, 0xe80),
    (0x1100, 0x1200), (0x2000, 0x2100), (0x2150, 0x2190), (0x2460, 0x2500), (0x3040, 0x3100), (0x4e00, 0x9fff),
    (0xac00, 0xd7a3), (0xff00, 0xfff0), (0x1f300, 0x1f700), (0x1f900, 0x1fa00), (0x300, 0x370), (0x10000, 0x11fff),
    (0x2ebe0, 0x2ee70), (0x13440, 0x14400), (0x1c80, 0x1c90), (0xa7c0, 0xa7e0), (0x1e5d0, 0x1e600)]
verbs = "is has was looks sits stands shows wears holds carries seems appears comes makes takes".split()


def phrase():
    c, n = R.choice(concepts), R.randint(2, 9)
    said = " ".join(R.choice(words).lower() for _ in range(n // 2))
    return f"a photo of {c} that {R.choice(verbs)} " + said + R.choice([".", "", ",", "!"])


def script(n):
    lo, hi = R.choice(blocks)
    s = ""
    for _ in range(n):
        if R.random() < .15:
            lo, hi = R.choice(blocks)
        c = R.randrange(lo, hi)
        if not 0xd800 <= c < 0xe000:
            s += chr(c)
    return s


def mixture():
    s = ""
    for _ in range(R.randint(1, 7)):
        r = R.random()
        if r < .4:
            s += R.choice(pieces)
        elif r < .6:
            s += R.choice(spaces)
        elif r < .7:
            s += R.choice(contractions)
        elif r < .82:
            s += R.choice(marks)
        elif r < .9:
            s += str(R.randrange(10 ** R.randint(1, 9)))
        else:
            s += script(R.randint(1, 4))
    return s


def repetition():
    a = "".join(R.choice("abehlnoprst 01.-=_ÃÂ ") for _ in range(R.randint(1, 3)))
    return a * R.randint(2, 30 if R.random() < .9 else 120)


def letters():
    return "".join(R.choice("etaoinshrdlu") for _ in range(R.randint(1, 24)))


def anything():
    codes = (R.randrange(0x110000) for _ in range(R.randint(1, 6)))
    return "".join(chr(c) for c in codes if not 0xd800 <= c < 0xe000)


texts = dict.fromkeys(["", " ", "  ", "'", "a", " a", "a ", "\n", "\n\n", END, END * 2, f" {END} ", f"a{END}b", "a" * 2000,
                       " " * 500, "the" * 300, "=-" * 200])
for draw, n in [(phrase, 5000), (mixture, 7000), (lambda: script(R.randint(1, 8)), 2500), (repetition, 1800),
                (letters, 2500), (anything, 1000), (mixture, 200)]:
    end = len(texts) + n
    while len(texts) < min(end, 20000):
        texts[draw()] = None

rows = []
for s in texts:
    ids = hf.encode(s).ids
    assert hf.decode(ids, skip_special_tokens=False) == s
    rows.append(json.dumps({"text": s, "ids": ids}, ensure_ascii=False, separators=(",", ":")))
decoded = []
for _ in range(300):
    ids = [R.randrange(256 if R.random() < .6 else 50257) for _ in range(R.randint(1, 8))]
    decoded.append({"ids": ids, "text": hf.decode(ids, skip_special_tokens=False)})
json.dump(decoded, open("decoded.json", "w"), ensure_ascii=False, separators=(",", ":"))
for name, data in [("strings.jsonl.gz", ("\n".join(rows) + "\n").encode()), ("merges.txt.gz", open(sys.argv[2], "rb").read())]:
    with open(name, "wb") as f, gzip.GzipFile(filename="", mode="wb", fileobj=f, compresslevel=9, mtime=0) as g:
        g.write(data)
