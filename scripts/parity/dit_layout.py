#!/usr/bin/env python3
"""The diffusion transformers in the layouts of their makers, and what their reference scripts share.

    flux_to_original(sd)  sd3_to_original(sd)  zimage_to_original(sd)    diffusers' names -> the makers', without prefix
    build_vae(scale, shift)   an autoencoder of 16 channels without quantising convolutions
    write_layouts(out, family, network, vae, original)   folder, single file, split file, and both halves of precision
    write_sdnq(out, build)    the same network as SDNQ stores it, in folders; what is left of it, by the folder's name

The makers join queries, keys and values by rows, and keep shift before scale in the last modulation, where diffusers keeps
scale first. Versions: torch 2.11, diffusers 0.42.1, safetensors 0.8, sdnq 0.2.8.

    python dit_layout.py                 # self-check: convert back with diffusers' own converters
"""
import json
import re

import torch
from safetensors.torch import save_file

from seeded import seeded

PREFIX = "model.diffusion_model."


def _swapped(tensor):
    first, second = tensor.chunk(2, 0)
    return torch.cat([second, first])


def _renamed(name, table):
    for theirs, ours in table.items():
        if name.startswith(theirs + "."):
            return ours + name[len(theirs):]
    return None


def _joined(sd, names):
    return torch.cat([sd[name] for name in names])


FLUX_TOP = {
    "x_embedder": "img_in", "context_embedder": "txt_in", "proj_out": "final_layer.linear",
    "norm_out.linear": "final_layer.adaLN_modulation.1",
    "time_text_embed.timestep_embedder.linear_1": "time_in.in_layer",
    "time_text_embed.timestep_embedder.linear_2": "time_in.out_layer",
    "time_text_embed.text_embedder.linear_1": "vector_in.in_layer",
    "time_text_embed.text_embedder.linear_2": "vector_in.out_layer",
    "time_text_embed.guidance_embedder.linear_1": "guidance_in.in_layer",
    "time_text_embed.guidance_embedder.linear_2": "guidance_in.out_layer"}
FLUX_DOUBLE = {
    "norm1.linear": "img_mod.lin", "norm1_context.linear": "txt_mod.lin",
    "attn.to_out.0": "img_attn.proj", "attn.to_add_out": "txt_attn.proj",
    "attn.norm_q": "img_attn.norm.query_norm", "attn.norm_k": "img_attn.norm.key_norm",
    "attn.norm_added_q": "txt_attn.norm.query_norm", "attn.norm_added_k": "txt_attn.norm.key_norm",
    "ff.net.0.proj": "img_mlp.0", "ff.net.2": "img_mlp.2", "ff_context.net.0.proj": "txt_mlp.0", "ff_context.net.2": "txt_mlp.2"}
FLUX_SINGLE = {
    "norm.linear": "modulation.lin", "proj_out": "linear2", "attn.norm_q": "norm.query_norm", "attn.norm_k": "norm.key_norm"}
OWN, ADDED = ("attn.to_q", "attn.to_k", "attn.to_v"), ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj")


def flux_to_original(sd):
    """FluxTransformer2DModel -> `double_blocks`, `single_blocks` and what is around them."""
    out = {}
    for name, tensor in sd.items():
        if m := re.match(r"transformer_blocks\.(\d+)\.(.+)", name):
            at, rest = f"double_blocks.{m[1]}.", _renamed(m[2], FLUX_DOUBLE)
            for stream, parts in (("img", OWN), ("txt", ADDED)):
                if (end := m[2].removeprefix(parts[0])) != m[2]:
                    out[f"{at}{stream}_attn.qkv{end}"] = _joined(sd, [f"transformer_blocks.{m[1]}.{p}{end}" for p in parts])
        elif m := re.match(r"single_transformer_blocks\.(\d+)\.(.+)", name):
            at, rest = f"single_blocks.{m[1]}.", _renamed(m[2], FLUX_SINGLE)
            if (end := m[2].removeprefix(OWN[0])) != m[2]:
                out[f"{at}linear1{end}"] = _joined(sd, [f"single_transformer_blocks.{m[1]}.{p}{end}" for p in (*OWN, "proj_mlp")])
        else:
            at, rest = "", _renamed(name, FLUX_TOP)
            if name.startswith("norm_out"):
                tensor = _swapped(tensor)
        if rest:
            out[re.sub(r"_norm\.weight$", "_norm.scale", at + rest)] = tensor
    return out


