"""The peers of isearle, each doing one job when it is told to.

    jobs.py JOB THREADS DATA

reads lines {"case": ..., "time": seconds} and writes for each {"rate": items a second, "calls": n}: the mean over so many seconds,
after one call to warm up when a case is new. `prepare` makes the models, galleries and pictures that all sides share.
"""
import json, os, sys, time, types

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
JOBS = {}


def job(*names):
    def register(f):
        for n in names:
            JOBS[n] = f
        return f
    return register


# ---------------------------------------------------------------- encoders

VISION = {"b32": dict(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, patch_size=32, projection_dim=512),
          "l14": dict(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, patch_size=14, projection_dim=768)}


class OneTensor:
    """A transformers model that takes one tensor and gives one."""
    def __new__(cls, m, name):
        import torch

        class Module(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.m = m

            def forward(self, x):
                return self.m(input_ids=x).text_embeds if name == "text" else self.m(pixel_values=x).image_embeds
        return Module().eval()


def torch_model(name, data, attention="sdpa"):
    import torch, transformers as tf
    tf.logging.set_verbosity_error()
    if name == "l14":
        torch.manual_seed(0)
        v = VISION[name]
        c = tf.CLIPVisionConfig(**v, intermediate_size=4 * v["hidden_size"], image_size=224, attn_implementation=attention)
        return OneTensor(tf.CLIPVisionModelWithProjection(c), name)
    kind = tf.CLIPTextModelWithProjection if name == "text" else tf.CLIPVisionModelWithProjection
    return OneTensor(kind.from_pretrained(f"{data}/{'demo' if name == 'demo' else 'clip_b32'}", attn_implementation=attention).float(), name)


def texts(data):
    """The captions' ids by isearle's tokeniser, without padding."""
    return [json.loads(l) for l in open(f"{data}/captions.jsonl")]


def inputs(model, case, data):
    """What a case's call encodes: a list of arrays, each for one run of the model; and how many items these are."""
    import numpy as np
    if model != "text":
        return [np.random.default_rng(1).standard_normal((case["batch"], 3, 224, 224), dtype="f")], case["batch"]
    ids, how = texts(data), case["how"]
    if how == "one":
        return [np.array([t]) for t in ids], len(ids)
    if how == "buckets":
        by = {}
        for t in ids:
            by.setdefault(len(t), []).append(t)
        return [np.array(b) for _, b in sorted(by.items())], len(ids)
    padded = np.zeros((len(ids), 77), dtype=np.int64)
    for i, t in enumerate(ids):
        padded[i, :len(t)] = t
    return [padded], len(ids)


@job("torch_f32", "torch_bf16", "torch_compile_f32", "torch_compile_bf16")
def encode_torch(name, model, threads, data):
    import torch
    torch.set_num_threads(threads)
    m = torch_model(model, data)
    if "compile" in name:
        import torch._inductor.config as ic
        ic.freezing = True
        m = torch.compile(m, dynamic=False)
    cast = torch.autocast("cpu", torch.bfloat16, enabled="bf16" in name)

    def case(c):
        xs, n = inputs(model, c, data)
        xs = [torch.from_numpy(x) for x in xs]

        def call():
            with torch.no_grad() if "compile" in name else torch.inference_mode(), cast:
                return [m(x).float().numpy() for x in xs]
        return call, n
    return case


def ort_session(path, threads):
    import onnxruntime as ort
    o = ort.SessionOptions()
    o.intra_op_num_threads, o.inter_op_num_threads, o.log_severity_level = threads, 1, 3
    return ort.InferenceSession(path, o, providers=["CPUExecutionProvider"])


@job("ort_f32", "ort_f32opt", "ort_int8")
def encode_ort(name, model, threads, data):
    s = ort_session(f"{data}/{model}.{name[4:]}.onnx", threads)
    key = s.get_inputs()[0].name

    def case(c):
        xs, n = inputs(model, c, data)
        return (lambda: [s.run(None, {key: x})[0] for x in xs]), n
    return case


@job("openvino_f32", "openvino_bf16", "openvino_int8", "openvino_int8bf16")
def encode_openvino(name, model, threads, data):
    import openvino as ov
    kind = name[9:]
    core = ov.Core()
    base = core.read_model(f"{data}/{model}.{'int8' if kind.startswith('int8') else 'f32'}.xml")
    config = {"INFERENCE_PRECISION_HINT": "bf16" if "bf16" in kind else "f32", "INFERENCE_NUM_THREADS": threads,
              "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}

    def case(c):
        xs, n = inputs(model, c, data)
        m = base.clone()
        if len(xs) == 1:
            m.reshape(list(xs[0].shape))
        r = core.compile_model(m, "CPU", config).create_infer_request()
        ts = [ov.Tensor(x) for x in xs]

        def call():
            out = []
            for t in ts:
                r.set_input_tensor(t)
                r.infer()
                out.append(r.get_output_tensor().data.copy())
            return out
        return call, n
    return case


# ---------------------------------------------------------------- exact top-k

K = 10


def queries(data, db, n):
    import numpy as np
    return np.load(f"{data}/q_{db}.npy")[:n].copy()


@job("faiss")
def search_faiss(name, db, threads, data):
    """mode: default; 1thread, which is faster for one query; blas, for every batch, not only for large ones."""
    import faiss, numpy as np
    x = np.load(f"{data}/db_{db}.npy")
    index = faiss.IndexFlatIP(x.shape[1])
    index.add(x)
    del x
    usual = faiss.cvar.distance_compute_blas_threshold

    def case(c):
        q = queries(data, db, c["batch"])

        def call():
            faiss.omp_set_num_threads(1 if c["mode"] == "1thread" else threads)
            faiss.cvar.distance_compute_blas_threshold = 1 if c["mode"] == "blas" else usual
            return index.search(q, K)
        return call, len(q)
    return case


@job("usearch")
def search_usearch(name, db, threads, data):
    import numpy as np
    from usearch.index import MetricKind, search
    x = np.load(f"{data}/db_{db}.npy", mmap_mode="r")

    def case(c):
        q = queries(data, db, c["batch"])
        q = q[0] if len(q) == 1 else q
        return (lambda: search(x, q, K, MetricKind.IP, exact=True, threads=threads)), c["batch"]
    return case


@job("torch_f32_topk", "torch_bf16_topk")
def search_torch(name, db, threads, data):
    import numpy as np, torch
    torch.set_num_threads(threads)
    x = torch.from_numpy(np.load(f"{data}/db_{db}.npy"))
    if "bf16" in name:
        x = x.bfloat16()

    def case(c):
        q = torch.from_numpy(queries(data, db, c["batch"])).to(x.dtype)
        block = len(x) if len(q) == 1 else 16384

        def call():
            with torch.inference_mode():
                parts = [torch.topk(q @ x[lo:lo + block].t(), K, dim=1) for lo in range(0, len(x), block)]
                s, o = torch.topk(torch.cat([p[0] for p in parts], 1), K, dim=1)
                return s, torch.cat([p[1] + i * block for i, p in enumerate(parts)], 1).gather(1, o)
        return call, len(q)
    return case


# ---------------------------------------------------------------- images to pixels, as SEARLE's targetpad prepares them

def pads(w, h, ratio=1.25):
    if max(w, h) / min(w, h) < ratio:
        return 0, 0
    s = max(w, h) / ratio
    return max(int((s - w) / 2), 0), max(int((s - h) / 2), 0)


def size_of(w, h, dim=224):  # torchvision's Resize: the long side rounded down
    return (dim, int(dim * h / w)) if w <= h else (int(dim * w / h), dim)


def prep_pil(path, dim=224):
    import numpy as np
    from PIL import Image, ImageOps
    im = Image.open(path).convert("RGB")
    hp, vp = pads(*im.size)
    if hp or vp:
        im = ImageOps.expand(im, (hp, vp, hp, vp), 0)
    im = im.resize(size_of(*im.size, dim), Image.BICUBIC)
    l, t = round((im.width - dim) / 2), round((im.height - dim) / 2)
    a = np.asarray(im.crop((l, t, l + dim, t + dim)), dtype=np.float32).transpose(2, 0, 1)
    m, s = np.array(MEAN, "f").reshape(3, 1, 1), np.array(STD, "f").reshape(3, 1, 1)
    return np.ascontiguousarray(a * (1 / 255 / s) - m / s)


def prep_torchvision(path):  # tensors: within a grey level of PIL
    import torch, torchvision.io as io, torchvision.transforms.v2.functional as F
    im = io.decode_jpeg(io.read_file(path), mode=io.ImageReadMode.RGB)
    hp, vp = pads(im.shape[2], im.shape[1])
    if hp or vp:
        im = F.pad(im, [hp, vp, hp, vp], 0)
    w, h = size_of(im.shape[2], im.shape[1])
    im = F.resize(im, [h, w], F.InterpolationMode.BICUBIC, antialias=True)
    return F.normalize(F.to_dtype(F.center_crop(im, [224, 224]), torch.float32, scale=True), MEAN, STD)


@job("pil", "torchvision")
def preprocess(name, _, threads, data):
    if name == "torchvision":
        import torch
        torch.set_num_threads(threads)
    paths = sorted(f"{data}/jpeg/{p}" for p in os.listdir(f"{data}/jpeg"))
    prep = prep_pil if name == "pil" else prep_torchvision
    return lambda c: ((lambda: [prep(p) for p in paths]), len(paths))


# ---------------------------------------------------------------- textual inversion

def openai_clip():
    """OpenAI's own model class with random weights, ViT-B/32."""
    import packaging, packaging.version
    sys.modules.setdefault("pkg_resources", types.SimpleNamespace(packaging=packaging))
    from clip.model import CLIP
    return CLIP(512, 224, 12, 768, 32, 77, 49408, 512, 8, 12).float().train(False)


def encode_pseudo(m, text, pseudo):
    import torch
    x = m.token_embedding(text).clone()
    x[torch.arange(len(x)), (text == 259).nonzero()[:, 1]] = pseudo
    x = m.transformer((x + m.positional_embedding).permute(1, 0, 2)).permute(1, 0, 2)
    return m.ln_final(x)[torch.arange(len(x)), text.argmax(dim=-1)] @ m.text_projection


@job("oti_official", "oti_frozen16")
def oti(name, _, threads, data):
    """A step for 32 images.  official: SEARLE's loop, three forward and three full backward passes over 77 tokens, the text weights
    keeping their gradients; frozen16: those frozen, the phrase without gradient, 16 tokens."""
    import numpy as np, torch
    from torch import nn
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    m, frozen, n, batch = openai_clip(), "frozen" in name, 16 if "16" in name else 77, 32
    (m if frozen else m.visual).requires_grad_(False)
    m.positional_embedding = nn.Parameter(m.positional_embedding[:n].detach(), requires_grad=not frozen)
    for b in m.transformer.resblocks:
        b.attn_mask = b.attn_mask[:n, :n].contiguous()
    ids = np.zeros((3, batch, n), dtype=np.int64)
    ids[:, :, :15] = np.random.default_rng(1).integers(300, 40000, (3, batch, 15))
    ids[:, :, 0], ids[:, :, 14] = 49406, 49407
    template, phrase, plain = (torch.from_numpy(x) for x in ids)
    template[:, 5], phrase[:, 7] = 259, 259
    images = torch.randn(batch, 512)
    token = nn.Parameter(torch.randn(batch, 512) * 0.02)
    adam = torch.optim.AdamW([token], lr=2e-2, weight_decay=0.01)
    loss, one, average = nn.CosineEmbeddingLoss(), torch.as_tensor([1]), [token.detach().clone()]

    def step():
        adam.zero_grad()
        a = encode_pseudo(m, template, token)
        with torch.set_grad_enabled(not frozen):
            r = m.encode_text(plain)
        b = encode_pseudo(m, phrase, token)
        ((loss(a, images, one) + 0.5 * loss(b, r, one)) / 1.5).backward()
        adam.step()
        average[0] = 0.99 * average[0] + 0.01 * token.detach()
    return lambda c: (step, 1)


# ---------------------------------------------------------------- processes from start to the first feature

STARTS = {
    "transformers": """
import torch; torch.set_num_threads(T)
from transformers import CLIPModel
m = CLIPModel.from_pretrained(D + '/clip_b32').eval()
with torch.inference_mode(): m.get_image_features(pixel_values=torch.zeros(1, 3, 224, 224))
""",
    "onnxruntime": """
import numpy as np, onnxruntime as ort
o = ort.SessionOptions(); o.intra_op_num_threads = T
s = ort.InferenceSession(D + '/b32.f32.onnx', o)
s.run(None, {s.get_inputs()[0].name: np.zeros((1, 3, 224, 224), 'f')})
""",
    "openvino": """
import numpy as np, openvino as ov
c = ov.Core().compile_model(D + '/b32.f32.xml', 'CPU', {'INFERENCE_PRECISION_HINT': 'f32', 'INFERENCE_NUM_THREADS': T, 'PERFORMANCE_HINT': 'LATENCY'})
c(np.zeros((1, 3, 224, 224), 'f'))
""",
}


# ---------------------------------------------------------------- how much int8 and bf16 lose

def features(name, model, paths, threads, data, size):
    """Features of image files by a peer; name as in JOBS."""
    import numpy as np
    out, prepared = [], [prep_pil(p, size) for p in paths]
    if name.startswith("ort"):
        s = ort_session(f"{data}/{model}.{name[4:]}.onnx", threads)
        key = s.get_inputs()[0].name
        run = lambda x: s.run(None, {key: x})[0]
    else:
        import openvino as ov
        kind = name[9:]
        c = ov.Core().compile_model(f"{data}/{model}.{'int8' if kind.startswith('int8') else 'f32'}.xml", "CPU",
                                    {"INFERENCE_PRECISION_HINT": "bf16" if "bf16" in kind else "f32", "INFERENCE_NUM_THREADS": threads})
        run = lambda x: c(x)[0]
    for i in range(0, len(prepared), 32):
        out.append(run(np.stack(prepared[i:i + 32])))
    return np.concatenate(out)


def lost(a, b):
    """What features b keep of a: the mean and the worst cosine, and which share of each picture's 10 nearest are still among them."""
    import numpy as np
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a.astype("d"), b.astype("d")))
    cosine = (a * b).sum(1)

    def nearest(x):
        s = x @ x.T
        np.fill_diagonal(s, -2)
        return np.argsort(-s, axis=1, kind="stable")[:, :10]
    p, q = nearest(a), nearest(b)
    kept = np.mean([len(set(x) & set(y)) / 10 for x, y in zip(p, q)])
    return dict(cosine=float(cosine.mean()), worst=float(cosine.min()), kept=float(kept), first=float((p[:, 0] == q[:, 0]).mean()))


