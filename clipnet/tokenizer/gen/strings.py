"""Writes the strings of ../testdata, with the ids that the reference tokenisers give them.

    pip install tokenizers==0.23.3 regex==2026.11.15 ftfy==6.3.1 unicodedata2==18.0.0
    python3.11 strings.py               writes ../testdata
    python3.11 strings.py SEED N DIR    makes DIR a golden set of N other strings, for
                                        ISEARLE_GOLDEN_TOKENIZER=DIR go test -run GoldenStrings ..

The strings are put together of what tokenisers stumble over. OpenAI's ids are those without ftfy's repair of wrong
encodings, which package tokenizer leaves out.
"""

import gzip
import html
import json
import os
import random
import shutil
import sys
from html.entities import html5

import ftfy
import regex
import tokenizers
import unicodedata2 as unicodedata

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(HERE, "../../../weights/golden/testdata")
TESTDATA = os.path.join(HERE, "../testdata")
BOS, EOT = "<|startoftext|>", "<|endoftext|>"


class OpenAI:
    """OpenAI's tokeniser: the merges one after the other, all the places of a pair at once."""

    PATTERN = regex.compile(
        r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
        regex.IGNORECASE,
    )

    def __init__(self, merges):
        printable = [b for b in range(256) if 32 < b < 127 or 160 < b and b != 173]
        rest = [b for b in range(256) if b not in printable]
        self.symbol = {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(rest)}
        symbols = [self.symbol[b] for b in printable + rest]
        tokens = symbols + [s + "</w>" for s in symbols] + ["".join(m) for m in merges] + [BOS, EOT]
        self.ids = {t: i for i, t in enumerate(tokens)}
        self.ranks = {m: i for i, m in enumerate(merges)}

    def word(self, piece):
        if piece in (BOS, EOT):
            return [self.ids[piece]]
        parts = [self.symbol[b] for b in piece.encode()]
        parts[-1] += "</w>"
        while len(parts) > 1:
            best = min(zip(parts, parts[1:]), key=lambda pair: self.ranks.get(pair, len(self.ranks)))
            if best not in self.ranks:
                break
            merged = []
            for p in parts:
                if merged and (merged[-1], p) == best:
                    merged[-1] = (p,)  # not to be merged again in this round
                else:
                    merged.append(p)
            parts = ["".join(best) if isinstance(p, tuple) else p for p in merged]
        return [self.ids[p] for p in parts]

    def encode(self, text):
        text = html.unescape(html.unescape(ftfy.fix_text(text, fix_encoding=False)))
        text = regex.sub(r"\s+", " ", text.strip()).strip().lower()
        ids = [i for piece in self.PATTERN.findall(text) for i in self.word(piece)]
        return [self.ids[BOS], *ids, self.ids[EOT]]


def hugging_face(small, openai, merges):
    """Hugging Face's tokeniser for the vocabulary of openai, as the file small has it for a smaller one."""
    config = json.loads(small)
    config["model"]["vocab"], config["model"]["merges"] = openai.ids, merges
    for token in config["added_tokens"]:
        token["id"] = openai.ids[token["content"]]
    config["post_processor"]["cls"][1] = openai.ids[BOS]
    config["post_processor"]["sep"][1] = openai.ids[EOT]
    return tokenizers.Tokenizer.from_str(json.dumps(config))


CHARS = [
    chr(c)
    for c in range(0xF0000)
    if not 0xD800 <= c < 0xF900 and unicodedata.category(chr(c)) != "Cn"
]
MARKS = [c for c in CHARS if unicodedata.combining(c)]
COMPOSITES = [c for c in CHARS if unicodedata.normalize("NFD", c) != c]
CASED = [c for c in CHARS if c.lower() != c or c.upper() != c]
CONTROLS = [chr(c) for c in [*range(32), *range(0x7F, 0xA0), 0xAD, *range(0x200B, 0x2010), *range(0x206A, 0x2070)]]
SPACES = list("\t\n\v\f\r \x85\xa0\u1680\u2000\u2007\u200a\u2028\u2029\u202f\u205f\u3000")
SNIPPETS = (
    "a photo of $ that is red it's don't they're WE'LL I'D 'S 'ſ 'Ve o'm cat's 3.14 100% !!! ... ?? <| |> "
    "<|startoftext|> <|endoftext|> <|STARTOFTEXT|> <|ſtartoftext|> <|EndOfText|>! ΣΑΣ ὈΔΥΣΣΕΎΣ ΑΣ. Σ' ΑΣ\u0308 ΑΣα "
    "İstanbul STRASSE Straße ﬁne ﬂow Ｆｕｌｌ ｶﾞ ﾊﾟ ㅎ 한글 \u1100\u1161\u11a8 \u1112\u1161\u11ab \u0345 ΑΙ\u0345 "
    "\x1b[31m \x1b[1;٣m \x1b[0 \x1b[ “q” ‘s’ it’s ʼn ŉ ǆ Ǆ 日本語 ねこ एक 😀 👨\u200d👩\u200d👧 🇫🇷 e\u0301 é Å Ω K \r\n \r "
    "\x00 \ufe0f \ufeff \ufffc &nGt; &nLt; &AMP;amp;LT; \x1b[1&amp;#109;"
).split(" ")


