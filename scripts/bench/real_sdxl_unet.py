#!/usr/bin/env python3
"""Writes random weights of SDXL's UNet at its real size, as diffusers lays it out: for measuring, not for pictures.

    python real_sdxl_unet.py OUT.safetensors        # fp16: 5.14 GB, about a minute

Sizes are those of SDXL's own configuration. Values are drawn once and used again from other places on, which costs no conversion
anything.
"""
import json
import os
import sys
import warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.filterwarnings("ignore")
import torch
from diffusers import UNet2DConditionModel

# stable-diffusion-xl-base-1.0, unet/config.json
CONFIG = dict(
    sample_size=128, cross_attention_dim=2048, attention_head_dim=[5, 10, 20], block_out_channels=(320, 640, 1280),
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), transformer_layers_per_block=[1, 2, 10],
    use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=256, projection_class_embeddings_input_dim=2816)
DRAWN = 1 << 24


def main():
    out = sys.argv[1]
    with torch.device("meta"):
        tensors = UNet2DConditionModel(**CONFIG).state_dict()
    drawn = torch.randn(DRAWN, generator=torch.Generator().manual_seed(0))
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, like in tensors.items():
        header[name] = {"dtype": "F16", "shape": list(like.shape), "data_offsets": [at, at + 2 * like.numel()]}
        at += 2 * like.numel()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(out + ".part", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for place, like in enumerate(tensors.values()):
            scale = 0.7 / like[0].numel() ** 0.5 if like.ndim > 1 else 1.0
            values = (drawn.roll(place * 4099) * scale).half().numpy().tobytes()
            left = 2 * like.numel()
            while left > 0:
                file.write(values[:left])
                left -= len(values)
    os.replace(out + ".part", out)


if __name__ == "__main__":
    main()
