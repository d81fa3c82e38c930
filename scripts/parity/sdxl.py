#!/usr/bin/env python3
"""Writes a tiny random Stable Diffusion XL in every layout that perilune loads, and what diffusers and transformers
compute with it.

    python sdxl.py OUT_DIR          # about 20 s; tests/parity calls it

Versions: torch 2.11, diffusers 0.42.1, transformers 5.23, safetensors 0.8. Seeds are below; everything runs in fp32 on the
CPU. One-dimensional parameters are perturbed, as in sd15.py.
"""
import json
import os
import sys
import warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.filterwarnings("ignore")
import numpy
import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from clip_tokens import tokenizer
from encoders import open_clip, prefixed
from ldm_layout import UNET_PREFIX, VAE_PREFIX, clip_to_ldm, unet_to_ldm, vae_to_ldm
from sd15 import SD, VOCAB
from seeded import seeded

L_PREFIX, G_PREFIX = "conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."
WIDTH_L, WIDTH_G = 64, 128


def build_text(kind, width, heads, act, seed):
    return seeded(lambda: kind(CLIPTextConfig(
        vocab_size=VOCAB, hidden_size=width, intermediate_size=4 * width, num_hidden_layers=3, num_attention_heads=heads,
        max_position_embeddings=77, hidden_act=act, layer_norm_eps=1e-5, projection_dim=width,
        bos_token_id=VOCAB - 2, eos_token_id=VOCAB - 1, pad_token_id=VOCAB - 1)), seed)


def build_unet():
    return seeded(lambda: UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, block_out_channels=(64, 128, 128), layers_per_block=2,
        attention_head_dim=(1, 2, 2), cross_attention_dim=WIDTH_L + WIDTH_G, transformer_layers_per_block=(1, 1, 2),
        use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=WIDTH_G + 6 * 256,
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        up_block_types=["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"]), 31)


def build_vae():
    return seeded(lambda: AutoencoderKL(
        block_out_channels=(32, 32, 64, 64), layers_per_block=2, latent_channels=4, norm_num_groups=32, sample_size=64,
        scaling_factor=0.13025, down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4), 33)


def write_layouts(out, unet, vae, one, two):
    parts = {
        UNET_PREFIX: unet_to_ldm(unet.state_dict(), unet.config.layers_per_block), VAE_PREFIX: vae_to_ldm(vae.state_dict()),
        L_PREFIX: clip_to_ldm(one.state_dict()), G_PREFIX: open_clip(prefixed(two.state_dict()))}
    parts = {prefix: {k: v.detach().contiguous().clone() for k, v in part.items()} for prefix, part in parts.items()}
    whole = {prefix + k: v for prefix, part in parts.items() for k, v in part.items()}
    # Left-overs that real files carry and no loader may trip over.
    extra = {L_PREFIX + "text_model.embeddings.position_ids": torch.arange(77)[None]}
    save_file(whole | extra, f"{out}/sdxl.safetensors", {"format": "pt"})
    for prefix, name in ((UNET_PREFIX, "unet"), (VAE_PREFIX, "vae"), (L_PREFIX, "clip-l")):
        save_file(parts[prefix], f"{out}/split-{name}.safetensors")
    # ComfyUI's own split of the second encoder has transformers' names.
    save_file({k: v.contiguous() for k, v in clip_to_ldm(two.state_dict()).items()}, f"{out}/split-clip-g.safetensors")
    index = {"_class_name": "StableDiffusionXLPipeline", "unet": ["diffusers", "UNet2DConditionModel"],
             "vae": ["diffusers", "AutoencoderKL"], "text_encoder": ["transformers", "CLIPTextModel"],
             "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"], "scheduler": ["diffusers", "EulerDiscreteScheduler"]}
    for part, module in (("unet", unet), ("vae", vae), ("text_encoder", one), ("text_encoder_2", two)):
        module.save_pretrained(f"{out}/folder/{part}")
    with open(f"{out}/folder/model_index.json", "w") as f:
        json.dump(index, f)


@torch.no_grad()
def write_golden(out, unet):
    g = torch.Generator().manual_seed(6)
    rand = lambda *size: torch.randn(size, generator=g)
    golden = {}
    for name, batch, height, width, time, length in (("a", 2, 16, 16, 999.0, 77), ("b", 1, 9, 11, 371.5, 154)):
        x, context, pooled = rand(batch, 4, height, width), rand(batch, length, WIDTH_L + WIDTH_G), rand(batch, WIDTH_G)
        sizes = torch.tensor([[1024.0, 768.0, 0.0, 16.0, 1024.0, 768.0]] * batch)
        golden |= {f"unet.{name}.x": x, f"unet.{name}.context": context, f"unet.{name}.time": torch.tensor([time])}
        embedded = unet.add_time_proj(sizes.flatten()).reshape(batch, -1)
        golden[f"unet.{name}.vector"] = torch.cat([pooled, embedded], -1)
        golden[f"unet.{name}.out"] = unet(x, torch.tensor([time] * batch), context,
                                          added_cond_kwargs={"text_embeds": pooled, "time_ids": sizes}).sample
    save_file({k: v.contiguous() for k, v in golden.items()}, f"{out}/golden.safetensors")


PROMPT, NEGATIVE, SEED = "a full moon over the sea, oil on canvas", "blurry, low quality", 1234


@torch.no_grad()
def write_pictures(out, unet, vae, one, two):
    second = tokenizer()
    second.pad_token = "!"
    golden = {}
    for name, kw in (("euler-normal", {}), ("euler-karras", {"use_karras_sigmas": True})):
        pipe = StableDiffusionXLPipeline(
            vae=vae, text_encoder=one, text_encoder_2=two, tokenizer=tokenizer(), tokenizer_2=second, unet=unet,
            scheduler=EulerDiscreteScheduler(**SD, **kw), force_zeros_for_empty_prompt=False, add_watermarker=False)
        pipe.set_progress_bar_config(disable=True)
        for rescale in (0.0, 0.7):
            paint = lambda kind: pipe(
                PROMPT, negative_prompt=NEGATIVE, guidance_scale=7.0, guidance_rescale=rescale, num_inference_steps=8, width=64,
                height=96, generator=torch.Generator().manual_seed(SEED), output_type=kind).images[0]
            run = name if rescale == 0 else f"{name}-rescaled"
            golden[run] = torch.from_numpy((paint("np") * 255).round().astype(numpy.uint8))
            golden[f"{run}.latents"] = paint("latent")[None]
    save_file({k: v.contiguous() for k, v in golden.items()}, f"{out}/pictures.safetensors")


def main():
    out = sys.argv[1]
    os.makedirs(out, exist_ok=True)
    torch.set_num_threads(2)
    unet, vae = build_unet(), build_vae()
    one = build_text(CLIPTextModel, WIDTH_L, 1, "quick_gelu", 35)
    two = build_text(CLIPTextModelWithProjection, WIDTH_G, 2, "gelu", 37)
    write_layouts(out, unet, vae, one, two)
    write_golden(out, unet)
    write_pictures(out, unet, vae, one, two)


if __name__ == "__main__":
    main()