# ---------------------------------------------------------------- what all sides share

GALLERIES = {"100k": (100_000, 512), "1m": (1_000_000, 512)}


def prepare(data, rows):
    """Makes what the rows need and what is not there."""
    import numpy as np
    os.makedirs(data, exist_ok=True)
    for db, (n, d) in GALLERIES.items():
        if not os.path.exists(f"{data}/db_{db}.npy") and f"topk_{db}" in rows:
            r = np.random.default_rng(7)
            for what, count in (("q", 256), ("db", n)):
                x = r.standard_normal((count, d), dtype="f")
                np.save(f"{data}/{what}_{db}.npy", x / np.linalg.norm(x, axis=1, keepdims=True))
    if not os.path.exists(f"{data}/jpeg"):
        jpegs(data)
    if not os.path.exists(f"{data}/clip_b32"):
        import torch, transformers as tf
        torch.manual_seed(0)
        tf.CLIPModel(tf.CLIPConfig()).save_pretrained(f"{data}/clip_b32")
    if rows & {"b32", "bf16", "int8", "startup", "accuracy"}:
        export("b32", data)
    if "text" in rows:
        export("text", data)
    if "l14" in rows:
        export("l14", data, int8=False)
    if "accuracy" in rows:
        export("demo", data)


def jpegs(data):
    """64 JPEGs near 500x400, quality 90, 4:2:0: crops of scikit-learn's two photographs, scaled so that detail is a photograph's."""
    import numpy as np, sklearn.datasets
    from PIL import Image
    folder = os.path.join(os.path.dirname(sklearn.datasets.__file__), "images")
    source = [Image.open(f"{folder}/{n}.jpg").convert("RGB") for n in ("china", "flower")]
    os.makedirs(f"{data}/jpeg")
    r = np.random.default_rng(3)
    sizes = [(500, 375), (500, 333), (375, 500), (500, 400), (400, 500), (640, 427), (500, 500), (480, 360)]
    for i in range(64):
        (w, h), im = sizes[i % 8], source[(i // 8) % 2]
        z = r.uniform(0.75, 1.0) * min(im.width / w, im.height / h)
        cw, ch = int(w * z), int(h * z)
        x, y = int(r.integers(0, im.width - cw + 1)), int(r.integers(0, im.height - ch + 1))
        a = np.asarray(im.crop((x, y, x + cw, y + ch)).resize((w, h), Image.LANCZOS), dtype=np.float32)
        a = np.clip(a + r.normal(0, 4, a.shape), 0, 255).astype(np.uint8)
        Image.fromarray(a).save(f"{data}/jpeg/{i:02d}_{w}x{h}.jpg", quality=90, subsampling=2)


def export(model, data, int8=True):
    """ONNX and OpenVINO files of a model, in f32, with fused operations, and in int8 as each library's own tool makes it."""
    import numpy as np, torch
    base = f"{data}/{model}"
    size = 64 if model == "demo" else 224
    if model == "text":
        sample, axes = torch.from_numpy(inputs(model, dict(how="padded"), data)[0][0][:2]), {0: "b", 1: "s"}
    else:
        sample, axes = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1)), {0: "b"}
    if not os.path.exists(base + ".f32.onnx"):
        torch.onnx.export(torch_model(model, data, "eager"), (sample,), base + ".f32.onnx", input_names=["x"], output_names=["y"],
                          opset_version=17, dynamic_axes={"x": axes, "y": {0: "b"}}, dynamo=False)
    if not os.path.exists(base + ".f32opt.onnx"):
        from onnxruntime.transformers import optimizer
        heads, width = {"b32": (12, 768), "l14": (16, 1024), "text": (8, 512), "demo": (3, 192)}[model]
        optimizer.optimize_model(base + ".f32.onnx", model_type="clip" if model == "text" else "vit", num_heads=heads, hidden_size=width,
                                 opt_level=1, use_gpu=False).save_model_to_file(base + ".f32opt.onnx")
    if not os.path.exists(base + ".f32.xml"):
        import openvino as ov
        with torch.no_grad():
            m = ov.convert_model(torch_model(model, data), example_input=sample,
                                 input=[ov.PartialShape([-1, -1] if model == "text" else [-1, 3, size, size])])
        ov.save_model(m, base + ".f32.xml", compress_to_fp16=False)
    if int8 and not os.path.exists(base + ".int8.onnx"):
        from onnxruntime.quantization import QuantType, quantize_dynamic
        quantize_dynamic(base + ".f32.onnx", base + ".int8.onnx", weight_type=QuantType.QInt8, per_channel=True,
                         op_types_to_quantize=["MatMul", "Gemm"])
    if int8 and not os.path.exists(base + ".int8.xml"):
        import nncf, openvino as ov
        if model == "demo":
            paths = sorted(p.path for p in os.scandir(f"{data}/world/circo/COCO2017_unlabeled/unlabeled2017"))[::20]
            samples = [prep_pil(p, size)[None] for p in paths]
        else:
            samples = [np.random.default_rng(i).standard_normal(sample.shape[1:], dtype="f")[None] if model != "text" else sample[:1].numpy() for i in range(2)]
        q = nncf.quantize(ov.Core().read_model(base + ".f32.xml"), nncf.Dataset(samples), model_type=nncf.ModelType.TRANSFORMER,
                          subset_size=len(samples), fast_bias_correction=True)
        ov.save_model(q, base + ".int8.xml")