SD3_TOP = {
    "pos_embed.proj": "x_embedder.proj", "context_embedder": "context_embedder", "proj_out": "final_layer.linear",
    "norm_out.linear": "final_layer.adaLN_modulation.1",
    "time_text_embed.timestep_embedder.linear_1": "t_embedder.mlp.0",
    "time_text_embed.timestep_embedder.linear_2": "t_embedder.mlp.2",
    "time_text_embed.text_embedder.linear_1": "y_embedder.mlp.0",
    "time_text_embed.text_embedder.linear_2": "y_embedder.mlp.2"}
SD3_BLOCK = {
    "norm1.linear": "x_block.adaLN_modulation.1", "norm1_context.linear": "context_block.adaLN_modulation.1",
    "attn.to_out.0": "x_block.attn.proj", "attn.to_add_out": "context_block.attn.proj", "attn2.to_out.0": "x_block.attn2.proj",
    "attn.norm_q": "x_block.attn.ln_q", "attn.norm_k": "x_block.attn.ln_k",
    "attn.norm_added_q": "context_block.attn.ln_q", "attn.norm_added_k": "context_block.attn.ln_k",
    "attn2.norm_q": "x_block.attn2.ln_q", "attn2.norm_k": "x_block.attn2.ln_k",
    "ff.net.0.proj": "x_block.mlp.fc1", "ff.net.2": "x_block.mlp.fc2",
    "ff_context.net.0.proj": "context_block.mlp.fc1", "ff_context.net.2": "context_block.mlp.fc2"}
SECOND = ("attn2.to_q", "attn2.to_k", "attn2.to_v")


def sd3_to_original(sd):
    """SD3Transformer2DModel -> `joint_blocks` and what is around them."""
    last = max(int(m[1]) for m in (re.match(r"transformer_blocks\.(\d+)\.", k) for k in sd) if m)
    out = {}
    for name, tensor in sd.items():
        if m := re.match(r"transformer_blocks\.(\d+)\.(.+)", name):
            at = f"joint_blocks.{m[1]}."
            if rest := _renamed(m[2], SD3_BLOCK):
                is_last = int(m[1]) == last and m[2].startswith("norm1_context")
                out[at + rest] = _swapped(tensor) if is_last else tensor
            for place, parts in (("x_block.attn", OWN), ("context_block.attn", ADDED), ("x_block.attn2", SECOND)):
                if (end := m[2].removeprefix(parts[0])) != m[2]:
                    out[f"{at}{place}.qkv{end}"] = _joined(sd, [f"transformer_blocks.{m[1]}.{p}{end}" for p in parts])
        elif name == "pos_embed.pos_embed":
            out["pos_embed"] = tensor
        else:
            out[_renamed(name, SD3_TOP)] = _swapped(tensor) if name.startswith("norm_out") else tensor
    return out


def zimage_to_original(sd):
    """ZImageTransformer2DModel -> the names of Z-Image's own repository, with its joined queries, keys and values."""
    rules = (("all_final_layer.2-1.", "final_layer."), ("all_x_embedder.2-1.", "x_embedder."), (".attention.to_out.0.", ".attention.out."),
             (".attention.norm_q.", ".attention.q_norm."), (".attention.norm_k.", ".attention.k_norm."))
    out = {}
    for name, tensor in sd.items():
        if m := re.match(r"(.+\.attention)\.to_([qkv])\.weight", name):
            if m[2] == "q":
                out[f"{m[1]}.qkv.weight"] = _joined(sd, [f"{m[1]}.to_{part}.weight" for part in "qkv"])
            continue
        for theirs, ours in rules:
            name = name.replace(theirs, ours)
        out[name] = tensor
    return out


def build_vae(scale, shift):
    from diffusers import AutoencoderKL
    return seeded(lambda: AutoencoderKL(
        block_out_channels=(32, 32, 64, 64), layers_per_block=1, latent_channels=16, norm_num_groups=32, sample_size=64,
        scaling_factor=scale, shift_factor=shift, use_quant_conv=False, use_post_quant_conv=False,
        down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4), 17)


