#!/usr/bin/env python3
"""Writes tiny random SD3 and SD3.5 networks in every layout that perilune loads, and what diffusers computes with them.

    python sd3.py OUT_DIR          # a few seconds; tests/parity calls it

Versions: torch 2.11, diffusers 0.42.1, safetensors 0.8, sdnq 0.2.8. Everything runs in fp32 on the CPU, but for what is named bf16.
"""
import os
import sys
import warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.filterwarnings("ignore")
import torch
from diffusers import SD3Transformer2DModel
from safetensors.torch import save_file

from dit_layout import build_vae, padded, sd3_to_original, write_layouts, write_sdnq, write_split
from seeded import seeded

CONTEXT, POOLED = 128, 192


def build(blocks=3, seed=23, **kind):
    return seeded(lambda: SD3Transformer2DModel(
        sample_size=16, patch_size=2, in_channels=16, out_channels=16, num_layers=blocks, attention_head_dim=64,
        num_attention_heads=4, joint_attention_dim=CONTEXT, caption_projection_dim=256, pooled_projection_dim=POOLED,
        pos_embed_max_size=12, **kind), seed)


def forward(network, x, time, context, pooled, dtype=torch.float32):
    out = network(
        hidden_states=padded(x).to(dtype), timestep=torch.full([len(x)], time * 1000), encoder_hidden_states=context.to(dtype),
        pooled_projections=pooled.to(dtype)).sample
    return out.float()[..., :x.shape[2], :x.shape[3]]


@torch.no_grad()
def main():
    out = sys.argv[1]
    os.makedirs(out, exist_ok=True)
    torch.set_num_threads(2)
    # Norms of queries and keys, and picture-only attention in the first blocks: 3.5 medium has everything.
    all_kinds = dict(qk_norm="rms_norm", dual_attention_layers=(0, 1))
    newest, medium, large = build(**all_kinds), build(blocks=2, seed=24), build(blocks=2, seed=25, qk_norm="rms_norm")
    write_layouts(out, "sd3", newest, build_vae(1.5305, 0.0609), sd3_to_original(newest.state_dict()), "StableDiffusion3Pipeline")
    for name, network in (("medium", medium), ("large", large)):
        write_split(f"{out}/{name}.safetensors", sd3_to_original(network.state_dict()))
    g = torch.Generator().manual_seed(5)
    rand = lambda *size: torch.randn(size, generator=g)
    golden = {}
    # The second latent's sides are odd.
    for name, network, batch, height, width, length, time in (
            ("a", newest, 2, 8, 12, 40, 0.5), ("b", newest, 1, 7, 9, 77, 0.25), ("medium", medium, 1, 24, 6, 20, 1.0),
            ("large", large, 1, 6, 8, 20, 0.033)):
        x, context, pooled = rand(batch, 16, height, width), rand(batch, length, CONTEXT), rand(batch, POOLED)
        golden |= {f"{name}.x": x, f"{name}.context": context, f"{name}.pooled": pooled, f"{name}.time": torch.tensor([time])}
        golden[f"{name}.out"] = forward(network, x, time, context, pooled)
        if name == "a":
            golden["a.bf16"] = forward(build(**all_kinds).bfloat16(), x, time, context, pooled, torch.bfloat16)
            for folder, net in write_sdnq(out, lambda: build(**all_kinds)).items():
                golden[f"a.{folder}"] = forward(net, x, time, context, pooled)
    save_file({k: v.contiguous() for k, v in golden.items()}, f"{out}/golden.safetensors")


if __name__ == "__main__":
    main()
