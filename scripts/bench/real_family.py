#!/usr/bin/env python3
"""Writes a folder as diffusers keeps models: a network of real width with random weights, and around it the smallest text
encoders and autoencoder that fit; for measuring, not for pictures.

    python real_family.py FAMILY PRECISION OUT [--depth N]     FAMILY is sdxl, flux or z-image, PRECISION fp32 or bf16

SDXL's UNet has all its layers, or N instead of ten at its coarsest level (5.1 GB in bf16, 1.7 with two). Of Flux.1 schnell there are
two double and four single blocks (2.5 GB), of Z-Image four layers and its four refiners (2.9 GB); fp32 takes twice as much. Values
are drawn once and used again from other places on; matrices are scaled by their fan-in, so that what is computed stays finite.
"""
import argparse
import json
import os
import shutil
import sys
import warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.filterwarnings("ignore")
import torch
from diffusers import (AutoencoderKL, EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel,
                       UNet2DConditionModel, ZImageTransformer2DModel)
from transformers import (CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, Qwen3Config, Qwen3Model, T5Config,
                          T5EncoderModel)

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../parity")]
from clip_tokens import tokenizer as clip_tokenizer
from diffusers_folder import SCHEDULER
from flow_pictures import padded_with_zero, qwen_tokenizer, t5_tokenizer
from real_sdxl_unet import CONFIG as SDXL

TYPES = {"fp32": (torch.float32, "F32"), "bf16": (torch.bfloat16, "BF16")}
DRAWN = 1 << 24
# Widths of the released models: context and pooled text of Flux.1, context of Z-Image.
CONTEXT, POOLED, CAPTION = 4096, 768, 2560
# Of Flux.1 schnell: what its text encoder reads.
TOKENS = 256
CLIP_VOCABULARY = 49408


def sdxl_unet(depth):
    return UNet2DConditionModel(**SDXL | {"transformer_layers_per_block": [1, 2, depth]})


def flux_transformer():
    # black-forest-labs/FLUX.1-schnell, transformer/config.json, but for the numbers of blocks.
    return FluxTransformer2DModel(
        patch_size=1, in_channels=64, num_layers=2, num_single_layers=4, attention_head_dim=128, num_attention_heads=24,
        joint_attention_dim=CONTEXT, pooled_projection_dim=POOLED, guidance_embeds=False)


def z_image_transformer():
    # Tongyi-MAI/Z-Image-Turbo, transformer/config.json, but for the number of layers.
    return ZImageTransformer2DModel(
        all_patch_size=(2,), all_f_patch_size=(1,), in_channels=16, dim=3840, n_layers=4, n_refiner_layers=2, n_heads=30, n_kv_heads=30,
        norm_eps=1e-5, qk_norm=True, cap_feat_dim=CAPTION, rope_theta=256.0, t_scale=1000.0, axes_dims=[32, 48, 48],
        axes_lens=[1536, 512, 512])


def clip(kind, width, act):
    return kind(CLIPTextConfig(
        vocab_size=CLIP_VOCABULARY, hidden_size=width, intermediate_size=width, num_hidden_layers=2, num_attention_heads=width // 64,
        max_position_embeddings=77, hidden_act=act, layer_norm_eps=1e-5, projection_dim=width,
        bos_token_id=CLIP_VOCABULARY - 2, eos_token_id=CLIP_VOCABULARY - 1, pad_token_id=CLIP_VOCABULARY - 1))


def t5():
    return T5EncoderModel(T5Config(vocab_size=128, d_model=CONTEXT, d_kv=64, d_ff=256, num_layers=1, num_heads=2,
                                   feed_forward_proj="gated-gelu", tie_word_embeddings=False))


def qwen():
    return Qwen3Model(Qwen3Config(vocab_size=320, hidden_size=CAPTION, intermediate_size=256, num_hidden_layers=2,
                                  num_attention_heads=2, num_key_value_heads=1, head_dim=128, rope_theta=1e6))


