#!/usr/bin/env python3
"""isearle beside its peers: each row of the table is one job, done by isearle and by each peer in turns, on the same inputs with as
many threads, in this one run.

    make bench-peers [ROWS=b32,text] [QUICK=1] [PEERS=DIR]

DIR (.peers) gets a virtual environment with the peers, and models of random weights in their formats; a development tool only. A
ratio is that of two measurements which followed each other; its median and range over the rounds stand in the table. Processes that
wait for their turn sleep. `others` is the largest share of the machine that processes of neither side took in any measurement:
rows where it is large should be measured again. Rows measured before stay in the table until they are measured again.
"""
import argparse, contextlib, dataclasses, fcntl, json, os, statistics, subprocess, sys, time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(HERE, *[".."] * 5))
SECTIONS = ["b32", "l14", "bf16", "int8", "text", "topk_100k", "topk_1m", "oti", "preprocess", "startup", "accuracy"]
TITLES = dict(b32="Images, ViT-B/32, f32", l14="Images, ViT-L/14, f32", bf16="Images, ViT-B/32, bf16", int8="Images, ViT-B/32, int8",
              text="Captions (64 real ones, ViT-B/32's text tower, f32)", topk_100k="Exact 10 best of 100,000 x 512",
              topk_1m="Exact 10 best of 1,000,000 x 512", oti="Textual inversion, a step for 32 images, f32",
              preprocess="64 JPEGs near 500 x 400 to pixels, one thread", startup="Process start to the first ViT-B/32 image feature")


@dataclasses.dataclass
class Row:
    section: str
    name: str
    ours: list      # arguments of isearle bench
    unit: str
    peers: dict     # name -> (job, case)
    threads: int = 2
    target: float = 0
    slow: tuple = ()    # peers left out of a quick run
    inexact: tuple = ()  # peers that are shown but not the best: their answers are not the same


def rows(data, quick):
    """The rows of issue and table, in order."""
    out = []
    b32 = ["-m", f"{data}/clip_b32"]

    def images(section, batches, threads, target, shape, peers, slow=(), extra=(), inexact=()):
        for t in threads:
            for b in batches:
                out.append(Row(section, f"batch {b}", ["embed", *shape, "--batch", str(b), *extra], "images/s",
                               {p: (f"{p}:{'l14' if section == 'l14' else 'b32'}", dict(batch=b)) for p in peers}, t, target, slow, inexact))
    images("b32", (1, 8, 32), (2, 1), 1.05, b32, ("ort_f32", "ort_f32opt", "openvino_f32", "torch_f32", "torch_compile_f32"), ("ort_f32", "torch_compile_f32"))
    images("l14", (1, 4), (2,) if quick else (2, 1), 1.15, ["--shape", "vit-l-14"], ("openvino_f32", "ort_f32", "torch_f32"), ("torch_f32",))
    images("bf16", (1, 8, 32), (2,) if quick else (2, 1), 1.0, b32, ("openvino_bf16", "torch_bf16", "torch_compile_bf16"), ("torch_compile_bf16",),
           ("--dtype", "bf16"))
    images("int8", (1, 8, 32), (2,) if quick else (2, 1), 1.0, b32, ("ort_int8", "openvino_int8", "openvino_int8bf16"), (), ("--dtype", "int8"),
           ("openvino_int8", "openvino_int8bf16"))
    for how, label, target, batch in (("padded", "peers pad to 77", 4, 64), ("one", "one by one, true lengths", 1.4, 1), ("buckets", "peers bucket by length", 1, 64)):
        out.append(Row("text", label, ["text", *b32, "--captions", f"{HERE}/captions.txt", "--batch", str(batch)], "captions/s",
                       {p: (f"{p}:text", dict(how=how)) for p in ("ort_f32", "ort_f32opt", "openvino_f32", "torch_f32")}, 2, target, ("ort_f32",)))
    for db in ("100k", "1m"):
        for b, one, two in ((1, 1.0, 3.0), (32, 2.3, 2.3), (256, 1.05, 2.5)):
            peers = {f"faiss_{m}": (f"faiss:{db}", dict(batch=b, mode=m)) for m in ("1thread", "default", "blas")}
            peers |= {p: (f"{p}:{db}", dict(batch=b)) for p in ("usearch", "torch_f32_topk", "torch_bf16_topk")}
            slow = {1: (), 32: ("faiss_1thread", "usearch", "faiss_default"), 256: ("faiss_1thread", "usearch", "faiss_default")}[b]
            for passes, target in ((1, one), (2, two)):
                out.append(Row(f"topk_{db}", f"batch {b}, " + ("one pass", "two passes")[passes - 1],
                               ["search", "--rows-from", f"{data}/db_{db}.npy", "--batch", str(b), "--top", "10", "--passes", str(passes)],
                               "queries/s", peers, 2, target, slow, ("torch_bf16_topk",)))
    for peer, label, target in (("oti_official", "against the official loop", 30), ("oti_frozen16", "against a frozen tower, 16 tokens", 3)):
        out.append(Row("oti", label, ["oti", *b32, "--batch", "32"], "steps/s", {peer: (peer, {})}, 2, target))
    out.append(Row("preprocess", "pad, resize, crop, normalise", ["preprocess", "--images", f"{data}/jpeg"], "images/s",
                   {"pil": ("pil", {}), "torchvision": ("torchvision", {})}, 1, 1.0, (), ("torchvision",)))
    return out


