"""Records what the reference tokenisers know of Unicode, for main.go to make tables.go of.

    pip install tokenizers==0.23.3 regex==2026.11.15 unicodedata2==18.0.0
    python3.11 record.py > unicode.json

The references disagree on the edition of Unicode: Hugging Face's library carries Unicode 16 classes (Oniguruma),
Unicode 17 case mappings (Rust) and a normaliser of Unicode 9; OpenAI's tokeniser takes its classes from the regex
module (Unicode 18), its case mappings and normaliser from CPython 3.11 (Unicode 14). So they are asked, character by
character, rather than derived from any one edition.
"""

import json
import sys
import unicodedata

import regex
import unicodedata2
from tokenizers import Regex, normalizers, pre_tokenizers

CHARS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def hugging_face(pattern):
    """The characters that match a class in a Split pre-tokeniser."""
    split = pre_tokenizers.Split(Regex(pattern), "removed", invert=True)
    found = set()
    for i in range(0, len(CHARS), 4096):
        text = "".join(map(chr, CHARS[i : i + 4096]))
        for piece, _ in split.pre_tokenize_str(text):
            found.update(map(ord, piece))
    return found


def openai(pattern):
    """The characters that match a class as OpenAI compiles its pattern, ignoring case."""
    match = regex.compile(pattern, regex.IGNORECASE).match
    return {c for c in CHARS if match(chr(c))}


def sigma():
    """The cased and the case-ignorable characters, told by what str.lower makes of a capital sigma behind them."""
    final = lambda text: text.lower()[-1] == "ς"
    cased = {c for c in CHARS if final(chr(c) + "Σ")}
    return cased, {c for c in CHARS if c not in cased and final("A" + chr(c) + "Σ")}


def spans(*sets):
    """[first, last, bits] of the runs of characters that are in the same sets."""
    out = []
    for c in CHARS:
        bits = sum(1 << i for i, s in enumerate(sets) if c in s)
        if out and out[-1][1] == c - 1 and out[-1][2] == bits:
            out[-1][1] = c
        else:
            out.append([c, c, bits])
    return [s for s in out if s[2]]


def lower(f):
    """[character, its lower case] where they differ."""
    return [[c, list(map(ord, f(chr(c))))] for c in CHARS if f(chr(c)) != chr(c)]


def inert(nfd):
    """The characters that Unicode 18 reorders or decomposes and the normaliser nfd does not know."""
    out = []
    for c in CHARS:
        decomposed = unicodedata2.normalize("NFD", chr(c))
        if decomposed != chr(c):
            if nfd(chr(c)) == chr(c):
                out.append(c)
            continue
        k = unicodedata2.combining(chr(c))
        if not k:
            continue
        # U+0345 has the highest class and U+0334 the lowest: one of them trades places with any mark that is known.
        low, high = "a" + chr(c) + "\u0334", "a\u0345" + chr(c)
        if k > 1 and nfd(low) == low or k == 1 and nfd(high) == high:
            out.append(c)
    return set(out)


letter, number = r"[\p{L}]", r"[\p{N}]"
other = r"[^\s\p{L}\p{N}]"
hf_letters, hf_numbers = hugging_face(letter), hugging_face(number)
letters, numbers = openai(letter), openai(number)
# Under both rules the text falls into letters, numbers, others, and what no alternative of the pattern takes: white
# space, and for OpenAI's also U+0345, whose case variants are letters, so that the negated class refuses it.
hf_gaps = set(CHARS) - hf_letters - hf_numbers - hugging_face(other)
gaps = set(CHARS) - letters - numbers - openai(other)
assert hf_gaps == hugging_face(r"\s") and gaps == hf_gaps | {0x345}
cased, ignorable = sigma()
json.dump(
    {
        "classes": spans(
            hf_letters,
            hf_numbers,
            hf_gaps,
            letters,
            numbers,
            gaps,
            cased,
            ignorable,
            inert(normalizers.NFD().normalize_str),
            inert(lambda s: unicodedata.normalize("NFD", s)),
        ),
        "lower": {
            "hf": lower(normalizers.Lowercase().normalize_str),
            "openai": lower(str.lower),
        },
    },
    sys.stdout,
    separators=(",", ":"),
)
print()
