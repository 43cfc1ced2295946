#!/usr/bin/env python3
"""RESULTS.md from what gpu-check.sh left in a folder: report.py FOLDER. What was not measured stays blank."""
import collections, json, os, re, sys

BLANK = ""


def read(folder, name):
    try:
        with open(os.path.join(folder, name), errors="replace") as f:
            return f.read()
    except OSError:
        return ""


def lines(folder, name):
    """The JSON lines of a file, or of those that begin so."""
    out = []
    for file in sorted(f for f in os.listdir(folder) if re.fullmatch(rf"{name}(-.*)?\.jsonl", f)) if os.path.isdir(folder) else ():
        for text in read(folder, file).splitlines():
            try:
                out.append(json.loads(text))
            except ValueError:
                pass
    return out


def fields(name):
    """Embed/model=X/dtype=bf16/batch=8-16 as a dictionary."""
    kind, *rest = re.sub(r"-\d+$", "", name).removeprefix("Benchmark").split("/")
    return {"job": kind.lower()} | dict(x.split("=", 1) for x in rest if "=" in x)


def ours(folder, name):
    return [fields(r["name"]) | {"result": r} for r in lines(folder, name) if "name" in r]


def number(v):
    return BLANK if v is None else f"{v:,.0f}" if v >= 100 else f"{v:.3g}"


def ratio(a, b):
    return BLANK if not a or not b else f"{a / b:.2f}"


def table(head, rows):
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for r in rows:
        print("| " + " | ".join(r) + " |")
    print()


def tests(folder, name):
    text = read(folder, name)
    if not text:
        return BLANK
    n = collections.Counter(re.findall(r"^ *--- (PASS|FAIL|SKIP)", text, re.M))
    return f"{n['PASS']} passed, {n['FAIL']} failed, {n['SKIP']} skipped" + ("" if text.rstrip().endswith("exit 0") else ": FAILED")


def correctness(folder):
    print("## Correctness\n")
    sanitizers = [(f"compute-sanitizer, {t}", tests(folder, f"sanitize-{t}.txt") or read(folder, "sanitize.txt").strip()) for t in ("memcheck", "racecheck")]
    table(["check", "result"], [("driver", tests(folder, "driver.txt")), ("operations, searches, golden models, OTI, phi", tests(folder, "conform.txt")),
                                ("random models of true size against the CPU device", tests(folder, "parity.txt")), *sanitizers])
    parity = re.findall(r"=== RUN +TestParity/(\S+)\n +parity_test.go:\d+: (largest.*)", read(folder, "parity.txt"))
    for name, what in parity:
        print(f"- {name}: {what}")
    if parity:
        print()


def towers(folder):
    mine, theirs = ours(folder, "bench"), lines(folder, "torch-bench")

    def mean(job, model, dtype, batch, pixels):
        for r in mine:
            if (r["job"], r.get("dtype"), r.get("batch"), r.get("pixels")) == (job, dtype, str(batch), pixels) and (r.get("model", "").startswith(model)):
                return r["result"]
        return {}

    def torch(job, model, dtype, how, batch):
        for r in theirs:
            if (r["job"], r["model"], r["dtype"], r["how"], r["batch"]) == (job, model, dtype, how, batch):
                return r["rate"]
        return None

    for job, unit, batches, target, title in (
            ("embed", "images/s", (1, 8, 32, 256), "1.3", "Images a second, pixels on the device already"),
            ("text", "captions/s", (1, 8, 64), "6", "Captions a second, from token ids on the host to features on the host; PyTorch's are on the device, padded to 77 tokens")):
        print(f"## {title}\n")
        rows = []
        for model in ("vit-b-32", "vit-l-14"):
            for dtype in ("bf16", "f16", "f32") if job == "embed" else ("bf16",):
                for batch in batches:
                    r = mean(job, model, dtype, batch, "device" if job == "embed" else None)
                    copied = [number(mean(job, model, dtype, batch, None).get(unit))] if job == "embed" else []
                    eager, graphs = torch(job, model, dtype, "eager", batch), torch(job, model, dtype, "compiled", batch)
                    best = max(filter(None, (eager, graphs)), default=None)
                    rows.append((f"{model}, {dtype}, batch {batch}", number(r.get(unit)), number(r.get("%peak")), number(eager), number(graphs),
                                 ratio(r.get(unit), best), target if dtype == "bf16" else BLANK, *copied))
        table(["", f"isearle, {unit}", "% of the peak", "PyTorch eager", "torch.compile, CUDA graphs", "ratio", "target"]
              + ["isearle, pixels from the host, features back"] * (job == "embed"), rows)


