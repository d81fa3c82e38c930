#!/usr/bin/env python3
"""Writes tiny random Flux.1 networks in every layout that perilune loads, and what diffusers computes with them.

    python flux.py OUT_DIR          # a few seconds; tests/parity calls it

Versions: torch 2.11, diffusers 0.42.1, safetensors 0.8, sdnq 0.2.8. Everything runs in fp32 on the CPU, but for what is named bf16.
"""
import os
import sys
import warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.filterwarnings("ignore")
import torch
from diffusers import FluxPipeline, FluxTransformer2DModel
from safetensors.torch import save_file

from dit_layout import build_vae, flux_to_original, padded, write_layouts, write_sdnq, write_split
from seeded import seeded

CONTEXT, POOLED = 128, 64


def build(guided=True, in_channels=64, blocks=2, seed=24):
    return seeded(lambda: FluxTransformer2DModel(
        patch_size=1, in_channels=in_channels, out_channels=64, num_layers=blocks, num_single_layers=blocks, attention_head_dim=64,
        num_attention_heads=4, joint_attention_dim=CONTEXT, pooled_projection_dim=POOLED, guidance_embeds=guided,
        axes_dims_rope=(8, 28, 28)), seed)


def forward(network, x, time, context, pooled, guidance, dtype=torch.float32):
    """A latent in, a latent out: packing and positions are those of diffusers' pipeline."""
    even = padded(x)
    batch, channels, height, width = even.shape
    tokens = FluxPipeline._pack_latents(even, batch, channels, height, width)
    ids = FluxPipeline._prepare_latent_image_ids(batch, height // 2, width // 2, "cpu", torch.float32)
    out = network(
        hidden_states=tokens.to(dtype), encoder_hidden_states=context.to(dtype), pooled_projections=pooled.to(dtype),
        timestep=torch.full([batch], time, dtype=dtype), img_ids=ids, txt_ids=torch.zeros(context.shape[1], 3),
        guidance=torch.full([batch], guidance) if guidance is not None else None).sample
    return FluxPipeline._unpack_latents(out.float(), height * 8, width * 8, 8)[..., :x.shape[2], :x.shape[3]]


@torch.no_grad()
def main():
    out = sys.argv[1]
    os.makedirs(out, exist_ok=True)
    torch.set_num_threads(2)
    dev, schnell, fill = build(), build(guided=False, blocks=1, seed=25), build(in_channels=384, blocks=1, seed=26)
    write_layouts(out, "flux", dev, build_vae(0.3611, 0.1159), flux_to_original(dev.state_dict()), "FluxPipeline")
    for name, network in (("schnell", schnell), ("fill", fill)):
        write_split(f"{out}/{name}.safetensors", flux_to_original(network.state_dict()))
    g = torch.Generator().manual_seed(5)
    rand = lambda *size: torch.randn(size, generator=g)
    golden = {}
    # The first has a time and a guidance that bf16 does not round: diffusers tells its networks the time in their own type.
    # The second latent's sides are odd.
    for name, network, batch, channels, height, width, length, time, guidance in (
            ("a", dev, 2, 16, 8, 12, 40, 0.5, 2.0), ("b", dev, 1, 16, 7, 9, 77, 0.25, 1.0),
            ("schnell", schnell, 1, 16, 6, 4, 20, 1.0, None), ("fill", fill, 1, 96, 6, 8, 20, 0.5, 30.0)):
        x, context, pooled = rand(batch, channels, height, width), rand(batch, length, CONTEXT), rand(batch, POOLED)
        golden |= {f"{name}.x": x, f"{name}.context": context, f"{name}.pooled": pooled, f"{name}.time": torch.tensor([time])}
        if guidance is not None:
            golden[f"{name}.guidance"] = torch.tensor([guidance])
        golden[f"{name}.out"] = forward(network, x, time, context, pooled, guidance)
        if name == "a":
            half = build().bfloat16()
            golden["a.bf16"] = forward(half, x, time, context, pooled, guidance, torch.bfloat16)
            for folder, net in write_sdnq(out, build).items():
                golden[f"a.{folder}"] = forward(net, x, time, context, pooled, guidance)
    save_file({k: v.contiguous() for k, v in golden.items()}, f"{out}/golden.safetensors")


if __name__ == "__main__":
    main()