# ---------------------------------------------------------------- processes

def machine():
    """Seconds for which the machine's CPUs were busy since it started."""
    v = [int(x) for x in open("/proc/stat").readline().split()[1:9]]
    return (sum(v) - v[3] - v[4]) / os.sysconf("SC_CLK_TCK")


class Side:
    """A process that measures when it is told to."""
    def __init__(self, args, env=None):
        self.p = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE if env is None else None, text=True, env=env)
        self.others = 0.0

    def cpu(self):
        v = open(f"/proc/{self.p.pid}/stat").read().rsplit(")", 1)[1].split()
        return sum(map(int, v[11:15])) / os.sysconf("SC_CLK_TCK")

    def ask(self, line):
        m, c, t = machine(), self.cpu(), time.perf_counter()
        self.p.stdin.write(line + "\n")
        self.p.stdin.flush()
        answer = self.p.stdout.readline()
        if not answer:
            raise RuntimeError(f"{' '.join(self.p.args[:4])}: ended: {self.p.stderr.read()[-500:] if self.p.stderr else self.p.wait()}")
        wall = time.perf_counter() - t
        if wall > 0.05:
            self.others = max(0.0, (machine() - m) - (self.cpu() - c)) / (wall * os.cpu_count())
        return json.loads(answer)

    def close(self):
        self.p.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.p.wait(20)
        self.p.kill()
        self.p.wait()


class Isearle(Side):
    def __init__(self, o, row):
        super().__init__([o.isearle, "bench", *row.ours, "-j", str(row.threads), "--json", "--turns", "--count", "1000000", "--time", f"{o.time}s"])
        self.unit = row.unit
        self.header = self.p.stdout.readline()
        if not self.header:
            raise RuntimeError(f"isearle bench {' '.join(row.ours)}: {self.p.stderr.read().strip()}")

    def measure(self):
        r = self.ask("")
        return r[self.unit], r


class Peer(Side):
    def __init__(self, o, job, threads):
        env = dict(os.environ, TOKENIZERS_PARALLELISM="false", HF_HUB_DISABLE_PROGRESS_BARS="1", TORCHINDUCTOR_CACHE_DIR=f"{o.peers}/inductor")
        for v in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            env[v] = str(threads)
        super().__init__([o.python, "-W", "ignore", f"{HERE}/jobs.py", job, str(threads), o.data], env)

    def measure(self, case, seconds):
        r = self.ask(json.dumps(dict(case=case, time=seconds)))
        return r["rate"], r


# ---------------------------------------------------------------- measuring

def alternate(o, row, peers):
    """Rounds in which each side measures once; the first warms up and is thrown away."""
    sides = {n: p for n, p in row.peers.items() if not (o.quick and n in row.slow)}
    ours = Isearle(o, row)
    try:
        got, others, extra = {n: [] for n in ["isearle", *sides]}, 0.0, []
        for i in range(o.rounds + 1):
            order = ["isearle", *sides]
            order = order[i % len(order):] + order[:i % len(order)]
            for n in order:
                if n == "isearle":
                    side, (rate, r) = ours, ours.measure()
                elif n not in sides:
                    continue
                else:
                    job, case = sides[n]
                    try:
                        side = peers(job, row.threads)
                        rate, r = side.measure(case, o.time if i else 0)
                    except (RuntimeError, OSError) as e:  # the others go on
                        print(f"{row.section} {row.name}: {n} is left out: {e}", file=sys.stderr)
                        del sides[n], got[n]
                        continue
                if i:
                    got[n].append(rate)
                    others = max(others, side.others)
                    if n == "isearle":
                        extra.append(r)
                time.sleep(0.05)  # what spins before it sleeps has slept by then
        if not sides:
            raise RuntimeError("no peer is left")
        return got, others, extra
    finally:
        ours.close()


