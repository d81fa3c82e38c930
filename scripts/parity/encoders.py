#!/usr/bin/env python3
"""Writes tiny random text encoders in every layout that perilune loads, and what transformers computes with them.

    python encoders.py OUT_DIR          # tests/parity calls it

Versions: torch 2.11, transformers 5.23, safetensors 0.8, gguf 0.19. Seeds are below; everything runs in fp32 on the CPU.
Freshly made norms are 1 and 0, which hides swapped weights, so every one-dimensional parameter is perturbed.
"""
import os
import re
import sys
import warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.filterwarnings("ignore")
import gguf
import torch
from safetensors.torch import save_file
from transformers import (CLIPTextConfig, CLIPTextModelWithProjection, Qwen3Config, Qwen3Model, T5Config, T5EncoderModel)

from seeded import seeded

VOCAB = 2000
BEGIN, END = VOCAB - 2, VOCAB - 1


def clip(width, act, pad, seed):
    # The projection is not square, so that a wrong transposition shows.
    return seeded(lambda: CLIPTextModelWithProjection(CLIPTextConfig(
        vocab_size=VOCAB, hidden_size=width, intermediate_size=4 * width, num_hidden_layers=3, num_attention_heads=width // 64,
        max_position_embeddings=77, hidden_act=act, layer_norm_eps=1e-5, projection_dim=width + 32,
        bos_token_id=BEGIN, eos_token_id=END, pad_token_id=pad)), seed)


def prefixed(state):
    """transformers' names with `text_model.`, whether this version writes it or not."""
    bare = ("embeddings.", "encoder.", "final_layer_norm.")
    return {("text_model." + k if k.startswith(bare) else k): v for k, v in state.items()}


LAYER = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "self_attn.out_proj": "attn.out_proj", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}
TOP = {"embeddings.position_embedding.weight": "positional_embedding", "embeddings.token_embedding.weight": "token_embedding.weight",
       "final_layer_norm.weight": "ln_final.weight", "final_layer_norm.bias": "ln_final.bias"}


def open_clip(state):
    """The same weights as OpenCLIP stores them: joined projections, and the last matrix the other way round."""
    out = {"text_projection": state["text_projection.weight"].T, "logit_scale": torch.tensor(4.6)}
    for key, value in state.items():
        name = key.removeprefix("text_model.")
        if name in TOP:
            out[TOP[name]] = value
        elif m := re.fullmatch(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)", name):
            layer, part, kind = m.groups()
            if part in LAYER:
                out[f"transformer.resblocks.{layer}.{LAYER[part]}.{kind}"] = value
            elif part == "self_attn.q_proj":
                joined = [state[key.replace("q_proj", f"{c}_proj")] for c in "qkv"]
                out[f"transformer.resblocks.{layer}.attn.in_proj_{kind}"] = torch.cat(joined)
    return out


def save(tensors, path):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    save_file({k: v.clone().contiguous() for k, v in tensors.items()}, path, {"format": "pt"})


def clip_tokens(pad, g):
    """A short text, and one that fills its window. Real windows hold one end mark, or ends as padding."""
    tokens = torch.randint(1, BEGIN, (2, 77), generator=g)
    tokens[:, 0], tokens[0, 9], tokens[0, 10:], tokens[1, 76] = BEGIN, END, pad, END
    return tokens


def write_clip(out, golden):
    models = {"clip_l": clip(64, "quick_gelu", END, 31), "clip_g": clip(128, "gelu", 0, 32)}
    g = torch.Generator().manual_seed(6)
    for name, model in models.items():
        tokens = clip_tokens(model.config.pad_token_id, g)
        theirs = model(tokens, output_hidden_states=True)
        unprojected = theirs.last_hidden_state[torch.arange(2), (tokens == END).int().argmax(1)]
        golden |= {f"{name}.tokens": tokens, f"{name}.last": theirs.last_hidden_state, f"{name}.penultimate": theirs.hidden_states[-2],
                   f"{name}.unprojected": unprojected, f"{name}.pooled": theirs.text_embeds}
        state = prefixed(model.state_dict())
        save(state | {"text_model.embeddings.position_ids": torch.arange(77)[None]}, f"{out}/{name}.safetensors")
        save({k.removeprefix("text_model."): v for k, v in state.items()}, f"{out}/{name}-bare.safetensors")
        save(open_clip(state), f"{out}/{name}-open.safetensors")
        model.save_pretrained(f"{out}/{name}")
    both = {f"conditioner.embedders.0.transformer.{k}": v for k, v in prefixed(models["clip_l"].state_dict()).items() if "text_proj" not in k}
    both |= {f"conditioner.embedders.1.model.{k}": v for k, v in open_clip(prefixed(models["clip_g"].state_dict())).items()}
    save(both, f"{out}/both.safetensors")


