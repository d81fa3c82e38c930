#!/usr/bin/env python3
"""Writes random weights of Stable Diffusion 1.5 at its real size, in the single-file layout: for measuring, not
for pictures.

    python real_sd15.py OUT.safetensors             # fp16: 2.13 GB, about half a minute; needs 5 GB of memory
    python real_sd15.py OUT.safetensors --fp32      # 4.26 GB; needs 7 GB of memory

Sizes are those of diffusers' own configurations. Weights are scaled by their fan-in, so that values stay
finite in half precision.
"""
import os
import sys
import warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.filterwarnings("ignore")
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "parity"))
from ldm_layout import single_file


def build_unet():
    return UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)


def build_vae():
    return AutoencoderKL(block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4, sample_size=512,
                         down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4)


def build_text():
    return CLIPTextModel(CLIPTextConfig(
        vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
        max_position_embeddings=77, hidden_act="quick_gelu", projection_dim=768, bos_token_id=49406, eos_token_id=49407,
        pad_token_id=49407))


def main():
    out, wide = sys.argv[1], "--fp32" in sys.argv[2:]
    with torch.device("meta"):
        tensors = single_file(build_unet(), build_vae(), build_text())
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for name, like in tensors.items():
        if like.ndim == 1:
            value = torch.zeros(like.shape) if name.endswith("bias") else torch.ones(like.shape)
        else:
            value = torch.randn(like.shape, generator=generator) / like[0].numel() ** 0.5 * 0.7
        weights[name] = value if wide else value.half()
    partial = out + ".part"
    save_file(weights, partial, {"format": "pt"})
    os.replace(partial, out)


if __name__ == "__main__":
    main()
