#!/usr/bin/env python3
"""The three parts of moonlet: sizes, building, text to ids, export to one file and back, sampling.

Everything has Stable Diffusion 1.x structure (1x1 convolution before and after each transformer, 8 heads
on every level, eps prediction, CLIP-L text encoder with quick_gelu, f=8 z=4 autoencoder with quant
convolutions), only smaller. Versions: torch 2.11 CPU, diffusers 0.42.1, transformers 5.23.
"""
import os
import sys
import warnings
os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.filterwarnings("ignore")
import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel
import tokens
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "parity"))
from ldm_layout import TEXT_PREFIX, from_single_file, single_file

FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "moonlet.safetensors")
SCALE = 0.18215
EMBEDDING = TEXT_PREFIX + "text_model.embeddings.token_embedding.weight"
DESCRIPTION = ("A toy text-to-image model of moonlit landscapes, 64x64 pixels, trained from scratch on procedural "
               "drawings only. Words: moon phase (new, crescent, half, full), sky colour (black, blue, purple, green, red, "
               "orange), landscape (sea, mountains, desert, forest, city), palette (warm, cool, muted, neon).")


def build_vae():
    widths = (32, 32, 64, 64)
    return AutoencoderKL(
        block_out_channels=widths, layers_per_block=1, latent_channels=4, norm_num_groups=32, sample_size=64,
        scaling_factor=SCALE, down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4)


def build_unet():
    return UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, block_out_channels=(64, 64, 64), layers_per_block=1,
        attention_head_dim=8, cross_attention_dim=64, norm_num_groups=32,       # 8 means eight heads here
        down_block_types=["CrossAttnDownBlock2D"] * 3, up_block_types=["CrossAttnUpBlock2D"] * 3)


def build_text(vocab=tokens.VOCAB):
    return CLIPTextModel(CLIPTextConfig(
        vocab_size=vocab, hidden_size=64, intermediate_size=256, num_hidden_layers=3, num_attention_heads=1,
        max_position_embeddings=tokens.LENGTH, hidden_act="quick_gelu", layer_norm_eps=1e-5, projection_dim=64,
        bos_token_id=vocab - 2, eos_token_id=vocab - 1, pad_token_id=vocab - 1))


def alphas_cumprod():
    betas = torch.linspace(0.00085 ** 0.5, 0.012 ** 0.5, 1000, dtype=torch.float64) ** 2
    return torch.cumprod(1 - betas, 0)


class ShortVocabulary:
    """Training uses one row per known id and one row shared by all other ids ("unknown"): ids that no
    caption contains would otherwise keep random vectors and disturb. expand() makes the full table."""

    def __init__(self):
        self.row = {real: i for i, real in enumerate(tokens.known())}
        self.unknown = len(self.row)
        self.size = self.unknown + 1

    def ids(self, text):
        return [self.row.get(i, self.unknown) for i in tokens.encode(text)]

    def frame(self, ids):
        begin, end = self.row[tokens.BOS], self.row[tokens.EOS]
        ids = [begin, *ids[:tokens.LENGTH - 2], end]
        return ids + [end] * (tokens.LENGTH - len(ids))

    def expand(self, table):
        full = table[self.unknown].repeat(tokens.VOCAB, 1)
        full[list(self.row)] = table[list(self.row.values())]
        return full


def export(path, unet, vae, text, vocabulary):
    """fp16 single file. `text` is the model with the short vocabulary."""
    out = single_file(unet, vae, text)
    out[EMBEDDING] = vocabulary.expand(out[EMBEDDING])
    out = {k: v.half().contiguous() for k, v in out.items()}
    assert all(torch.isfinite(v).all() for v in out.values())
    save_file(out, path + ".new", {
        "format": "pt", "modelspec.sai_model_spec": "1.0.0", "modelspec.architecture": "stable-diffusion-v1",
        "modelspec.title": "moonlet", "modelspec.description": DESCRIPTION, "modelspec.resolution": "64x64",
        "modelspec.prediction_type": "epsilon", "modelspec.license": "MIT OR Apache-2.0"})
    os.chmod(path + ".new", 0o644)
    os.replace(path + ".new", path)


def load(path=FILE):
    """(unet, vae, text) in fp32 from the exported file."""
    parts = build_unet().eval(), build_vae().eval(), build_text().eval()
    from_single_file(load_file(path), *parts)
    return parts


@torch.no_grad()
def sample(unet, text, ids, seeds, steps=20, cfg=5.0, empty=None):
    """Latents for framed id rows: DPM++ 2M, Karras spacing, start noise from a CPU generator per seed."""
    context = text(torch.tensor(ids)).last_hidden_state
    nothing = text(torch.tensor([empty or tokens.frame([])])).last_hidden_state.expand_as(context)
    both = torch.cat([nothing, context])
    plan = DPMSolverMultistepScheduler(
        num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
        algorithm_type="dpmsolver++", solver_order=2, use_karras_sigmas=True, timestep_spacing="linspace")
    plan.set_timesteps(steps)
    x = torch.cat([torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(s)) for s in seeds])
    for t in plan.timesteps:
        u, c = unet(torch.cat([x, x]), t, both).sample.chunk(2)
        x = plan.step(u + cfg * (c - u), t, x).prev_sample
    return x


@torch.no_grad()
def decode(vae, latents):
    """uint8 pictures (n,64,64,3)."""
    y = torch.cat([vae.decode(part / SCALE).sample for part in torch.split(latents, 32)])
    return ((y / 2 + 0.5).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
