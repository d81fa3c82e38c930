#!/usr/bin/env python3
"""Whole tiny models of the flow-matching families, and the pictures that diffusers' own pipelines paint with them.

    python flow_pictures.py OUT_DIR FAMILY          # FAMILY is flux, sd3 or z-image; tests/parity calls it for each

Writes a diffusers folder with vocabularies of its own, and `pictures.safetensors` with pictures and, under NAME.latent, what they
were decoded from; SD3's also without T5. The vocabularies are small: letters for T5, bytes for Qwen. Versions: torch 2.11, diffusers 0.42.1, transformers 5.23,
tokenizers 0.22. Everything runs in fp32 on the CPU.
"""
import importlib
import json
import os
import string
import sys
import warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.filterwarnings("ignore")
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, StableDiffusion3Pipeline, ZImagePipeline
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, PreTrainedTokenizerFast, Qwen3Config, Qwen3Model,
                          T5Config, T5EncoderModel)

from clip_tokens import tokenizer as clip_tokenizer
from dit_layout import build_vae
from painted import painted
from seeded import seeded

VOCAB = 49408
PROMPT, NEGATIVE, SEED, STEPS = "a full moon over the sea, oil on canvas", "blurry, low quality", 1234, 8
WIDTH, HEIGHT = 64, 96


def t5_tokenizer(length):
    """Unigram over single letters, framed as T5's: an end mark, padding 0."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0)]
    pieces += [(c, -3.0 - i / 100) for i, c in enumerate(string.ascii_letters + string.digits + ",.")]
    pieces += [("\u2581the", -4.0), ("\u2581a", -3.5), ("oon", -4.5)]
    inner = Tokenizer(models.Unigram(pieces, unk_id=2))
    inner.normalizer = normalizers.Sequence([normalizers.NFKC()])
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    inner.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=length)


TEMPLATE = ("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
            "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")


def qwen_tokenizer():
    """Byte pairs without any pair, with Qwen's marks."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    made = PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<|endoftext|>", eos_token="<|im_end|>", padding_side="left")
    made.chat_template = TEMPLATE
    return made


def clip(kind, width, act, seed):
    return seeded(lambda: kind(CLIPTextConfig(
        vocab_size=VOCAB, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=3, num_attention_heads=width // 64,
        max_position_embeddings=77, hidden_act=act, layer_norm_eps=1e-5, projection_dim=width,
        bos_token_id=VOCAB - 2, eos_token_id=VOCAB - 1, pad_token_id=VOCAB - 1)), seed)


def t5(width):
    return seeded(lambda: T5EncoderModel(T5Config(
        vocab_size=128, d_model=width, d_kv=64, d_ff=2 * width, num_layers=2, num_heads=2, feed_forward_proj="gated-gelu",
        tie_word_embeddings=False)), 41)


def qwen(width):
    return seeded(lambda: Qwen3Model(Qwen3Config(
        vocab_size=320, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=3, num_attention_heads=2,
        num_key_value_heads=1, head_dim=64, rope_theta=1e6)), 43)


def padded_with_zero():
    second = clip_tokenizer()
    second.pad_token = "!"
    return second


def flux(scripts):
    pipe = FluxPipeline(
        transformer=scripts.build(), vae=build_vae(0.3611, 0.1159), text_encoder=clip(CLIPTextModel, scripts.POOLED, "quick_gelu", 45),
        text_encoder_2=t5(scripts.CONTEXT), tokenizer=clip_tokenizer(), tokenizer_2=t5_tokenizer(512),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15))
    common = dict(prompt=PROMPT, num_inference_steps=STEPS, width=WIDTH, height=HEIGHT)
    return pipe, {"told": dict(common, guidance_scale=3.5),
                  "guided": dict(common, guidance_scale=2.0, true_cfg_scale=3.0, negative_prompt=NEGATIVE)}


def sd3(scripts):
    # Both CLIPs beside each other are as wide as 192; T5 is wider, as it is in life.
    scripts.CONTEXT = 256
    pipe = StableDiffusion3Pipeline(
        transformer=scripts.build(qk_norm="rms_norm", dual_attention_layers=(0, 1)), vae=build_vae(1.5305, 0.0609),
        text_encoder=clip(CLIPTextModelWithProjection, 64, "quick_gelu", 45),
        text_encoder_2=clip(CLIPTextModelWithProjection, 128, "gelu", 47), text_encoder_3=t5(256),
        tokenizer=clip_tokenizer(), tokenizer_2=padded_with_zero(), tokenizer_3=t5_tokenizer(256),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0))
    common = dict(prompt=PROMPT, negative_prompt=NEGATIVE, num_inference_steps=STEPS, width=WIDTH, height=HEIGHT)
    return pipe, {"plain": dict(common, guidance_scale=1.0), "guided": dict(common, guidance_scale=5.0)}


def without_t5(pipe):
    """The same model, whose T5 nobody has."""
    parts = {name: part for name, part in pipe.components.items() if name not in ("text_encoder_3", "tokenizer_3")}
    return StableDiffusion3Pipeline(**parts, text_encoder_3=None, tokenizer_3=None)


def z_image(scripts):
    pipe = ZImagePipeline(
        transformer=scripts.build(), vae=build_vae(0.3611, 0.1159), text_encoder=qwen(scripts.CONTEXT), tokenizer=qwen_tokenizer(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0))
    common = dict(prompt=PROMPT, num_inference_steps=STEPS, width=WIDTH, height=HEIGHT)
    return pipe, {"turbo": dict(common, guidance_scale=0.0), "guided": dict(common, guidance_scale=3.0, negative_prompt=NEGATIVE)}


@torch.no_grad()
def main():
    out, family = sys.argv[1:]
    os.makedirs(out, exist_ok=True)
    torch.set_num_threads(2)
    pipe, runs = {"flux": flux, "sd3": sd3, "z-image": z_image}[family](importlib.import_module(family))
    golden = {}
    # Flux hands out its latents cut into patches.
    unpacked = lambda latents: pipe._unpack_latents(latents, HEIGHT, WIDTH, pipe.vae_scale_factor)
    kinds = {"": pipe} | ({"without-t5-": without_t5(pipe)} if family == "sd3" else {})
    for kind, painter in kinds.items():
        painter.set_progress_bar_config(disable=True)
        for name, arguments in runs.items():
            run = kind + name
            golden[run], golden[f"{run}.latent"] = painted(painter, SEED, arguments, *[unpacked] * (family == "flux"))
    save_file({k: v.contiguous() for k, v in golden.items()}, f"{out}/pictures.safetensors")
    pipe.save_pretrained(f"{out}/folder")


if __name__ == "__main__":
    main()
