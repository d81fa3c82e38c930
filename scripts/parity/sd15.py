#!/usr/bin/env python3
"""Writes a tiny random Stable Diffusion 1.5 in every layout that perilune loads, and what diffusers and
transformers compute with it.

    python sd15.py OUT_DIR          # about 15 s; tests/parity calls it

Versions: torch 2.11, diffusers 0.42.1, transformers 5.23, safetensors 0.8. Seeds are below; everything
runs in fp32 on the CPU. Freshly made norms are 1 and 0, which hides swapped weights, so every
one-dimensional parameter is perturbed.
"""
import json
import os
import sys
import warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.filterwarnings("ignore")
import torch
import numpy
from diffusers import (AutoencoderKL, DPMSolverMultistepScheduler, EulerDiscreteScheduler, StableDiffusionImg2ImgPipeline,
                       StableDiffusionPipeline, UNet2DConditionModel)
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

from ldm_layout import TEXT_PREFIX, UNET_PREFIX, VAE_PREFIX, single_file
from seeded import seeded

VOCAB, WIDTH = 49408, 64


def build_text():
    return seeded(lambda: CLIPTextModel(CLIPTextConfig(
        vocab_size=VOCAB, hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_hidden_layers=3, num_attention_heads=1,
        max_position_embeddings=77, hidden_act="quick_gelu", layer_norm_eps=1e-5, projection_dim=WIDTH,
        bos_token_id=VOCAB - 2, eos_token_id=VOCAB - 1, pad_token_id=VOCAB - 1)), 11)


def build_vae():
    return seeded(lambda: AutoencoderKL(
        block_out_channels=(32, 32, 64, 64), layers_per_block=2, latent_channels=4, norm_num_groups=32, sample_size=64,
        scaling_factor=0.18215, down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4), 17)