def vae(channels, scale, **more):
    return AutoencoderKL(
        block_out_channels=(32, 32, 64, 64), layers_per_block=1, latent_channels=channels, norm_num_groups=32, sample_size=64,
        scaling_factor=scale, down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4, **more)


def flow_vae():
    return vae(16, 0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False)


def sdxl(depth):
    return "StableDiffusionXLPipeline", "unet", lambda: sdxl_unet(depth), {
        "vae": vae(4, 0.13025), "text_encoder": clip(CLIPTextModel, 768, "quick_gelu"), "tokenizer": clip_tokenizer(),
        "text_encoder_2": clip(CLIPTextModelWithProjection, 1280, "gelu"), "tokenizer_2": padded_with_zero(),
        "scheduler": EulerDiscreteScheduler(**SCHEDULER)}


def flux(_depth):
    return "FluxPipeline", "transformer", flux_transformer, {
        "vae": flow_vae(), "text_encoder": clip(CLIPTextModel, POOLED, "quick_gelu"), "tokenizer": clip_tokenizer(),
        "text_encoder_2": t5(), "tokenizer_2": t5_tokenizer(TOKENS), "scheduler": FlowMatchEulerDiscreteScheduler(shift=1.0)}


def z_image(_depth):
    return "ZImagePipeline", "transformer", z_image_transformer, {
        "vae": flow_vae(), "text_encoder": qwen(), "tokenizer": qwen_tokenizer(), "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0)}


FAMILIES = {"sdxl": sdxl, "flux": flux, "z-image": z_image}


def values(name, like, drawn):
    """Values for a tensor: norms near one, what is added near nothing."""
    if like.ndim > 1:
        return drawn * (0.7 / like[0].numel() ** 0.5)
    return drawn * 0.05 + (1.0 if name.endswith("weight") else 0.0)


def write_network(folder, build, precision):
    """Configuration and weights; never more than one tensor's worth in memory."""
    os.makedirs(folder)
    with torch.device("meta"):
        network = build()
    network.save_config(folder)
    tensors, (dtype, name_of_type) = network.state_dict(), TYPES[precision]
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, like in tensors.items():
        end = at + dtype.itemsize * like.numel()
        header[name] = {"dtype": name_of_type, "shape": list(like.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    drawn = torch.randn(DRAWN, generator=torch.Generator().manual_seed(0))
    with open(f"{folder}/diffusion_pytorch_model.safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for place, (name, like) in enumerate(tensors.items()):
            raw = values(name, like, drawn.roll(place * 4099)[:like.numel()]).to(dtype).view(torch.uint8).numpy()
            left = dtype.itemsize * like.numel()
            while left > 0:
                file.write(raw[:left])
                left -= len(raw)


def write(out, family, precision, depth):
    pipeline, network_name, build, parts = FAMILIES[family](depth)
    with torch.device("meta"):
        network_class = type(build()).__name__
    write_network(f"{out}/{network_name}", build, precision)
    index = {"_class_name": pipeline, "_diffusers_version": "0.0.0", network_name: ["diffusers", network_class]}
    for name, part in parts.items():
        if isinstance(part, torch.nn.Module):
            part.to(TYPES[precision][0])
        part.save_pretrained(f"{out}/{name}")
        index[name] = [type(part).__module__.split(".")[0], type(part).__name__]
    with open(f"{out}/model_index.json", "w") as file:
        json.dump(index, file)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", choices=FAMILIES)
    parser.add_argument("precision", choices=TYPES)
    parser.add_argument("out")
    parser.add_argument("--depth", type=int, default=10)
    options = parser.parse_args()
    partial = options.out + ".part"
    shutil.rmtree(partial, ignore_errors=True)
    torch.manual_seed(0)
    try:
        write(partial, options.family, options.precision, options.depth)
        os.rename(partial, options.out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


if __name__ == "__main__":
    main()
