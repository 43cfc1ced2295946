"""Writes the model as a Hugging Face CLIPModel directory in F16, its tensors compressed, from a training checkpoint."""

import hashlib
import json
import sys
from pathlib import Path

import torch
import zstandard
from safetensors.torch import load as parse
from safetensors.torch import save

import clip

C = clip.CONFIG


def config():
    common = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-05, "attention_dropout": 0.0, "initializer_factor": 1.0,
              "initializer_range": 0.02, "projection_dim": C["embed"]}
    text = {"model_type": "clip_text_model", "vocab_size": C["vocab"], "hidden_size": C["text_width"],
            "intermediate_size": 4 * C["text_width"], "num_hidden_layers": C["text_layers"],
            "num_attention_heads": C["text_heads"], "max_position_embeddings": C["context"],
            "bos_token_id": C["vocab"] - 2, "eos_token_id": C["vocab"] - 1, "pad_token_id": C["vocab"] - 1, **common}
    vision = {"model_type": "clip_vision_model", "hidden_size": C["vision_width"], "intermediate_size": 4 * C["vision_width"],
              "num_hidden_layers": C["vision_layers"], "num_attention_heads": C["vision_heads"], "num_channels": 3,
              "image_size": C["image"], "patch_size": C["patch"], **common}
    return {"architectures": ["CLIPModel"], "model_type": "clip", "torch_dtype": "float16", "projection_dim": C["embed"],
            "logit_scale_init_value": 2.6592, "initializer_factor": 1.0, "text_config": text, "vision_config": vision}


PREPROCESSOR = {
    "image_processor_type": "CLIPImageProcessor", "do_convert_rgb": True, "do_resize": True,
    "size": {"shortest_edge": C["image"]}, "resample": 3, "do_center_crop": True,
    "crop_size": {"height": C["image"], "width": C["image"]}, "do_rescale": True, "rescale_factor": 1 / 255,
    "do_normalize": True, "image_mean": list(clip.MEAN), "image_std": list(clip.STD),
}
TOKENIZER = {
    "tokenizer_class": "CLIPTokenizer", "do_lower_case": True, "model_max_length": C["context"], "errors": "replace",
    "bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>", "unk_token": "<|endoftext|>",
}


def load(folder):
    """The exported model, its F16 weights widened to F32."""
    data = zstandard.ZstdDecompressor().decompress((Path(folder) / "model.safetensors.zst").read_bytes())
    model = clip.CLIP()
    model.load_state_dict({k: v.float() for k, v in parse(data).items()})
    return model.eval().requires_grad_(False), hashlib.sha256(data).hexdigest()


def main(build, out):
    checkpoint = torch.load(Path(build) / "run/checkpoint.pt", weights_only=False)
    weights = {k: v.half().contiguous() for k, v in checkpoint["average"].items()}
    assert all(v.isfinite().all() for v in weights.values())
    folder = Path(out) / "model"
    folder.mkdir(parents=True, exist_ok=True)
    data = save(weights, metadata={"format": "pt"})
    (folder / "model.safetensors.zst").write_bytes(zstandard.ZstdCompressor(level=19).compress(data))
    for name, content in (("config", config()), ("preprocessor_config", PREPROCESSOR), ("tokenizer_config", TOKENIZER)):
        (folder / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")
    for name in ("vocab.json", "merges.txt"):
        (folder / name).write_text((Path(build) / "model" / name).read_text())
    print("step", checkpoint["step"], "fraction", checkpoint["fraction"], len(data), "bytes,",
          (folder / "model.safetensors.zst").stat().st_size, "compressed")


if __name__ == "__main__":
    main(*sys.argv[1:3])
