#!/usr/bin/env python3
"""PyTorch at the jobs that gpu-check.sh measures isearle at: peers.py SHAPE|search|oti FILE [--quick]. FILE gets a JSON line for each.

Towers are CLIP's, of random weights, as PyTorch users run them: eager, and compiled with CUDA graphs (mode "reduce-overhead").
Times are the median of calls between CUDA events, everything on the device already.
"""
import json, statistics, sys, time

try:
    import torch
    import torch.nn.functional as F
except ImportError:
    print("PyTorch is not installed: nothing to compare with")
    sys.exit(0)

SHAPES = {"vit-b-32": (224, 32, 768, 12, 12, 512), "vit-l-14": (224, 14, 1024, 24, 16, 768), "tiny": (32, 16, 64, 2, 2, 32)}
TEXTS = {"vit-b-32": (512, 12, 8, 512), "vit-l-14": (768, 12, 12, 768), "tiny": (64, 2, 2, 32)}
GPU = torch.cuda.is_available()
DEVICE = "cuda" if GPU else "cpu"
TYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


class Block(torch.nn.Module):
    def __init__(self, width, heads, causal):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.ln1, self.ln2 = torch.nn.LayerNorm(width), torch.nn.LayerNorm(width)
        self.qkv, self.out = torch.nn.Linear(width, 3 * width), torch.nn.Linear(width, width)
        self.fc1, self.fc2 = torch.nn.Linear(width, 4 * width), torch.nn.Linear(4 * width, width)

    def forward(self, x):
        n, l, w = x.shape
        q, k, v = self.qkv(self.ln1(x)).view(n, l, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v, is_causal=self.causal).transpose(1, 2).reshape(n, l, w))
        h = self.fc1(self.ln2(x))
        return x + self.fc2(h * torch.sigmoid(1.702 * h))


class Vision(torch.nn.Module):
    def __init__(self, size, patch, width, layers, heads, dim):
        super().__init__()
        self.patch = torch.nn.Conv2d(3, width, patch, patch, bias=False)
        self.cls = torch.nn.Parameter(torch.zeros(width))
        self.pos = torch.nn.Parameter(torch.zeros(1 + (size // patch) ** 2, width))
        self.pre, self.post = torch.nn.LayerNorm(width), torch.nn.LayerNorm(width)
        self.blocks = torch.nn.Sequential(*[Block(width, heads, False) for _ in range(layers)])
        self.proj = torch.nn.Linear(width, dim, bias=False)

    def forward(self, pixels):
        x = self.patch(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], 1, -1), x], 1) + self.pos
        return self.proj(self.post(self.blocks(self.pre(x))[:, 0]))


class Text(torch.nn.Module):
    def __init__(self, width, layers, heads, dim):
        super().__init__()
        self.tokens = torch.nn.Embedding(49408, width)
        self.pos = torch.nn.Parameter(torch.zeros(77, width))
        self.blocks = torch.nn.Sequential(*[Block(width, heads, True) for _ in range(layers)])
        self.final, self.proj = torch.nn.LayerNorm(width), torch.nn.Linear(width, dim, bias=False)

    def forward(self, ids, pseudo=None, at=None):
        x = self.tokens(ids)
        if pseudo is not None:
            x = x.index_put((torch.arange(x.shape[0], device=x.device), at), pseudo.to(x.dtype))
        x = self.final(self.blocks(x + self.pos))
        return self.proj(x[torch.arange(x.shape[0], device=x.device), ids.argmax(-1)])


def measure(call, seconds):
    """Seconds of a call, the median."""
    for _ in range(3):
        call()
    times, began = [], time.perf_counter()
    while not times or time.perf_counter() - began < seconds:
        if GPU:
            a, b = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            a.record()
            call()
            b.record()
            b.synchronize()
            times.append(a.elapsed_time(b) / 1e3)
        else:
            t = time.perf_counter()
            call()
            times.append(time.perf_counter() - t)
    return statistics.median(times)


def towers(shape, out, quick):
    # Compiling takes half a minute for each batch, so it is done for the type that is compared.
    for dtype, how in [("f32", "eager")] if quick else [("bf16", "eager"), ("f16", "eager"), ("f32", "eager"), ("bf16", "compiled")]:
        with torch.inference_mode():
            vision = Vision(*SHAPES[shape]).to(DEVICE, TYPES[dtype]).eval()
            text = Text(*TEXTS[shape]).to(DEVICE, TYPES[dtype]).eval()
            if how == "compiled":
                vision, text = (torch.compile(m, mode="reduce-overhead", dynamic=False) for m in (vision, text))
            size = SHAPES[shape][0]
            for batch in [1, 2] if quick else [1, 8, 32, 256]:
                x = torch.randn(batch, 3, size, size, device=DEVICE, dtype=TYPES[dtype])
                line(out, job="embed", model=shape, dtype=dtype, how=how, batch=batch, rate=batch / measure(lambda: vision(x), 0.1 if quick else 2))
            for batch in [2] if quick else [1, 8, 64]:
                ids = torch.randint(1, 49000, (batch, 77), device=DEVICE)
                line(out, job="text", model=shape, dtype=dtype, how=how, batch=batch, rate=batch / measure(lambda: text(ids), 0.1 if quick else 2))