def build_unet(in_channels=4):
    return seeded(lambda: UNet2DConditionModel(
        sample_size=8, in_channels=in_channels, out_channels=4, block_out_channels=(32, 64, 64, 64), layers_per_block=2,
        attention_head_dim=8, cross_attention_dim=WIDTH, norm_num_groups=32,
        down_block_types=["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
        up_block_types=["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3), 21)


def write_layouts(out, unet, vae, text):
    whole = single_file(unet, vae, text)
    # Left-overs that real files carry and no loader may trip over.
    extra = {TEXT_PREFIX + "text_model.embeddings.position_ids": torch.arange(77)[None], "alphas_cumprod": torch.rand(1000)}
    save_file(whole | extra, f"{out}/sd15.safetensors", {"format": "pt"})
    for name, dtype in (("fp16", torch.float16), ("bf16", torch.bfloat16)):
        save_file({k: v.to(dtype) for k, v in whole.items()}, f"{out}/sd15-{name}.safetensors", {"format": "pt"})
    for prefix, name in ((UNET_PREFIX, "unet"), (VAE_PREFIX, "vae"), (TEXT_PREFIX, "clip")):
        save_file({k[len(prefix):]: v for k, v in whole.items() if k.startswith(prefix)}, f"{out}/split-{name}.safetensors")
    index = {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"],
             "vae": ["diffusers", "AutoencoderKL"], "text_encoder": ["transformers", "CLIPTextModel"],
             "scheduler": ["diffusers", "PNDMScheduler"], "tokenizer": ["transformers", "CLIPTokenizer"]}
    for folder, shard in (("folder", "10GB"), ("sharded", "4MB")):
        for part, module in (("unet", unet), ("vae", vae), ("text_encoder", text)):
            module.save_pretrained(f"{out}/{folder}/{part}", max_shard_size=shard)
        with open(f"{out}/{folder}/model_index.json", "w") as f:
            json.dump(index, f)


@torch.no_grad()
def write_golden(out, unet, vae, text):
    g = torch.Generator().manual_seed(5)
    rand = lambda *size: torch.randn(size, generator=g)
    golden = {}
    tokens = torch.randint(0, VOCAB - 2, (2, 77), generator=g)
    tokens[:, 0], tokens[0, 9:], tokens[1, 76] = VOCAB - 2, VOCAB - 1, VOCAB - 1
    golden["text.tokens"], golden["text.hidden"] = tokens, text(tokens).last_hidden_state
    # The second picture's sides are odd on every level, so that upsampling must follow the skips.
    for name, batch, height, width, time, length in (("a", 2, 16, 16, 999.0, 77), ("b", 1, 9, 11, 371.5, 154)):
        x, context = rand(batch, 4, height, width), rand(batch, length, WIDTH)
        golden[f"unet.{name}.x"], golden[f"unet.{name}.context"], golden[f"unet.{name}.time"] = x, context, torch.tensor([time])
        golden[f"unet.{name}.out"] = unet(x, torch.tensor([time] * batch), context).sample
    picture, latent = rand(2, 3, 64, 48).clamp(-1, 1), rand(2, 4, 8, 6)
    golden["vae.picture"], golden["vae.mean"] = picture, vae.encode(picture).latent_dist.mean
    golden["vae.latent"], golden["vae.decoded"] = latent, vae.decode(latent).sample
    save_file({k: v.contiguous() for k, v in golden.items()}, f"{out}/golden.safetensors")


PROMPT, NEGATIVE, SEED = "a full moon over the sea, oil on canvas", "blurry, low quality", 1234
SD = dict(num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing="linspace")


def schedulers(prediction):
    """Ours by name to theirs. Other pairs of solver and schedule are compared number by number in samplers.py."""
    euler = lambda **kw: EulerDiscreteScheduler(**SD, prediction_type=prediction, **kw)
    return {
        "euler-normal": euler(),
        "euler-karras": euler(use_karras_sigmas=True),
        "euler-exponential": euler(use_exponential_sigmas=True),
        "dpmpp_2m-karras": DPMSolverMultistepScheduler(
            **SD, prediction_type=prediction, algorithm_type="dpmsolver++", solver_order=2, solver_type="midpoint",
            use_karras_sigmas=True, final_sigmas_type="zero"),
    }


def write_pictures(out, unet, vae, text):
    """What diffusers' own pipelines paint: whole pictures, from words to bytes."""
    from clip_tokens import tokenizer
    parts = dict(vae=vae, text_encoder=text, tokenizer=tokenizer(), unet=unet, safety_checker=None, feature_extractor=None,
                 requires_safety_checker=False)
    common = dict(prompt=PROMPT, negative_prompt=NEGATIVE, guidance_scale=7.0, output_type="np")
    seeded = lambda: torch.Generator().manual_seed(SEED)
    golden = {}
    for prediction, names in (("epsilon", None), ("v_prediction", ("euler-normal", "euler-karras"))):
        for name, scheduler in schedulers(prediction).items():
            if names and name not in names:
                continue
            pipe = StableDiffusionPipeline(scheduler=scheduler, **parts)
            pipe.set_progress_bar_config(disable=True)
            picture = pipe(**common, num_inference_steps=12, width=64, height=96, generator=seeded()).images[0]
            golden[f"{prediction}.{name}"] = torch.from_numpy((picture * 255).round().astype(numpy.uint8))
    # Their strength 0.5 of 12 steps walks the last 6 levels, as our denoise 0.5 of 6 steps does. Their pipeline
    # samples the autoencoder's output; given a latent it takes that, so both start from the mean.
    g = torch.Generator().manual_seed(99)
    picture = (torch.rand((96, 64, 3), generator=g) * 255).round().to(torch.uint8)
    golden["start.picture"] = picture
    mean = vae.encode((picture.float() / 127.5 - 1).permute(2, 0, 1)[None]).latent_dist.mean
    pipe = StableDiffusionImg2ImgPipeline(scheduler=schedulers("epsilon")["euler-normal"], **parts)
    pipe.set_progress_bar_config(disable=True)
    painted = pipe(**common, image=mean * 0.18215, strength=0.5, num_inference_steps=12, generator=seeded()).images[0]
    golden["img2img"] = torch.from_numpy((painted * 255).round().astype(numpy.uint8))
    save_file({k: v.contiguous() for k, v in golden.items()}, f"{out}/pictures.safetensors")


def main():
    out = sys.argv[1]
    os.makedirs(out, exist_ok=True)
    torch.set_num_threads(2)
    unet, vae, text = build_unet(), build_vae(), build_text()
    write_layouts(out, unet, vae, text)
    write_golden(out, unet, vae, text)
    with torch.no_grad():
        write_pictures(out, unet, vae, text)
    save_file(single_file(build_unet(9), vae, text), f"{out}/sd15-inpaint.safetensors", {"format": "pt"})


if __name__ == "__main__":
    main()