def searches(folder):
    print("## Exact search, the gallery on the device, queries from the host and hits back\n")
    mine, theirs = ours(folder, "search"), lines(folder, "torch-search")
    rows = []
    for n, dtype, passes, k, batches in ((10_000_000, "f16", "1", 50, (1, 8, 64, 1024)), (1_000_000, "f32", "1", 50, (1, 8)), (1_000_000, "f32", "2", 50, (1, 8)),
                                         (1_000_000, "f16", "1", 2048, (1, 64))):
        for batch in batches:
            r = next((x["result"] for x in mine if (x.get("rows"), x.get("dtype"), x.get("passes"), x.get("k"), x.get("batch")) == (str(n), dtype, passes, str(k), str(batch))), {})
            t = next((x["rate"] for x in theirs if (x["rows"], x["dtype"], x["k"], x["batch"]) == (n, dtype, k, batch)), None)
            target = BLANK
            if n == 10_000_000:
                target = "85 % of the bandwidth" if batch <= 64 else "60 % of the bf16 peak"
            two = ", two passes" if passes == "2" else ""
            rows.append((f"{n:,} x 512 {dtype}, k {k}, batch {batch}{two}", number(r.get("queries/s")), number(r.get("GB/s")), number(r.get("%bandwidth")), number(t),
                         ratio(r.get("queries/s"), t), target))
    table(["", "isearle, queries/s", "GB/s", "% of the copies' bandwidth", "torch.topk", "ratio", "target"], rows)


def inversion(folder):
    print("## OTI, a gradient step of ViT-B/32, and SEARLE's own loop in PyTorch, of 32 images as its default\n")
    mine, theirs = ours(folder, "oti"), lines(folder, "torch-oti")
    rows = []
    for dtype, peers in (("f32", ("f32",)), ("bf16", ("f16", "bf16"))):
        own = [(x["dtype"], x["rate"] * x["batch"]) for x in theirs if x["dtype"] in peers and x["batch"] == 32]
        best = max(own, key=lambda x: x[1], default=("", None))
        for batch in (32, 1024):
            r = next((x["result"] for x in mine if (x.get("dtype"), x.get("batch")) == (dtype, str(batch))), {})
            rate = r["steps/s"] * batch if "steps/s" in r else None
            rows.append((f"{dtype}, {batch} images", number(r.get("steps/s")), number(rate), number(best[1]) + (f" ({best[0]})" if best[1] else BLANK), ratio(rate, best[1]),
                         "35" if batch == 1024 else BLANK))
    table(["", "steps/s", "images x steps/s", "PyTorch, images x steps/s", "ratio", "target"], rows)


def main(folder):
    print("# Results on a chip\n")
    told = re.search(r"^device +(.*)", read(folder, "device.txt"), re.M)
    if told:
        print(f"{told[1]}. {' '.join(read(folder, 'smi.txt').splitlines()[1:])}\n")
    else:
        print("""Nothing was measured on a chip: no GPU was at hand when these kernels were written. `make gpu-check` gives a bundle that fills
this page in on a machine that has one; the figures are blank until then.
""")
    print("""What the emulated driver shows without a chip (`make test-cuda`): every operation of the conformance table, the search's cases,
the golden CLIP models (features within 1e-5 of the CPU device's), OTI, phi's training, with no race, no access out of bounds and no
read of what was never written; a run is one graph launch and allocates no device memory. It says nothing about speed, the PTX
of ptx.cuh, ptxas's output beyond its counts of registers and spills (manifest.json), fences or bank conflicts.
""")
    correctness(folder)
    towers(folder)
    searches(folder)
    inversion(folder)
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        if m := re.fullmatch(r"profile-(.*)\.txt", name):
            print(f"## Profile, {m[1]}\n\n```\n{read(folder, name).strip()}\n```\n")
    if text := read(folder, "failures.txt").strip():
        print(f"## What did not run\n\n```\n{text}\n```\n")


main(sys.argv[1])
