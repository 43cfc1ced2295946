"""Writes the random checkpoints of this directory and what transformers makes of them. Run in this directory."""

import json
import os
import shutil

import torch
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2LMHeadModel, GPTNeoConfig, GPTNeoForCausalLM

VOCAB, EOS = 97, 11
torch.set_num_threads(1)
torch.manual_seed(7)


def randomise(model):
    """Weights larger than the usual start, biases and norms off theirs, so that each tensor shows in the logits."""
    for name, p in model.named_parameters():
        with torch.no_grad():
            if p.ndim == 1:
                p.copy_(torch.randn_like(p) * 0.3 + (1.0 if "ln" in name and name.endswith("weight") else 0.0))
            else:
                p.copy_(torch.randn_like(p) * (0.6 if "wte" in name else 0.25))


def save(model, folder, dtype, bare):
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    for file in os.listdir(folder):
        if file not in ("config.json", "model.safetensors"):
            os.remove(f"{folder}/{file}")
    if dtype is None:
        return
    state = {k: v.to(dtype).contiguous() for k, v in model.state_dict().items() if k != "lm_head.weight"}
    model.load_state_dict({**state, "lm_head.weight": state["transformer.wte.weight"]})
    if bare:
        state = {k.removeprefix("transformer."): v for k, v in state.items()}
        for i in range(model.config.n_layer):
            state[f"h.{i}.attn.bias"] = torch.tril(torch.ones(1, 1, 8, 8))
    save_file(state, f"{folder}/model.safetensors", metadata={"format": "pt"})


def make(folder, model, dtype=None, bare=False):
    model.eval()
    randomise(model)
    save(model, folder, dtype, bare)
    out = {"sequences": [], "generations": []}
    g = torch.Generator().manual_seed(3)
    context = model.config.max_position_embeddings
    for length in (1, 5, context):
        ids = torch.randint(0, VOCAB, (1, length), generator=g)
        with torch.no_grad():
            logits = model.double()(ids).logits[0]
        rows = [[float(f"{x:.9g}") for x in row] for row in logits.tolist()]
        out["sequences"].append({"ids": ids[0].tolist(), "logits": rows})
    model.float()
    for length in (1, 4, 9):
        for ngram in (0, 2, 3):
            ids, most = torch.randint(0, VOCAB, (1, length), generator=g), min(context, 30)
            done = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_length=most,
                                  no_repeat_ngram_size=ngram, pad_token_id=0, eos_token_id=EOS)
            out["generations"].append(
                {"prompt": ids[0].tolist(), "ngram": ngram, "max_length": most, "ids": done[0].tolist()})
    with open(f"{folder}/expected.json", "w") as f:
        json.dump(out, f, separators=(",", ":"))


ends = dict(eos_token_id=EOS, bos_token_id=EOS)
make("gpt2", GPT2LMHeadModel(GPT2Config(vocab_size=VOCAB, n_positions=40, n_embd=24, n_layer=3, n_head=3,
                                        layer_norm_epsilon=2e-5, **ends)))
make("gpt2_bare_f16", GPT2LMHeadModel(GPT2Config(
    vocab_size=VOCAB, n_positions=20, n_embd=16, n_layer=2, n_head=2, n_inner=40, scale_attn_by_inverse_layer_idx=True,
    **ends)), torch.float16, bare=True)
make("gpt_neo", GPTNeoForCausalLM(GPTNeoConfig(
    vocab_size=VOCAB, max_position_embeddings=40, hidden_size=24, num_layers=4, num_heads=3,
    attention_types=[[["global", "local"], 2]], window_size=6, intermediate_size=None, **ends)))
make("gpt_neo_bf16", GPTNeoForCausalLM(GPTNeoConfig(
    vocab_size=VOCAB, max_position_embeddings=20, hidden_size=16, num_layers=2, num_heads=2,
    attention_types=[[["local", "global"], 1]], window_size=3, intermediate_size=40, **ends)), torch.bfloat16)