def measure(o, row, peers):
    got, others, extra = alternate(o, row, peers)
    r = dict(section=row.section, name=row.name, threads=row.threads, unit=row.unit, target=row.target, others=round(others, 3), rates=got,
             ratios={n: [a / b for a, b in zip(got["isearle"], got[n])] for n in got if n != "isearle"}, inexact=list(row.inexact),
             date=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()))
    for unit in ("%peak", "%bandwidth"):
        values = [x[unit] for x in extra if unit in x]
        if values:
            r[unit] = statistics.median(values)
    return r


def startup(o):
    """Processes from their start to their end, the page cache warm; and their largest resident sets."""
    sys.path.insert(0, HERE)
    import jobs
    image = sorted(os.listdir(f"{o.data}/jpeg"))[0]
    ours = [o.isearle, "embed", "--quiet", "-m", f"{o.data}/clip_b32", "-j", "2"]
    sides = {"isearle": [*ours, f"{o.data}/jpeg/{image}"], "isearle bf16": [*ours, "--precision", "bf16", f"{o.data}/jpeg/{image}"]}
    for n, code in jobs.STARTS.items():
        sides[n] = [o.python, "-c", f"T, D = 2, {o.data!r}\n" + code]
    times, sizes = {n: [] for n in sides}, {n: [] for n in sides}
    for i in range(o.rounds + 1):
        for n in list(sides):
            t = time.perf_counter()
            p = subprocess.Popen(sides[n], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            said = p.stderr.read()
            _, status, usage = os.wait4(p.pid, 0)
            p.returncode = status
            if status:
                print(f"startup of {n}: {said.decode()[-300:]}", file=sys.stderr)
                del sides[n]
            elif i:
                times[n].append(time.perf_counter() - t)
                sizes[n].append(usage.ru_maxrss / 1024)
    m = {n: statistics.median(v) for n, v in times.items() if v}
    return dict(section="startup", date=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), times={n: times[n] for n in m},
                sizes={n: statistics.median(sizes[n]) for n in m},
                ratios={n: [b / a for a, b in zip(times["isearle"], times[n])] for n in m if not n.startswith("isearle")})


def accuracy(o):
    """What int8 and bf16 lose on the model inside the program, which is trained, and its 1,863 pictures."""
    world = f"{o.data}/world/circo/COCO2017_unlabeled/unlabeled2017"
    made = f"{o.data}/features"
    os.makedirs(made, exist_ok=True)
    for k in ("f32", "bf16", "int8"):
        p = subprocess.run([o.isearle, "embed", "--quiet", "--restart", "--raw", "--precision", k, "-o", f"{made}/{k}.npy", world], capture_output=True, text=True)
        if p.returncode:
            print(f"accuracy of {k}: {p.stderr.strip()}", file=sys.stderr)
            with contextlib.suppress(FileNotFoundError):
                os.remove(f"{made}/{k}.npy")
    out = subprocess.run([o.python, "-W", "ignore", f"{HERE}/jobs.py", "lost", made, "demo", "64", world, o.data], stdout=subprocess.PIPE, text=True, check=True).stdout
    return dict(section="accuracy", date=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), lost=json.loads(out))


# ---------------------------------------------------------------- the table

def number(v):
    return f"{v:.0f}" if v >= 100 else f"{v:.3g}"


def span(v):
    return f"{statistics.median(v):.2f} ({min(v):.2f} to {max(v):.2f})"


def table(results):
    out = []
    for section in SECTIONS:
        mine = [r for r in results.values() if r["section"] == section]
        if section == "startup" and mine:
            out += startup_table(mine[0])
        elif section == "accuracy" and mine:
            out += accuracy_table(mine[0])
        elif mine:
            out += [f"\n### {TITLES[section]}\n", "| | threads | isearle | % of roof | best peer | ratio (range) | wanted | other peers | others |", "|---|---|---|---|---|---|---|---|---|"]
            out += [line(r) for r in mine]
    return "\n".join(out) + "\n"