def entity(rnd):
    name, kind = rnd.choice(list(html5)), rnd.randrange(8)
    if kind == 0:
        return "&" + name
    if kind == 1:
        return "&" + name.upper()
    if kind == 2:
        return "&" + name.rstrip(";")
    if kind == 3:
        return "&" + name[: rnd.randrange(len(name) + 1)] + rnd.choice(["", ";", "x", "X;", "é;", "\xa0", "&", "<"])
    number = rnd.choice([rnd.randrange(300), rnd.randrange(0x120000), 0x345, 0xFFFE, 0xFDD0, 10 ** rnd.randrange(12)])
    if kind == 4:
        return f"&#{number}" + rnd.choice([";", "", ";;", "a;"])
    if kind == 5:
        return f"&#{rnd.choice('xX')}{number:x}" + rnd.choice([";", "", "g;"])
    if kind == 6:
        return "&amp;" * rnd.randrange(1, 3) + rnd.choice(["amp;", "lt;", "#38;", "#x26;", "#109;"]) * rnd.randrange(1, 4)
    return "&" + name.lower()


def snippet(rnd):
    kind = rnd.randrange(16)
    if kind < 4:
        return rnd.choice(SNIPPETS)
    if kind < 6:
        return "".join(rnd.choices("abcdefghijklmnopqrstuvwxyz'ABCS", k=rnd.randrange(1, 10)))
    if kind == 6:
        return "".join(rnd.choices(MARKS, k=rnd.choice([1, 1, 2, 2, 3, 4, 5, 12])))
    if kind == 7:
        return unicodedata.normalize("NFD", rnd.choice(COMPOSITES))
    if kind == 8:
        return entity(rnd)
    if kind == 9:
        return chr(rnd.randrange(0xFF00, 0xFFF0))
    if kind == 10:
        return chr(rnd.choice([rnd.randrange(0x1100, 0x1200), rnd.randrange(0xAC00, 0xD7A4)]))
    if kind == 11:
        return rnd.choice(["Σ", "ς", "'", ".", "·", "’", "”", ":", "\u0345", "\u0307", "I", "ſ"])
    return rnd.choice(rnd.choice([CHARS, COMPOSITES, CASED, SPACES, CONTROLS]))


def string(rnd):
    kind = rnd.randrange(50)
    if kind == 0:
        return "a" + "".join(rnd.choices(MARKS, k=rnd.randrange(25, 60)))
    if kind == 1:
        return "".join(rnd.choices("ab", k=rnd.randrange(40, 200)))
    count = rnd.choice([1, 2, 3, 4, 6, 8, 12, 20])
    return "".join(snippet(rnd) + rnd.choice(["", "", "", " "]) for _ in range(count))


def rows(rnd, n, hf, openai):
    for _ in range(n):
        text = string(rnd)
        yield {"text": text, "hf": hf.encode(text).ids, "openai": openai.encode(text)}


def added(rnd, small):
    """A vocabulary with added tokens of every supported kind, and strings for it."""
    config = json.loads(small)
    first = max(config["model"]["vocab"].values()) + 1
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "special": True}
    config["added_tokens"][0]["normalized"] = True
    config["added_tokens"] += [
        {"id": config["model"]["vocab"]["!"], "content": "!", "normalized": False, **flags},
        {"id": first, "content": "<Cat>", "normalized": False, **flags},
        {"id": first + 1, "content": "<Cat>s", "normalized": False, **flags},
        {"id": first + 2, "content": "<DOG>", "normalized": True, **flags},
    ]
    config["added_tokens"].sort(key=lambda token: token["id"])
    text = json.dumps(config, ensure_ascii=False, separators=(",", ":"))
    hf = tokenizers.Tokenizer.from_str(text)
    bits = ["<Cat>", "<cat>", "<Cat>s", "<DOG>", "<dog>", "<dOg>s", "!", BOS, EOT, BOS.upper(), EOT.upper(), " ", "a", "é"]
    texts = ["".join(rnd.choices(bits, k=rnd.randrange(1, 8))) for _ in range(300)]
    return text, [{"text": t, "hf": hf.encode(t).ids} for t in texts]


def write(path, content):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(content)


def lines(rows):
    return "".join(json.dumps(r, separators=(",", ":")) + "\n" for r in rows).encode()


def main():
    merge_list = os.path.join(GOLDEN, "tokenizer/merges_full.txt.gz")
    with gzip.open(merge_list, "rt", encoding="utf-8") as f:
        merges = [tuple(line.split()) for line in f if not line.startswith("#version")]
    with open(os.path.join(GOLDEN, "clip/tokenizer_small/tokenizer.json"), encoding="utf-8") as f:
        small = f.read()
    openai = OpenAI(merges)
    hf = hugging_face(small, openai, merges)
    seed, n, target = sys.argv[1:] or (3, 2000, TESTDATA)
    rnd = random.Random(int(seed))
    strings = lines(rows(rnd, int(n), hf, openai))
    write(os.path.join(target, "strings.jsonl.gz"), gzip.compress(strings, 9, mtime=0))
    if target != TESTDATA:
        shutil.copy(merge_list, target)
        return
    config, texts = added(rnd, small)
    write(os.path.join(target, "added/tokenizer.json"), config.encode())
    write(os.path.join(target, "added/strings.jsonl"), lines(texts))


main()