# ---------------------------------------------------------------- main

def serve(name, threads, data):
    kind, _, what = name.partition(":")
    case = JOBS[kind](kind, what, threads, data)
    known = {}
    for line in sys.stdin:
        order = json.loads(line)
        key = json.dumps(order["case"])
        if key not in known:
            known[key] = case(order["case"])
            known[key][0]()
        call, n = known[key]
        calls, start = 0, time.perf_counter()
        while calls == 0 or time.perf_counter() - start < order["time"]:
            call()
            calls += 1
        print(json.dumps(dict(rate=n * calls / (time.perf_counter() - start), calls=calls)), flush=True)


if __name__ == "__main__":
    out = os.dup(1)
    os.dup2(2, 1)  # what libraries print is not the answer
    sys.stdout = os.fdopen(out, "w")
    if sys.argv[1] == "prepare":
        prepare(sys.argv[2], set(sys.argv[3].split(",")))
    elif sys.argv[1] == "lost":
        import numpy as np
        ours, model, size, folder, data = sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5], sys.argv[6]
        paths = sorted(p.path for p in os.scandir(folder))
        results = {f"isearle_{k}": lost(np.load(f"{ours}/f32.npy"), np.load(f"{ours}/{k}.npy")) for k in ("bf16", "int8") if os.path.exists(f"{ours}/{k}.npy")}
        for lib, kinds in (("ort", ("int8",)), ("openvino", ("bf16", "int8"))):
            exact = features(lib + "_f32", model, paths, 2, data, size)
            for k in kinds:
                results[f"{lib}_{k}"] = lost(exact, features(f"{lib}_{k}", model, paths, 2, data, size))
        print(json.dumps(results))
    else:
        serve(sys.argv[1], int(sys.argv[2]), sys.argv[3])