def line(r):
    med = {n: statistics.median(v) for n, v in r["rates"].items()}
    exact = [n for n in r["ratios"] if n not in r["inexact"]] or list(r["ratios"])
    best = max(exact, key=med.get)
    ratio = r["ratios"][best]
    roof = f"{r['%peak']:.0f} % FMA" if r.get("%peak", 0) >= r.get("%bandwidth", 0) and "%peak" in r else f"{r['%bandwidth']:.0f} % memory" if "%bandwidth" in r else ""
    rest = ", ".join(f"{n} {number(med[n])} ({statistics.median(r['ratios'][n]):.2f})" + (" inexact" if n in r["inexact"] else "")
                     for n in sorted(r["ratios"], key=med.get, reverse=True) if n != best)
    mark = "" if statistics.median(ratio) >= r["target"] else " **short**"
    return (f"| {r['name']} | {r['threads']} | {number(med['isearle'])} {r['unit']} | {roof} | {best} {number(med[best])} | {span(ratio)}{mark} "
            f"| {r['target']:g} | {rest} | {100 * r['others']:.0f} % |")


def startup_table(r):
    out = [f"\n### {TITLES['startup']}\n", "| | s | largest resident set | isearle is faster by (range) | wanted |", "|---|---|---|---|---|"]
    wanted = dict(transformers="20", onnxruntime="4", openvino="4")
    for n, v in r["times"].items():
        ratio = span(r["ratios"][n]) if n in r["ratios"] else ""
        limit = {"isearle": "under 500 MiB", "isearle bf16": "under 300 MiB"}.get(n, wanted.get(n, ""))
        out.append(f"| {n} | {statistics.median(v):.3f} | {r['sizes'][n]:.0f} MiB | {ratio} | {limit} |")
    return out


def accuracy_table(r):
    out = ["\n### What low precision loses: the model inside the program, its 1,863 pictures, each library against its own f32\n",
           "| | mean cosine | worst cosine | same nearest picture | of the 10 nearest kept |", "|---|---|---|---|---|"]
    return out + [f"| {n} | {x['cosine']:.6f} | {x['worst']:.6f} | {100 * x['first']:.1f} % | {100 * x['kept']:.1f} % |" for n, x in r["lost"].items()]


