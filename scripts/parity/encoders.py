#!/usr/bin/env python3
"""Writes tiny random text encoders in every layout that perilune loads, and what transformers computes with them.

    python encoders.py OUT_DIR          # tests/parity calls it

Versions: torch 2.11, transformers 5.23, safetensors 0.8. Seeds are below; everything runs in fp32 on the CPU.
Freshly made norms are 1 and 0, which hides swapped weights, so every one-dimensional parameter is perturbed.
"""
import os
import re
import sys
import warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.filterwarnings("ignore")
import torch
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

VOCAB = 49408
BEGIN, END = VOCAB - 2, VOCAB - 1


def seeded(build, seed):
    torch.manual_seed(seed)
    module = build().eval().float()
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    return module


def clip(width, act, pad, seed):
    # The projection is not square, so that a wrong transposition shows.
    return seeded(lambda: CLIPTextModelWithProjection(CLIPTextConfig(
        vocab_size=VOCAB, hidden_size=width, intermediate_size=4 * width, num_hidden_layers=3, num_attention_heads=width // 64,
        max_position_embeddings=77, hidden_act=act, layer_norm_eps=1e-5, projection_dim=width + 32,
        bos_token_id=BEGIN, eos_token_id=END, pad_token_id=pad)), seed)


def prefixed(state):
    """transformers' names with `text_model.`, whether this version writes it or not."""
    bare = ("embeddings.", "encoder.", "final_layer_norm.")
    return {("text_model." + k if k.startswith(bare) else k): v for k, v in state.items()}


LAYER = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "self_attn.out_proj": "attn.out_proj", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}
TOP = {"embeddings.position_embedding.weight": "positional_embedding", "embeddings.token_embedding.weight": "token_embedding.weight",
       "final_layer_norm.weight": "ln_final.weight", "final_layer_norm.bias": "ln_final.bias"}


def open_clip(state):
    """The same weights as OpenCLIP stores them: joined projections, and the last matrix the other way round."""
    out = {"text_projection": state["text_projection.weight"].T, "logit_scale": torch.tensor(4.6)}
    for key, value in state.items():
        name = key.removeprefix("text_model.")
        if name in TOP:
            out[TOP[name]] = value
        elif m := re.fullmatch(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)", name):
            layer, part, kind = m.groups()
            if part in LAYER:
                out[f"transformer.resblocks.{layer}.{LAYER[part]}.{kind}"] = value
            elif part == "self_attn.q_proj":
                joined = [state[key.replace("q_proj", f"{c}_proj")] for c in "qkv"]
                out[f"transformer.resblocks.{layer}.attn.in_proj_{kind}"] = torch.cat(joined)
    return out


def save(tensors, path):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    save_file({k: v.clone().contiguous() for k, v in tensors.items()}, path, {"format": "pt"})


def clip_tokens(pad, g):
    """A short text, and one that fills its window. Real windows hold one end mark, or ends as padding."""
    tokens = torch.randint(1, BEGIN, (2, 77), generator=g)
    tokens[:, 0], tokens[0, 9], tokens[0, 10:], tokens[1, 76] = BEGIN, END, pad, END
    return tokens


def write_clip(out, golden):
    models = {"clip_l": clip(64, "quick_gelu", END, 31), "clip_g": clip(128, "gelu", 0, 32)}
    g = torch.Generator().manual_seed(6)
    for name, model in models.items():
        tokens = clip_tokens(model.config.pad_token_id, g)
        theirs = model(tokens, output_hidden_states=True)
        unprojected = theirs.last_hidden_state[torch.arange(2), (tokens == END).int().argmax(1)]
        golden |= {f"{name}.tokens": tokens, f"{name}.last": theirs.last_hidden_state, f"{name}.penultimate": theirs.hidden_states[-2],
                   f"{name}.unprojected": unprojected, f"{name}.pooled": theirs.text_embeds}
        state = prefixed(model.state_dict())
        save(state | {"text_model.embeddings.position_ids": torch.arange(77)[None]}, f"{out}/{name}.safetensors")
        save({k.removeprefix("text_model."): v for k, v in state.items()}, f"{out}/{name}-bare.safetensors")
        save(open_clip(state), f"{out}/{name}-open.safetensors")
        model.save_pretrained(f"{out}/{name}")
    both = {f"conditioner.embedders.0.transformer.{k}": v for k, v in prefixed(models["clip_l"].state_dict()).items() if "text_proj" not in k}
    both |= {f"conditioner.embedders.1.model.{k}": v for k, v in open_clip(prefixed(models["clip_g"].state_dict())).items()}
    save(both, f"{out}/both.safetensors")


@torch.no_grad()
def main():
    out = sys.argv[1]
    os.makedirs(out, exist_ok=True)
    torch.set_num_threads(2)
    golden = {}
    write_clip(out, golden)
    save(golden, f"{out}/golden.safetensors")


if __name__ == "__main__":
    main()
