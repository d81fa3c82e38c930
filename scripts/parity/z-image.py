#!/usr/bin/env python3
"""Writes a tiny random Z-Image network in every layout that perilune loads, and what diffusers computes with it.

    python z-image.py OUT_DIR          # a few seconds; tests/parity calls it

Versions: torch 2.11, diffusers 0.42.1, safetensors 0.8, sdnq 0.2.8. Everything runs in fp32 on the CPU, but for what is named bf16. The
outputs are the pipeline's: the network's own, negated.
"""
import os
import sys
import warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.filterwarnings("ignore")
import torch
from diffusers import ZImageTransformer2DModel
from safetensors.torch import save_file

from dit_layout import build_vae, padded, write_layouts, write_sdnq, zimage_to_original
from seeded import seeded

CONTEXT = 128


def build():
    return seeded(lambda: ZImageTransformer2DModel(
        all_patch_size=(2,), all_f_patch_size=(1,), in_channels=16, dim=256, n_layers=2, n_refiner_layers=1, n_heads=2, n_kv_heads=2,
        norm_eps=1e-5, qk_norm=True, cap_feat_dim=CONTEXT, rope_theta=256.0, t_scale=1000.0, axes_dims=[32, 48, 48],
        axes_lens=[512, 64, 64]), 25)


def forward(network, x, time, context, dtype=torch.float32):
    pictures = [picture[:, None] for picture in padded(x).to(dtype)]
    out = network(pictures, torch.full([len(x)], 1 - time), list(context.to(dtype)), return_dict=False)[0]
    return -torch.stack([o[:, 0] for o in out]).float()[..., :x.shape[2], :x.shape[3]]


@torch.no_grad()
def main():
    out = sys.argv[1]
    os.makedirs(out, exist_ok=True)
    torch.set_num_threads(2)
    network = build()
    write_layouts(out, "z-image", network, build_vae(0.3611, 0.1159), zimage_to_original(network.state_dict()), "ZImagePipeline")
    g = torch.Generator().manual_seed(5)
    rand = lambda *size: torch.randn(size, generator=g)
    golden = {}
    # Sequences of all kinds: text and picture shorter than whole runs, exactly one, and with odd sides.
    for name, batch, height, width, length, time in (("a", 2, 12, 16, 45, 0.5), ("b", 1, 7, 9, 64, 0.25), ("c", 1, 16, 8, 3, 1.0)):
        x, context = rand(batch, 16, height, width), rand(batch, length, CONTEXT)
        golden |= {f"{name}.x": x, f"{name}.context": context, f"{name}.time": torch.tensor([time])}
        golden[f"{name}.out"] = forward(network, x, time, context)
        if name == "a":
            golden["a.bf16"] = forward(build().bfloat16(), x, time, context, torch.bfloat16)
            for folder, net in write_sdnq(out, build).items():
                golden[f"a.{folder}"] = forward(net, x, time, context)
    save_file({k: v.contiguous() for k, v in golden.items()}, f"{out}/golden.safetensors")


if __name__ == "__main__":
    main()