def report(o, results):
    cpu = next((l.split(":", 1)[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), "unknown")
    versions = ", ".join(l.strip().replace("==", " ") for l in open(f"{HERE}/requirements.txt") if not l.startswith(("scikit", "zstd", "clip-", "onnxscript")))
    version = subprocess.run([o.isearle, "version"], capture_output=True, text=True).stdout.split("\n")[0]
    dates = sorted(r["date"] for r in results.values())
    text = f"""# isearle beside its peers

{cpu}, {os.cpu_count()} processors; {dates[0]} to {dates[-1]}; {version}; {versions}.

Made by `make bench-peers` (cmd/isearle/internal/bench/peers): every side does the same job on the same inputs with as many threads, in
turns within one run; medians, the ratio to the best peer with its range over the rounds, and ratios to the others in brackets. "% of
roof" is the share of the multiply-adds (or memory bandwidth) measured before and behind each of isearle's measurements. "others" is the
most that other processes took of the machine during any measurement of the row.
{table(results)}"""
    tmp = o.output + ".partial"
    with open(tmp, "w") as f:
        f.write(text)
    os.replace(tmp, o.output)


# ---------------------------------------------------------------- main

def install(o):
    """The virtual environment with the peers, as requirements.txt names them."""
    stamp, wanted = f"{o.peers}/venv/requirements.txt", open(f"{HERE}/requirements.txt").read()
    if os.path.exists(stamp) and open(stamp).read() == wanted:
        return
    os.makedirs(o.peers, exist_ok=True)
    if not os.path.exists(o.python):
        subprocess.run([sys.executable, "-m", "venv", f"{o.peers}/venv"], check=True)
    subprocess.run([o.python, "-m", "pip", "install", "-r", f"{HERE}/requirements.txt"], check=True)
    with open(stamp, "w") as f:
        f.write(wanted)


def prepare(o, wanted):
    os.makedirs(o.data, exist_ok=True)
    if "text" in wanted:
        with open(f"{o.data}/captions.jsonl", "w") as f:
            subprocess.run([o.isearle, "tokenize", "--rules", "openai", f"{HERE}/captions.txt"], stdout=f, check=True)
    if "accuracy" in wanted and not os.path.exists(f"{o.data}/demo/model.safetensors"):
        subprocess.run([o.isearle, "demo", "--export", f"{o.data}/world"], check=True)
        os.makedirs(f"{o.data}/demo", exist_ok=True)
        subprocess.run([o.python, "-c", "import zstandard, sys; zstandard.ZstdDecompressor().copy_stream(open(sys.argv[1], 'rb'), open(sys.argv[2], 'wb'))",
                        f"{ROOT}/weights/demo/model/model.safetensors.zst", f"{o.data}/demo/model.safetensors"], check=True)
        subprocess.run(["cp", f"{ROOT}/weights/demo/model/config.json", f"{o.data}/demo/"], check=True)
    subprocess.run([o.python, "-W", "ignore", f"{HERE}/jobs.py", "prepare", o.data, ",".join(wanted)], check=True)


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--rows", default="", help="sections: " + ",".join(SECTIONS) + "; b32:8 is only the rows that hold 8")
    a.add_argument("--quick", action="store_true", help="fewer and shorter rounds, without peers known to be slow")
    a.add_argument("--rounds", type=int, default=0)
    a.add_argument("--time", type=float, default=0, help="seconds of a measurement")
    a.add_argument("--peers", default=os.environ.get("PEERS") or f"{ROOT}/.peers")
    a.add_argument("--isearle", default=f"{ROOT}/bin/isearle")
    a.add_argument("--output", default=f"{ROOT}/BENCHMARKS.md")
    a.add_argument("--lock", default="", help="a file that is locked, as flock does, during each row")
    o = a.parse_args()
    o.rounds, o.time = o.rounds or (3 if o.quick else 7), o.time or (0.5 if o.quick else 1.0)
    o.data, o.python = f"{o.peers}/data", f"{o.peers}/venv/bin/python"
    chosen = [(s, word) for s, _, word in (x.partition(":") for x in (o.rows.split(",") if o.rows else SECTIONS))]
    chosen = [(s, w) for x, w in chosen for s in SECTIONS if s == x or s.startswith(x + "_")]
    wanted = {s for s, _ in chosen}
    if not wanted:
        a.error(f"--rows {o.rows}: no such section; there are {', '.join(SECTIONS)}")
    install(o)
    prepare(o, wanted)
    # Two virtual processors may take seconds of load until each has a core of its own.
    subprocess.run([o.isearle, "bench", "embed", "--batch", "8", "--time", "3s"], stdout=subprocess.DEVNULL, check=True)
    store = f"{o.peers}/results.json"
    results = json.load(open(store)) if os.path.exists(store) else {}
    lock = open(o.lock, "a") if o.lock else None

    def keep(key, work):
        if lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
        start = time.time()
        try:
            results[key] = work()
        except Exception as e:
            print(f"{key}: {e}", file=sys.stderr)
            return
        finally:
            if lock:
                fcntl.flock(lock, fcntl.LOCK_UN)
        with open(store + ".partial", "w") as f:
            json.dump(results, f)
        os.replace(store + ".partial", store)
        report(o, results)
        r = results[key]
        print(f"{time.time() - start:5.0f} s  {key}: " + (line(r) if "rates" in r else json.dumps({k: v for k, v in r.items() if k in ("times", "sizes", "lost")})), flush=True)

    for section in SECTIONS:
        running = {}

        def peer(job, threads):
            if (job, threads) not in running:
                running[job, threads] = Peer(o, job, threads)
            return running[job, threads]
        words = [w for s, w in chosen if s == section]
        for row in rows(o.data, o.quick):
            if row.section == section and any(not w or w in row.name for w in words):
                keep(f"{section} {row.name} {row.threads}", lambda: measure(o, row, peer))
                for key in [k for k in running if k[1] != row.threads]:
                    running.pop(key).close()
        for p in running.values():
            p.close()
        if section in wanted and section in ("startup", "accuracy"):
            keep(section, lambda: startup(o) if section == "startup" else accuracy(o))


if __name__ == "__main__":
    main()