def best(q, db, k, at_once=1 << 29):
    """topk of the products, in pieces of the gallery where all scores would not fit."""
    step = max(k, at_once // q.shape[0])
    if step >= db.shape[0]:
        return torch.topk(q @ db.T, k)
    scores, rows = [], []
    for lo in range(0, db.shape[0], step):
        part = q @ db[lo:lo + step].T
        s, r = torch.topk(part, min(k, part.shape[1]))
        scores.append(s)
        rows.append(r + lo)
    s, i = torch.topk(torch.cat(scores, 1), k)
    return s, torch.cat(rows, 1).gather(1, i)


def search(out, quick):
    rows = 5000 if quick else 10_000_000
    for dtype, n, batches, k in [("f16", rows, [1, 9] if quick else [1, 8, 64, 1024], 50), ("f32", rows // 10, [1, 8], 50), ("f16", rows // 10, [1, 64], 400 if quick else 2048)]:
        if not GPU and dtype == "f16":
            dtype = "f32"
        with torch.inference_mode():
            db = F.normalize(torch.randn(n, 512, device=DEVICE, dtype=TYPES[dtype]))
            for batch in batches:
                q = F.normalize(torch.randn(batch, 512, device=DEVICE, dtype=TYPES[dtype]))
                line(out, job="search", rows=n, dtype=dtype, k=k, batch=batch, rate=batch / measure(lambda: best(q, db, min(k, n)), 0.1 if quick else 2))
            del db


def oti(out, quick):
    """A step of SEARLE's own loop: three forward and three full backward passes over 77 tokens, the text tower's weights keeping their
    gradients; in f32, and as autocast computes it, the loss scaled for f16."""
    shape = "tiny" if quick else "vit-b-32"
    for dtype in ["f32"] if quick else ["f32", "f16", "bf16"]:
        for batch in [2] if quick else [32, 256]:
            torch.manual_seed(0)
            text = Text(*TEXTS[shape]).to(DEVICE)
            width, dim = TEXTS[shape][0], TEXTS[shape][3]
            ids = torch.zeros(3, batch, 77, dtype=torch.long, device=DEVICE)
            ids[:, :, :15] = torch.randint(300, 40000, (3, batch, 15), device=DEVICE)
            ids[:, :, 14] = 49407
            at = torch.full((batch,), 5, device=DEVICE)
            images = torch.randn(batch, dim, device=DEVICE)
            token = torch.nn.Parameter(torch.randn(batch, width, device=DEVICE) * 0.02)
            adam = torch.optim.AdamW([token], lr=2e-2, weight_decay=0.01)
            scaler = torch.amp.GradScaler(DEVICE, enabled=dtype == "f16")
            loss, one, average = torch.nn.CosineEmbeddingLoss(), torch.ones(1, device=DEVICE), [token.detach().clone()]

            def step():
                adam.zero_grad()
                with torch.autocast(DEVICE, TYPES[dtype], enabled=dtype != "f32"):
                    a, plain, b = text(ids[0], token, at), text(ids[1]), text(ids[2], token, at)
                    total = (loss(a.float(), images, one) + 0.5 * loss(b.float(), plain.float(), one)) / 1.5
                scaler.scale(total).backward()
                scaler.step(adam)
                scaler.update()
                average[0] = 0.99 * average[0] + 0.01 * token.detach()

            line(out, job="oti", model=shape, dtype=dtype, batch=batch, rate=1 / measure(step, 0.1 if quick else 2))


def line(out, **what):
    out.write(json.dumps(what) + "\n")
    out.flush()
    print(what, flush=True)


if __name__ == "__main__":
    print("PyTorch", torch.__version__, torch.cuda.get_device_name() if GPU else "on the CPU")
    if not GPU and "--quick" not in sys.argv:
        sys.exit("PyTorch finds no GPU")
    torch.backends.cuda.matmul.allow_tf32 = False
    with open(sys.argv[2], "w") as f:
        if sys.argv[1] in ("search", "oti"):
            {"search": search, "oti": oti}[sys.argv[1]](f, "--quick" in sys.argv)
        else:
            towers(sys.argv[1], f, "--quick" in sys.argv)
