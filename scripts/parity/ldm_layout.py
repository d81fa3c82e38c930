#!/usr/bin/env python3
"""Turns diffusers / transformers state dicts into the single-file layout of Stable Diffusion 1.x
("LDM" names), for any number of levels and of resnets per level.

    unet_to_ldm(sd, layers_per_block)    vae_to_ldm(sd)    clip_to_ldm(sd)    clip_to_openclip(sd)
    single_file(unet, vae, text)         all three under their prefixes

Only names change, and the shape of the VAE's attention weights (1x1 convolutions in LDM files, linear
layers in diffusers). Versions: torch 2.11, diffusers 0.42.1, transformers 5.23, safetensors 0.8.

    python ldm_layout.py                 # self-check: convert back with diffusers' own converters
"""
import re

from torch import cat

UNET_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."
TEXT_PREFIX = "cond_stage_model.transformer."        # the keys after it start with text_model.

UNET_TOP = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2"}
UNET_RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0", "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}
BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)")
MIDDLE = re.compile(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)")


def _resnet(rest):
    part, end = rest.rsplit(".", 1)
    return f"{UNET_RESNET[part]}.{end}"


OPENCLIP = (
    ("text_model.embeddings.position_embedding.weight", "positional_embedding"), ("text_model.embeddings.token_embedding", "token_embedding"),
    ("text_model.encoder.layers.", "transformer.resblocks."), ("layer_norm1", "ln_1"), ("layer_norm2", "ln_2"),
    ("self_attn.out_proj", "attn.out_proj"), ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj"), ("text_model.final_layer_norm", "ln_final"))


def unet_to_ldm(sd, layers_per_block):
    """UNet2DConditionModel -> keys without prefix. A level has layers_per_block resnets going down and
    one more going up; attention may sit on any of the levels."""
    per = layers_per_block + 1
    up_attention = {m[2] for m in map(BLOCK.match, sd) if m and m[1] == "up" and m[3] == "attentions"}
    out = {}
    for key, value in sd.items():
        name, end = key.rsplit(".", 1)
        if name in UNET_TOP:
            new = f"{UNET_TOP[name]}.{end}"
        elif m := MIDDLE.match(key):
            new = f"middle_block.1.{m[3]}" if m[1] == "attentions" else f"middle_block.{2 * int(m[2])}.{_resnet(m[3])}"
        elif m := BLOCK.match(key):
            way, level, kind, j, rest = m[1], int(m[2]), m[3], int(m[4]), m[5]
            if kind == "downsamplers":                   # an input block of its own after the level's resnets
                new = f"input_blocks.{(level + 1) * per}.0.op.{end}"
            elif kind == "upsamplers":                   # the last layer of the level's last output block
                new = f"output_blocks.{level * per + layers_per_block}.{2 if m[2] in up_attention else 1}.conv.{end}"
            else:
                block = f"input_blocks.{1 + level * per + j}" if way == "down" else f"output_blocks.{level * per + j}"
                new = f"{block}.0.{_resnet(rest)}" if kind == "resnets" else f"{block}.1.{rest}"
        else:
            raise KeyError(f"not a UNet key: {key}")
        out[new] = value
    return out


def vae_to_ldm(sd):
    """AutoencoderKL -> keys without prefix. The decoder's levels are numbered the other way round."""
    last = max(int(m[1]) for m in (re.match(r"decoder\.up_blocks\.(\d+)\.", k) for k in sd) if m)
    rules = (
        (r"up_blocks\.(\d+)\.resnets\.", lambda m: f"up.{last - int(m[1])}.block."),
        (r"up_blocks\.(\d+)\.upsamplers\.0\.", lambda m: f"up.{last - int(m[1])}.upsample."),
        (r"down_blocks\.(\d+)\.resnets\.", r"down.\1.block."),
        (r"down_blocks\.(\d+)\.downsamplers\.0\.", r"down.\1.downsample."),
        (r"mid_block\.resnets\.(\d+)\.", lambda m: f"mid.block_{int(m[1]) + 1}."),
        (r"mid_block\.attentions\.0\.group_norm\.", "mid.attn_1.norm."),
        (r"mid_block\.attentions\.0\.to_out\.0\.", "mid.attn_1.proj_out."),
        (r"mid_block\.attentions\.0\.to_([qkv])\.", r"mid.attn_1.\1."),
        (r"conv_norm_out", "norm_out"), (r"conv_shortcut", "nin_shortcut"))
    out = {}
    for key, value in sd.items():
        for old, new in rules:
            key = re.sub(old, new, key)
        if ".attn_1." in key and value.ndim == 2:
            value = value[:, :, None, None]
        out[key] = value
    return out


def clip_to_ldm(sd):
    """CLIPTextModel -> keys that start with text_model. (newer transformers save them without it)."""
    out = {}
    for key, value in sd.items():
        if not key.endswith("position_ids"):
            out[key if key.startswith(("text_model.", "text_projection.")) else "text_model." + key] = value
    return out


def clip_to_openclip(sd):
    """CLIPTextModelWithProjection -> OpenCLIP's names, whose query, key and value are one matrix and whose projection is [in, out]."""
    hf, out = clip_to_ldm(sd), {}
    for key, value in hf.items():
        if key == "text_projection.weight":
            out["text_projection"] = value.T
        elif m := re.match(r"text_model\.encoder\.layers\.(\d+)\.self_attn\.q_proj\.(weight|bias)", key):
            joined = [hf[key.replace("q_proj", f"{part}_proj")] for part in "qkv"]
            out[f"transformer.resblocks.{m[1]}.attn.in_proj_{m[2]}"] = cat(joined)
        elif not re.search(r"self_attn\.[kv]_proj", key):
            for old, new in OPENCLIP:
                key = key.replace(old, new)
            out[key] = value
    return out


def single_file(unet, vae, text):
    """The three modules (or None) as one dict of contiguous tensors under the prefixes of an SD 1.x file."""
    out = {}
    if unet is not None:
        layers = unet.config.layers_per_block
        out |= {UNET_PREFIX + k: v for k, v in unet_to_ldm(unet.state_dict(), layers).items()}
    if vae is not None:
        out |= {VAE_PREFIX + k: v for k, v in vae_to_ldm(vae.state_dict()).items()}
    if text is not None:
        out |= {TEXT_PREFIX + k: v for k, v in clip_to_ldm(text.state_dict()).items()}
    return {k: v.detach().contiguous().clone() for k, v in out.items()}


def from_single_file(tensors, unet, vae, text):
    """The reverse: loads a single file's tensors into three modules of the right sizes, through the same
    name maps, so nothing but the sizes is assumed."""
    import torch
    want = single_file(unet, vae, text)
    if want.keys() != tensors.keys():
        raise KeyError(f"names differ: {sorted(want.keys() ^ tensors.keys())[:4]}")
    for prefix, module, to_ldm in (
            (UNET_PREFIX, unet, lambda sd: unet_to_ldm(sd, unet.config.layers_per_block)),
            (VAE_PREFIX, vae, vae_to_ldm), (TEXT_PREFIX, text, clip_to_ldm)):
        sd = module.state_dict()
        keys = list(sd)
        # send each tensor's number through the name map, to learn which old name a new one stands for
        numbers = to_ldm({k: torch.full([1] * sd[k].ndim, i) for i, k in enumerate(keys)})
        old = {new: keys[int(number)] for new, number in numbers.items()}
        module.load_state_dict({name: tensors[prefix + new].float().reshape(sd[name].shape) for new, name in old.items()})


def _self_check():
    import torch
    import diffusers.loaders.single_file_utils as library
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    def unet(widths, layers, attention):
        kinds = ["CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attention]
        return UNet2DConditionModel(
            sample_size=8, block_out_channels=widths, layers_per_block=layers, attention_head_dim=8, cross_attention_dim=64,
            down_block_types=kinds, up_block_types=[k.replace("Down", "Up") for k in reversed(kinds)])

    def vae(widths, layers):
        n = len(widths)
        return AutoencoderKL(block_out_channels=widths, layers_per_block=layers, latent_channels=4,
                             down_block_types=["DownEncoderBlock2D"] * n, up_block_types=["UpDecoderBlock2D"] * n)

    def same(a, b, what):
        assert a.keys() == b.keys(), (what, sorted(a.keys() ^ b.keys())[:6])
        assert all(torch.equal(a[k], b[k]) for k in a), what
        print(f"{what}: {len(a)} tensors come back unchanged")

    text = CLIPTextModel(CLIPTextConfig(vocab_size=100, hidden_size=64, intermediate_size=256, num_hidden_layers=3,
                                        num_attention_heads=1, bos_token_id=98, eos_token_id=99, pad_token_id=99))
    autoencoder = vae((32, 32, 64, 64), 1)
    for widths, layers, attention in (
            ((32, 64, 64, 64), 2, (1, 1, 1, 0)), ((64, 64, 64), 1, (1, 1, 1)), ((32, 64), 3, (0, 1)), ((32, 32, 64), 2, (0, 1, 1))):
        net = unet(widths, layers, attention)
        tensors = single_file(net, autoencoder, text)
        back = library.convert_ldm_unet_checkpoint(dict(tensors), dict(net.config))
        same(back, net.state_dict(), f"unet {widths} x{layers}, diffusers")
        fresh = unet(widths, layers, attention), vae((32, 32, 64, 64), 1), CLIPTextModel(text.config)
        from_single_file(tensors, *fresh)
        for new, old, what in zip(fresh, (net, autoencoder, text), ("unet", "vae", "text")):
            same(new.state_dict(), old.state_dict(), f"{what}, own reverse")
    for widths, layers in (((32, 32, 64, 64), 1), ((32, 64, 64, 64), 2), ((32, 64), 2)):
        net = vae(widths, layers)
        back = library.convert_ldm_vae_checkpoint(single_file(None, net, None), dict(net.config))
        same(back, net.state_dict(), f"vae {widths} x{layers}, diffusers")
    names = clip_to_ldm(text.state_dict())
    assert "text_model.encoder.layers.2.mlp.fc1.weight" in names and "text_model.final_layer_norm.bias" in names
    print(f"text: {len(names)} names as expected")


if __name__ == "__main__":
    _self_check()
