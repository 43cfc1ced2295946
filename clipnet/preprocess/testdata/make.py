"""Makes the reference images of the tests with Pillow (13.0.0, libjpeg-turbo 3.2.0), numpy and tifffile.

    python make.py        writes modes/ and ../jpeg/testdata/ beside this file

modes/NAME.EXT is an image; modes/NAME.EXT.png holds four 16x16 crops of it side by side: OpenAI order without and with
padding to 1.25, RGB first without and with padding. ../jpeg/testdata/NAME.jpg.png is what Pillow decodes; CMYK samples
are stored there as RGBA.
"""

import io
import os
import random
import struct
import zlib

import numpy as np
import tifffile
from PIL import Image, ImageOps

HERE = os.path.dirname(os.path.abspath(__file__))
MODES = os.path.join(HERE, "modes")
JPEG = os.path.join(HERE, "..", "jpeg", "testdata")
random.seed(1)
rng = np.random.default_rng(1)
D = 16


def picture(w, h, c=1, top=256):
    """A gradient with a few hard edges and some noise, c channels of values under top."""
    y, x = np.mgrid[0:h, 0:w]
    planes = []
    for i in range(c):
        v = x * (3 + i) + y * (5 - i) + 60 * ((x // 7 + y // 5 + i) % 2) + rng.integers(0, 9, (h, w))
        planes.append(v % 256 * top // 256)
    a = np.stack(planes, -1)
    return a[..., 0] if c == 1 else a


def u8(w, h, c=1):
    return picture(w, h, c).astype(np.uint8)


def palette_image(w, h, n):
    im = Image.new("P", (w, h))
    im.putdata([int(v) for v in picture(w, h, 1, n).ravel()])
    im.putpalette([int(v) for v in rng.integers(0, 256, 3 * n)])
    return im


def saved(im, fmt, **kw):
    b = io.BytesIO()
    im.save(b, fmt, **kw)
    return b.getvalue()


# PNG, written by hand: Pillow cannot write every depth, filter and interlacing.

ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def chunk(kind, b):
    return struct.pack(">I", len(b)) + kind + b + struct.pack(">I", zlib.crc32(kind + b))


def packed(row, depth):
    if depth >= 8:
        return row.astype(">u2" if depth == 16 else "u1").tobytes()
    bits = "".join(format(int(v), f"0{depth}b") for v in row.ravel())
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))


def filtered(samples, depth):
    out, above = b"", None
    bpp = max(1, depth * samples.shape[2] // 8)
    for n, row in enumerate(samples):
        raw = np.frombuffer(packed(row, depth), "u1").astype(int)
        above = np.zeros_like(raw) if above is None else above
        left = np.concatenate([np.zeros(bpp, int), raw])[: len(raw)]
        corner = np.concatenate([np.zeros(bpp, int), above])[: len(raw)]
        p = left + above - corner
        pa, pb, pc = abs(p - left), abs(p - above), abs(p - corner)
        paeth = np.where((pa <= pb) & (pa <= pc), left, np.where(pb <= pc, above, corner))
        kind = n % 5
        out += bytes([kind]) + ((raw - [0, left, above, (left + above) // 2, paeth][kind]) % 256).astype("u1").tobytes()
        above = raw
    return out


def png(samples, depth, color, interlaced=False, plte=b"", trns=b""):
    h, w, _ = samples.shape
    passes = ADAM7 if interlaced else [(0, 0, 1, 1)]
    parts = [samples[y0::dy, x0::dx] for x0, y0, dx, dy in passes]
    z = zlib.compress(b"".join(filtered(s, depth) for s in parts if s.size))
    out = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, color, 0, 0, int(interlaced)))
    out += (chunk(b"PLTE", plte) if plte else b"") + (chunk(b"tRNS", trns) if trns else b"")
    return out + chunk(b"IDAT", z[:40]) + chunk(b"IDAT", z[40:]) + chunk(b"IEND", b"")


def png_cases():
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
    for color, depth in [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16), (3, 1), (3, 2), (3, 4), (3, 8),
                         (4, 8), (4, 16), (6, 8), (6, 16)]:  # fmt: skip
        w, h = random.choice([(37, 29), (21, 50), (61, 40)])
        s = picture(w, h, channels[color], 1 << depth).reshape(h, w, -1)
        interlaced = depth in (1, 4, 16)
        plte = rng.integers(0, 256, 3 << depth).astype("u1").tobytes() if color == 3 else b""
        yield f"color{color}_{depth}bit{'_adam7' * interlaced}.png", png(s, depth, color, interlaced, plte)
    s = picture(30, 33, 1, 256).reshape(33, 30, 1)
    yield "gray_trns.png", png(s, 8, 0, False, b"", struct.pack(">H", int(s[3, 3, 0])))
    s = picture(30, 33, 1, 20).reshape(33, 30, 1)
    yield "palette_short_trns.png", png(s, 8, 3, False, bytes(range(48)), bytes(range(10)))


def bmp(w, h, bits, compression, data, palette=b"", masks=b"", header=40):
    head = struct.pack("<IiiHHIIiiII", header, w, h, 1, bits, compression, len(data), 0, 0, 0, 0) + masks
    head = head.ljust(header, b"\0") + palette
    return b"BM" + struct.pack("<IHHI", 14 + len(head) + len(data), 0, 0, 14 + len(head)) + head + data


def bmp_cases():
    w, h = 35, 27
    rows = lambda bits: rng.integers(0, 256, (w * bits + 31) // 32 * 4 * h).astype("u1").tobytes()
    entries = lambda n: rng.integers(0, 256, 4 * n).astype("u1").tobytes()
    yield "bilevel.bmp", saved(Image.fromarray(u8(w, h)).convert("1"), "BMP")
    yield "gray.bmp", saved(Image.fromarray(u8(w, h)), "BMP")
    yield "palette.bmp", saved(palette_image(w, h, 256), "BMP")
    yield "rgb.bmp", saved(Image.fromarray(u8(w, h, 3)), "BMP")
    yield "rgba.bmp", saved(Image.fromarray(u8(w, h, 4)), "BMP")
    yield "palette4.bmp", bmp(w, h, 4, 0, rows(4), entries(16))
    yield "rgb555.bmp", bmp(w, h, 16, 0, rows(16))
    yield "rgb565.bmp", bmp(w, h, 16, 3, rows(16), masks=struct.pack("<III", 0xF800, 0x7E0, 0x1F))
    for four in (False, True):
        data = b""
        for y in range(h):
            x = 0
            while x < w:
                n = min(w - x, random.randint(1, 20))
                if n >= 3 and random.random() < 0.5:
                    raw = rng.integers(0, 256, (n + 1) // 2 if four else n).astype("u1").tobytes()
                    data += bytes([0, n]) + raw + b"\0" * (len(raw) % 2)
                else:
                    data += bytes([n, random.randint(0, 255)])
                x += n
            data += b"\0\0"
        data += b"\0\1"
        yield f"rle{4 if four else 8}.bmp", bmp(w, h, 4 if four else 8, 2 if four else 1, data, entries(16 if four else 256))


def tiff_cases():
    w, h = 39, 31
    for mode, c in [("L", 1), ("RGB", 3), ("RGBA", 4), ("CMYK", 4), ("LA", 2)]:
        for comp in {"L": ["packbits"], "RGB": ["tiff_lzw", "tiff_adobe_deflate"]}.get(mode, [None]):
            im = Image.fromarray(u8(w, h, c), mode)
            info = {317: 2} if comp in ("tiff_lzw", "tiff_adobe_deflate") else {}
            info[278] = 10
            if mode == "RGB":
                info[274] = 6
            yield f"{mode.lower()}_{comp}.tif", saved(im, "TIFF", compression=comp, tiffinfo=info)
    yield "palette.tif", saved(palette_image(w, h, 256), "TIFF")
    for comp in ("group3", "group4"):
        yield f"bilevel_{comp}.tif", saved(Image.fromarray(u8(w, h)).convert("1"), "TIFF", compression=comp)
    deep = picture(w, h, 3, 65536).astype(np.uint16)
    for name, a, kw in [
        ("gray16", deep[..., 0], dict(photometric="minisblack")),
        ("rgb16_be_tiles", deep, dict(photometric="rgb", byteorder=">", tile=(16, 16), compression="zlib", predictor=2)),
        ("rgb_planes", np.moveaxis(u8(w, h, 3), -1, 0).copy(), dict(photometric="rgb", planarconfig="separate", compression="lzw")),
        ("rgba_associated", u8(w, h, 4), dict(photometric="rgb", extrasamples=["assocalpha"])),
        ("white_is_zero", u8(w, h), dict(photometric="miniswhite")),
    ]:  # fmt: skip
        b = io.BytesIO()
        tifffile.imwrite(b, a, metadata=None, **kw)
        yield name + ".tif", b.getvalue()


def other_cases():
    w, h = 43, 30
    pal = palette_image(w, h, 100)
    yield "palette.gif", saved(pal, "GIF", interlace=1)
    yield "gray.gif", saved(Image.fromarray(u8(w, h)), "GIF")
    yield "animated.gif", saved(pal, "GIF", save_all=True, append_images=[pal.rotate(180)], transparency=7)
    grown = bytearray(saved(pal, "GIF", transparency=3))
    grown[6:10] = struct.pack("<HH", w + 6, h + 9)  # a screen larger than the frame
    yield "partial.gif", bytes(grown)
    for name, c, kw in [
        ("lossy.webp", 3, dict(quality=60)),
        ("lossy_alpha.webp", 4, dict(quality=80)),
        ("lossless.webp", 3, dict(lossless=True)),
        ("lossless_alpha.webp", 4, dict(lossless=True, exact=True)),
        ("animated.webp", 4, dict(quality=70, save_all=True, append_images=[Image.fromarray(u8(w, h, 4))])),
    ]:
        yield name, saved(Image.fromarray(u8(w, h, c)), "WEBP", **kw)
    yield "gray.jpg", saved(Image.fromarray(u8(w, h)), "JPEG")
    yield "cmyk.jpg", saved(Image.fromarray(u8(w, h, 4), "CMYK"), "JPEG")
    yield "tall.png", saved(Image.fromarray(u8(40, 160, 3)), "PNG")
    yield "wide.png", saved(Image.fromarray(u8(160, 10, 3)), "PNG")
    yield "same_size_alpha.png", saved(Image.fromarray(u8(D, D, 4)), "PNG")
    yield "one_pixel.png", saved(Image.fromarray(u8(1, 1, 4)), "PNG")


def reference(data, openai, ratio):
    """SEARLE's TargetPad, then torchvision's Resize, CenterCrop and the conversion to RGB."""
    im = Image.open(io.BytesIO(data))
    im.load()
    if not openai:
        if im.mode == "I;16":
            im = Image.fromarray((np.array(im) >> 8).astype(np.uint8))
        im = im.convert("RGB")
    w, h = im.size
    if ratio and max(w, h) / min(w, h) >= ratio:
        side = max(w, h) / ratio
        x, y = max(int((side - w) / 2), 0), max(int((side - h) / 2), 0)
        bands = len(im.getbands())
        im = ImageOps.expand(im, (x, y, x, y), fill=0 if bands == 1 else (0,) * bands)
    w, h = im.size
    long = int(D * max(w, h) / min(w, h))
    size = (D, long) if w <= h else (long, D)
    if size != im.size:
        im = im.resize(size, Image.Resampling.BICUBIC)
    left, top = int(round((size[0] - D) / 2.0)), int(round((size[1] - D) / 2.0))
    return im.crop((left, top, left + D, top + D)).convert("RGB")


# Baseline JPEG of random coefficients: Pillow's encoder knows few samplings.


def codes(counts, symbols):
    table, code, k = {}, 0, 0
    for length in range(16):
        for _ in range(counts[length]):
            table[symbols[k]] = format(code, f"0{length + 1}b")
            code, k = code + 1, k + 1
        code <<= 1
    return table


DC_COUNTS, DC_SYMBOLS = [0, 0, 0, 12] + [0] * 12, list(range(12))
AC_SYMBOLS = [0, 0xF0] + [r << 4 | s for s in range(1, 11) for r in range(16)]
AC_COUNTS = [0] * 16
AC_COUNTS[3], AC_COUNTS[7], AC_COUNTS[10] = 6, 100, len(AC_SYMBOLS) - 106
DC, AC = codes(DC_COUNTS, DC_SYMBOLS), codes(AC_COUNTS, AC_SYMBOLS)


def magnitude(v):
    n = abs(v).bit_length()
    return n, format(v if v > 0 else v + (1 << n) - 1, f"0{n}b") if n else ""


def segment(marker, b):
    return bytes([255, marker]) + struct.pack(">H", len(b) + 2) + b


def raw_jpeg(w, h, sampling, ids=(1, 2, 3, 4), adobe=None, wide=False, restart=0, interleaved=True):
    q = [random.choice([1, 4, 16, 40]) for _ in range(64)]
    hmax, vmax = max(a for a, _ in sampling), max(b for _, b in sampling)
    out = b"\xff\xd8"
    if adobe is not None:
        out += segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([adobe]))
    out += segment(0xDB, b"\x10" + struct.pack(">64H", *q) if wide else b"\0" + bytes(q))
    out += segment(0xC4, b"\x00" + bytes(DC_COUNTS) + bytes(DC_SYMBOLS)) + segment(0xC4, b"\x10" + bytes(AC_COUNTS) + bytes(AC_SYMBOLS))
    out += segment(0xC1, struct.pack(">BHHB", 8, h, w, len(sampling)) + b"".join(bytes([ids[i], a << 4 | b, 0]) for i, (a, b) in enumerate(sampling)))
    if restart:
        out += segment(0xDD, struct.pack(">H", restart))

    def block(pred, i):
        dc = random.randint(-900, 900) // q[0]
        n, m = magnitude(dc - pred[i])
        pred[i] = dc
        bits, last = DC[n] + m, 0
        for k in sorted(random.sample(range(1, 64), random.choice([0, 0, 1, 3, 10, 40]))):
            v = int(random.gauss(0, 60) / q[k] / (1 + k / 4))
            if v:
                run = k - last - 1
                bits += AC[0xF0] * (run // 16)
                n, m = magnitude(v)
                bits += AC[run % 16 << 4 | n] + m
                last = k
        return bits + (AC[0] if last < 63 else "")

    def flushed(bits):
        bits += "1" * (-len(bits) % 8)
        return bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)).replace(b"\xff", b"\xff\x00")

    def scan(comps):
        head = segment(0xDA, bytes([len(comps)]) + b"".join(bytes([ids[i], 0]) for i in comps) + b"\0\x3f\0")
        nx, ny = -(-w // (8 * hmax)), -(-h // (8 * vmax))
        if len(comps) == 1:
            a, b = sampling[comps[0]]
            nx, ny = -(-(-(-w * a // hmax)) // 8), -(-(-(-h * b // vmax)) // 8)
        bits, pred = "", [0] * 4
        for n in range(nx * ny):
            if restart and n and n % restart == 0:
                head += flushed(bits) + bytes([255, 0xD0 + (n // restart - 1) % 8])
                bits, pred = "", [0] * 4
            for i in comps:
                for _ in range(1 if len(comps) == 1 else sampling[i][0] * sampling[i][1]):
                    bits += block(pred, i)
        return head + flushed(bits)

    groups = [list(range(len(sampling)))] if interleaved else [[i] for i in range(len(sampling))]
    return out + b"".join(scan(g) for g in groups) + b"\xff\xd9"


def jpeg_cases():
    one = (1, 1)
    for name, s in {"444": (1, 1), "422": (2, 1), "420": (2, 2), "440": (1, 2), "411": (4, 1), "410": (4, 2), "441": (1, 4)}.items():
        yield f"raw_{name}", raw_jpeg(random.randint(20, 45), random.randint(20, 45), [s, one, one])
    yield "raw_luma_smaller", raw_jpeg(29, 37, [one, (2, 2), (1, 2)])
    yield "raw_gray_2x2", raw_jpeg(21, 26, [(2, 2)])
    yield "raw_rgb_ids", raw_jpeg(20, 18, [one] * 3, ids=(82, 71, 66))
    yield "raw_adobe_rgb", raw_jpeg(17, 18, [one] * 3, adobe=0)
    yield "raw_ycck", raw_jpeg(25, 22, [(2, 2), one, one, (2, 2)], adobe=2)
    yield "raw_16bit_tables", raw_jpeg(24, 16, [(2, 1), one, one], wide=True)
    yield "raw_restart_planes", raw_jpeg(33, 27, [(2, 2), one, one], restart=3, interleaved=False)
    for w, h in [(1, 1), (2, 2), (3, 3), (4, 5), (5, 1), (16, 17), (8, 33)]:
        yield f"420_{w}x{h}", saved(Image.fromarray(u8(w, h, 3)), "JPEG", quality=90, subsampling=2)
    noise = lambda w, h, c: rng.integers(0, 256, (h, w, c)).astype(np.uint8)
    yield "noise_q1", saved(Image.fromarray(noise(31, 30, 3)), "JPEG", quality=1)
    yield "noise_q100_444", saved(Image.fromarray(noise(17, 23, 3)), "JPEG", quality=100, subsampling=0)
    yield "progressive_420", saved(Image.fromarray(u8(41, 35, 3)), "JPEG", quality=95, progressive=True)
    yield "progressive_restart", saved(Image.fromarray(u8(40, 33, 3)), "JPEG", progressive=True, restart_marker_blocks=2)
    yield "progressive_gray", saved(Image.fromarray(noise(33, 19, 1)[..., 0]), "JPEG", progressive=True)
    yield "progressive_cmyk", saved(Image.fromarray(u8(20, 21, 4), "CMYK"), "JPEG", progressive=True)
    yield "restart_rows", saved(Image.fromarray(u8(50, 40, 3)), "JPEG", restart_marker_rows=1, optimize=True)


def main():
    for folder in (MODES, JPEG):
        os.makedirs(folder, exist_ok=True)
        for f in os.listdir(folder):
            if not os.path.isdir(os.path.join(folder, f)):
                os.remove(os.path.join(folder, f))
    for cases in (png_cases, bmp_cases, tiff_cases, other_cases):
        for name, data in cases():
            crops = Image.new("RGB", (4 * D, D))
            for i, (openai, ratio) in enumerate([(True, 0), (True, 1.25), (False, 0), (False, 1.25)]):
                crops.paste(reference(data, openai, ratio), (i * D, 0))
            with open(os.path.join(MODES, name), "wb") as f:
                f.write(data)
            crops.save(os.path.join(MODES, name + ".png"), optimize=True)
    for name, data in jpeg_cases():
        im = Image.open(io.BytesIO(data))
        im.load()
        if im.mode == "CMYK":
            im = Image.frombytes("RGBA", im.size, im.tobytes())
        with open(os.path.join(JPEG, name + ".jpg"), "wb") as f:
            f.write(data)
        im.save(os.path.join(JPEG, name + ".jpg.png"), optimize=True)


main()