T5_NAMES = {"layer.0.SelfAttention.q": "attn_q", "layer.0.SelfAttention.k": "attn_k", "layer.0.SelfAttention.v": "attn_v",
            "layer.0.SelfAttention.o": "attn_o", "layer.0.SelfAttention.relative_attention_bias": "attn_rel_b", "layer.0.layer_norm": "attn_norm",
            "layer.1.DenseReluDense.wi_0": "ffn_gate", "layer.1.DenseReluDense.wi_1": "ffn_up", "layer.1.DenseReluDense.wo": "ffn_down",
            "layer.1.layer_norm": "ffn_norm"}
QWEN_NAMES = {"self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
              "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "input_layernorm": "attn_norm", "mlp.gate_proj": "ffn_gate",
              "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "post_attention_layernorm": "ffn_norm"}


def llama_names(state, top, block, ours, parts):
    out = {}
    for key, value in state.items():
        if key in top:
            out[top[key]] = value
        elif m := re.fullmatch(block + r"\.(\d+)\.(.+)\.weight", key):
            out[f"{ours}.{m[1]}.{parts[m[2]]}.weight"] = value
    return out


def save_gguf(path, arch, tensors, kind, values):
    """Returns the weights that the file then holds, under its names. As in real files, vectors stay as they are."""
    writer, held = gguf.GGUFWriter(path, arch), {}
    for add, key, value in values:
        getattr(writer, add)(key, value)
    for name, value in tensors.items():
        data = value.numpy().copy()
        if kind == gguf.GGMLQuantizationType.F32 or value.ndim == 1 or "rel_b" in name:
            writer.add_tensor(name, data)
            held[name] = value
        else:
            packed = gguf.quants.quantize(data, kind)
            writer.add_tensor(name, packed, raw_dtype=kind)
            held[name] = torch.from_numpy(gguf.quants.dequantize(packed, kind)).view_as(value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return held


def with_weights(model, state):
    model.load_state_dict(state, strict=False)
    return model


def write_t5(out, golden):
    build = lambda: T5EncoderModel(T5Config(
        vocab_size=VOCAB, d_model=256, d_kv=64, d_ff=512, num_layers=3, num_heads=3, relative_attention_num_buckets=32,
        relative_attention_max_distance=128, feed_forward_proj="gated-gelu", layer_norm_epsilon=1e-6, tie_word_embeddings=False))
    model = seeded(build, 41)
    # So long that the farthest classes of distances are met.
    tokens = torch.randint(2, VOCAB, (2, 300), generator=torch.Generator().manual_seed(7))
    tokens[0, 40], tokens[0, 41:] = 1, 0
    golden |= {"t5.tokens": tokens, "t5.last": model(tokens).last_hidden_state}
    state = model.state_dict()
    model.save_pretrained(f"{out}/t5")
    save(state, f"{out}/t5.safetensors")
    # A whole T5 also holds what decodes; and some hold the table under its second name.
    whole = {k: v for k, v in state.items() if k != "shared.weight"} | {"encoder.embed_tokens.weight": state["shared.weight"]}
    save(whole | {"decoder.block.0.layer.0.SelfAttention.q.weight": torch.zeros(2, 2), "lm_head.weight": torch.zeros(2, 2)}, f"{out}/t5-whole.safetensors")
    top = {"shared.weight": "token_embd.weight", "encoder.final_layer_norm.weight": "enc.output_norm.weight"}
    named = llama_names(state, top, r"encoder\.block", "enc.blk", T5_NAMES)
    save_gguf(f"{out}/t5.gguf", "t5encoder", named, gguf.GGMLQuantizationType.F32, [])
    back = llama_names({k: k for k in state}, top, r"encoder\.block", "enc.blk", T5_NAMES)
    save_gguf(f"{out}/t5-q4_0.gguf", "t5encoder", named, gguf.GGMLQuantizationType.Q4_0, [])
    held = save_gguf(f"{out}/t5-q8_0.gguf", "t5encoder", named, gguf.GGMLQuantizationType.Q8_0, [])
    held = {back[n]: v for n, v in held.items()}
    golden["t5-q8_0.last"] = with_weights(seeded(build, 41), held | {"encoder.embed_tokens.weight": held["shared.weight"]})(tokens).last_hidden_state
    # ComfyUI's scaled floats: a marker, and one scale a matrix.
    scaled, held = {"scaled_fp8": torch.empty(2, dtype=torch.float8_e4m3fn)}, {}
    for key, value in state.items():
        if value.ndim == 2 and "block" in key and "bias" not in key:
            scale = value.abs().max() / 448
            scaled[key] = (value / scale).to(torch.float8_e4m3fn)
            scaled[key.replace(".weight", ".scale_weight")] = scale[None]
            held[key] = scaled[key].float() * scale
        else:
            scaled[key] = held[key] = value
    save(scaled, f"{out}/t5-scaled.safetensors")
    golden["t5-scaled.last"] = with_weights(seeded(build, 41), held)(tokens).last_hidden_state
    save({k: v for k, v in scaled.items() if not k.endswith("scale_weight")}, f"{out}/bad-t5-unscaled.safetensors")
    save(state | {"encoder.block.1.layer.1.layer_norm.weight": torch.full((256,), float("nan"))}, f"{out}/bad-t5-nan.safetensors")
    save({f"lora_te1_text_model_encoder_layers_0_mlp_fc1.{end}.weight": torch.zeros(4, 4) for end in ("lora_up", "lora_down")}, f"{out}/bad-lora.safetensors")


def write_qwen(out, golden):
    def build(theta):
        return seeded(lambda: Qwen3Model(Qwen3Config(
            vocab_size=VOCAB, hidden_size=256, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
            head_dim=128, rms_norm_eps=1e-6, max_position_embeddings=1024, rope_parameters={"rope_type": "default", "rope_theta": theta})), 51)
    tokens = torch.randint(0, VOCAB, (1, 200), generator=torch.Generator().manual_seed(8))
    golden["qwen.tokens"] = tokens
    second_last = lambda model: model(tokens, output_hidden_states=True).hidden_states[-2]
    for theta, name in ((1e6, "qwen"), (5e6, "qwen-vl"), (250e3, "qwen-said")):
        golden[f"{name}.penultimate"] = second_last(build(theta))
    model = build(1e6)
    state = model.state_dict()
    model.save_pretrained(f"{out}/qwen")
    save({f"model.{k}": v for k, v in state.items()} | {"lm_head.weight": torch.zeros(2, 2)}, f"{out}/qwen.safetensors")
    save({f"model.language_model.{k}": v for k, v in state.items()} | {"model.visual.x": torch.zeros(2)}, f"{out}/qwen-vl.safetensors")
    build(250e3).save_pretrained(f"{out}/qwen-said")
    top = {"embed_tokens.weight": "token_embd.weight", "norm.weight": "output_norm.weight"}
    named = llama_names(state, top, "layers", "blk", QWEN_NAMES)
    for end, theta, kind in (("", 250e3, gguf.GGMLQuantizationType.F32), ("-q8_0", 1e6, gguf.GGMLQuantizationType.Q8_0)):
        held = save_gguf(f"{out}/qwen{end}.gguf", "qwen3", named, kind, [("add_float32", "qwen3.rope.freq_base", theta)])
    back = llama_names({k: k for k in state}, top, "layers", "blk", QWEN_NAMES)
    golden["qwen-q8_0.penultimate"] = second_last(with_weights(build(1e6), {back[n]: v for n, v in held.items()}))


@torch.no_grad()
def main():
    out = sys.argv[1]
    os.makedirs(out, exist_ok=True)
    torch.set_num_threads(2)
    golden = {}
    write_clip(out, golden)
    write_t5(out, golden)
    write_qwen(out, golden)
    save(golden, f"{out}/golden.safetensors")


if __name__ == "__main__":
    main()