def write_split(path, original, dtype=torch.float32):
    save_file({name: tensor.to(dtype).contiguous().clone() for name, tensor in original.items()}, path, {"format": "pt"})


def write_layouts(out, family, network, vae, original, pipeline):
    """`folder`, `{family}.safetensors` with everything, `split.safetensors` and its halves."""
    from ldm_layout import vae_to_ldm
    vae_prefix = "first_stage_model." if family == "sd3" else "vae."
    whole = {PREFIX + k: v for k, v in original.items()} | {vae_prefix + k: v for k, v in vae_to_ldm(vae.state_dict()).items()}
    write_split(f"{out}/{family}.safetensors", whole)
    write_split(f"{out}/split.safetensors", original)
    for name, dtype in (("fp16", torch.float16), ("bf16", torch.bfloat16)):
        write_split(f"{out}/split-{name}.safetensors", original, dtype)
    network.save_pretrained(f"{out}/folder/transformer")
    vae.save_pretrained(f"{out}/folder/vae")
    write_index(f"{out}/folder", {"_class_name": pipeline, "transformer": ["diffusers", type(network).__name__],
                                  "vae": ["diffusers", "AutoencoderKL"], "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"]})


def write_index(folder, index):
    with open(f"{folder}/model_index.json", "w") as f:
        json.dump(index, f)


# As the published folders are: integers with their extents exchanged for quantised products, groups of four bits, and a part of
# low rank beside integers.
SDNQ = {
    "sdnq-int8": dict(weights_dtype="int8", use_quantized_matmul=True),
    "sdnq-uint4": dict(weights_dtype="uint4"),
    "sdnq-int8-svd": dict(weights_dtype="int8", use_svd=True, svd_rank=8)}


def write_sdnq(out, build):
    from sdnq import sdnq_post_load_quant
    from sdnq.dequantizer import dequantize_sdnq_model
    from sdnq.loader import save_sdnq_model
    made = {}
    for name, config in SDNQ.items():
        network = sdnq_post_load_quant(build(), torch_dtype=torch.float32, **config)
        save_sdnq_model(network, f"{out}/{name}/transformer", is_pipeline=False)
        write_index(f"{out}/{name}", {"transformer": ["diffusers", type(network).__name__]})
        made[name] = dequantize_sdnq_model(network).eval().float()
    return made


def padded(x):
    """A latent with even sides, continued from its other side."""
    height, width = x.shape[-2:]
    return torch.nn.functional.pad(x, (0, width % 2, 0, height % 2), mode="circular")


def _self_check():
    import diffusers.loaders.single_file_utils as library
    from diffusers import SD3Transformer2DModel, ZImageTransformer2DModel

    def same(back, network, what):
        sd = network.state_dict()
        assert back.keys() == sd.keys(), (what, sorted(back.keys() ^ sd.keys())[:6])
        assert all(torch.equal(back[k], sd[k]) for k in sd), what
        print(f"{what}: {len(sd)} tensors come back unchanged")

    sd3 = dict(sample_size=8, patch_size=2, in_channels=16, num_layers=3, attention_head_dim=64, num_attention_heads=2, out_channels=16,
               joint_attention_dim=64, caption_projection_dim=128, pooled_projection_dim=64, pos_embed_max_size=12)
    for kind, more in (("medium", {}), ("3.5-medium", dict(qk_norm="rms_norm", dual_attention_layers=(0, 1)))):
        network = seeded(lambda: SD3Transformer2DModel(**sd3, **more), 1)
        original = sd3_to_original(network.state_dict())
        same(library.convert_sd3_transformer_checkpoint_to_diffusers(dict(original)), network, f"sd3 {kind}, diffusers")
    network = seeded(lambda: ZImageTransformer2DModel(
        in_channels=16, dim=256, n_layers=2, n_refiner_layers=1, n_heads=2, n_kv_heads=2, cap_feat_dim=64, axes_lens=[64, 64, 64]), 1)
    original = zimage_to_original(network.state_dict())
    same(library.convert_z_image_transformer_checkpoint_to_diffusers(dict(original)), network, "z-image, diffusers")
    # diffusers' converter of Flux knows one width only; flux.py compares what black-forest-labs' layout computes.


if __name__ == "__main__":
    _self_check()
