"""Names and shapes of real models, and sparse files that have their headers: for measuring, not for pictures.

Sizes are those of the published configurations of each model; nothing is imported, so that a list of files is made in a
moment. A file is as long as the real one and takes only its header on the disk.
"""
import json
import struct

BYTES = {"F32": 4, "F16": 2, "BF16": 2}


def linear(name, rows, columns, bias=True):
    yield f"{name}.weight", [rows, columns]
    if bias:
        yield f"{name}.bias", [rows]


def norm(name, width):
    yield f"{name}.weight", [width]
    yield f"{name}.bias", [width]


def conv(name, rows, columns, side=3):
    yield f"{name}.weight", [rows, columns, side, side]
    yield f"{name}.bias", [rows]


def under(prefix, tensors):
    for name, shape in tensors:
        yield prefix + name, shape


# --- UNets of Stable Diffusion 1 and XL: CompVis ldm/modules/diffusionmodules/openaimodel.py

def unet_resnet(name, rows, columns, embedding):
    yield from norm(f"{name}.in_layers.0", columns)
    yield from conv(f"{name}.in_layers.2", rows, columns)
    yield from linear(f"{name}.emb_layers.1", rows, embedding)
    yield from norm(f"{name}.out_layers.0", rows)
    yield from conv(f"{name}.out_layers.3", rows, rows)
    if rows != columns:
        yield from conv(f"{name}.skip_connection", rows, columns, 1)


def unet_transformer(name, width, depth, context, is_linear):
    yield from norm(f"{name}.norm", width)
    yield from linear(f"{name}.proj_in", width, width) if is_linear else conv(f"{name}.proj_in", width, width, 1)
    for layer in range(depth):
        block = f"{name}.transformer_blocks.{layer}"
        for attention, of in (("attn1", width), ("attn2", context)):
            yield from linear(f"{block}.{attention}.to_q", width, width, False)
            yield from linear(f"{block}.{attention}.to_k", width, of, False)
            yield from linear(f"{block}.{attention}.to_v", width, of, False)
            yield from linear(f"{block}.{attention}.to_out.0", width, width)
        yield from linear(f"{block}.ff.net.0.proj", 8 * width, width)
        yield from linear(f"{block}.ff.net.2", width, 4 * width)
        for number in (1, 2, 3):
            yield from norm(f"{block}.norm{number}", width)
    yield from linear(f"{name}.proj_out", width, width) if is_linear else conv(f"{name}.proj_out", width, width, 1)


def unet(multiples, depths, middle, context, vector, is_linear):
    width, embedding = 320, 1280
    yield from linear("time_embed.0", embedding, width)
    yield from linear("time_embed.2", embedding, embedding)
    if vector:
        yield from linear("label_emb.0.0", embedding, vector)
        yield from linear("label_emb.0.2", embedding, embedding)
    yield from conv("input_blocks.0.0", width, 4)
    at, now, skips = 1, width, [width]
    for level, multiple in enumerate(multiples):
        for _ in range(2):
            yield from unet_resnet(f"input_blocks.{at}.0", multiple * width, now, embedding)
            now = multiple * width
            if depths[level]:
                yield from unet_transformer(f"input_blocks.{at}.1", now, depths[level], context, is_linear)
            skips.append(now)
            at += 1
        if level + 1 < len(multiples):
            yield from conv(f"input_blocks.{at}.0.op", now, now)
            skips.append(now)
            at += 1
    yield from unet_resnet("middle_block.0", now, now, embedding)
    yield from unet_transformer("middle_block.1", now, middle, context, is_linear)
    yield from unet_resnet("middle_block.2", now, now, embedding)
    at = 0
    for level, multiple in reversed(list(enumerate(multiples))):
        for place in range(3):
            yield from unet_resnet(f"output_blocks.{at}.0", multiple * width, now + skips.pop(), embedding)
            now = multiple * width
            if depths[level]:
                yield from unet_transformer(f"output_blocks.{at}.1", now, depths[level], context, is_linear)
            if place == 2 and level:
                yield from conv(f"output_blocks.{at}.{2 if depths[level] else 1}.conv", now, now)
            at += 1
    yield from norm("out.0", width)
    yield from conv("out.2", 4, width)


# --- The autoencoder: CompVis ldm/modules/diffusionmodules/model.py

def vae_resnet(name, rows, columns):
    yield from norm(f"{name}.norm1", columns)
    yield from conv(f"{name}.conv1", rows, columns)
    yield from norm(f"{name}.norm2", rows)
    yield from conv(f"{name}.conv2", rows, rows)
    if rows != columns:
        yield from conv(f"{name}.nin_shortcut", rows, columns, 1)


def vae_middle(name, width):
    yield from vae_resnet(f"{name}.mid.block_1", width, width)
    yield from norm(f"{name}.mid.attn_1.norm", width)
    for part in ("q", "k", "v", "proj_out"):
        yield from conv(f"{name}.mid.attn_1.{part}", width, width, 1)
    yield from vae_resnet(f"{name}.mid.block_2", width, width)


def vae(channels, has_quantiser):
    widths = [128, 256, 512, 512]
    yield from conv("encoder.conv_in", 128, 3)
    now = 128
    for level, width in enumerate(widths):
        for block in range(2):
            yield from vae_resnet(f"encoder.down.{level}.block.{block}", width, now)
            now = width
        if level < 3:
            yield from conv(f"encoder.down.{level}.downsample.conv", now, now)
    yield from vae_middle("encoder", now)
    yield from norm("encoder.norm_out", now)
    yield from conv("encoder.conv_out", 2 * channels, now)
    yield from conv("decoder.conv_in", now, channels)
    yield from vae_middle("decoder", now)
    for level in (3, 2, 1, 0):
        for block in range(3):
            yield from vae_resnet(f"decoder.up.{level}.block.{block}", widths[level], now)
            now = widths[level]
        if level:
            yield from conv(f"decoder.up.{level}.upsample.conv", now, now)
    yield from norm("decoder.norm_out", now)
    yield from conv("decoder.conv_out", 3, now)
    if has_quantiser:
        yield from conv("quant_conv", 2 * channels, 2 * channels, 1)
        yield from conv("post_quant_conv", channels, channels, 1)


# --- Text encoders: transformers, OpenCLIP

def clip_l():
    yield "text_model.embeddings.token_embedding.weight", [49408, 768]
    yield "text_model.embeddings.position_embedding.weight", [77, 768]
    for layer in range(12):
        block = f"text_model.encoder.layers.{layer}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from linear(f"{block}.self_attn.{part}", 768, 768)
        yield from linear(f"{block}.mlp.fc1", 3072, 768)
        yield from linear(f"{block}.mlp.fc2", 768, 3072)
        yield from norm(f"{block}.layer_norm1", 768)
        yield from norm(f"{block}.layer_norm2", 768)
    yield from norm("text_model.final_layer_norm", 768)


def clip_g():
    yield "token_embedding.weight", [49408, 1280]
    yield "positional_embedding", [77, 1280]
    yield "text_projection", [1280, 1280]
    yield "logit_scale", []
    for layer in range(32):
        block = f"transformer.resblocks.{layer}"
        yield f"{block}.attn.in_proj_weight", [3840, 1280]
        yield f"{block}.attn.in_proj_bias", [3840]
        yield from linear(f"{block}.attn.out_proj", 1280, 1280)
        yield from linear(f"{block}.mlp.c_fc", 5120, 1280)
        yield from linear(f"{block}.mlp.c_proj", 1280, 5120)
        yield from norm(f"{block}.ln_1", 1280)
        yield from norm(f"{block}.ln_2", 1280)
    yield from norm("ln_final", 1280)


def t5_xxl():
    yield "shared.weight", [32128, 4096]
    for layer in range(24):
        block = f"encoder.block.{layer}.layer"
        for part in "qkvo":
            yield f"{block}.0.SelfAttention.{part}.weight", [4096, 4096]
        if layer == 0:
            yield f"{block}.0.SelfAttention.relative_attention_bias.weight", [32, 64]
        yield f"{block}.0.layer_norm.weight", [4096]
        yield f"{block}.1.DenseReluDense.wi_0.weight", [10240, 4096]
        yield f"{block}.1.DenseReluDense.wi_1.weight", [10240, 4096]
        yield f"{block}.1.DenseReluDense.wo.weight", [4096, 10240]
        yield f"{block}.1.layer_norm.weight", [4096]
    yield "encoder.final_layer_norm.weight", [4096]


# --- Transformers: black-forest-labs/flux src/flux/model.py, Tongyi-MAI/Z-Image

def flux(is_guided):
    width = 3072
    yield from linear("img_in", width, 64)
    yield from linear("txt_in", width, 4096)
    for name, columns in [("time_in", 256), ("vector_in", 768)] + ([("guidance_in", 256)] if is_guided else []):
        yield from linear(f"{name}.in_layer", width, columns)
        yield from linear(f"{name}.out_layer", width, width)
    for block in range(19):
        for stream in ("img", "txt"):
            name = f"double_blocks.{block}.{stream}"
            yield from linear(f"{name}_mod.lin", 6 * width, width)
            yield from linear(f"{name}_attn.qkv", 3 * width, width)
            yield f"{name}_attn.norm.query_norm.scale", [128]
            yield f"{name}_attn.norm.key_norm.scale", [128]
            yield from linear(f"{name}_attn.proj", width, width)
            yield from linear(f"{name}_mlp.0", 4 * width, width)
            yield from linear(f"{name}_mlp.2", width, 4 * width)
    for block in range(38):
        name = f"single_blocks.{block}"
        yield from linear(f"{name}.linear1", 7 * width, width)
        yield from linear(f"{name}.linear2", width, 5 * width)
        yield f"{name}.norm.query_norm.scale", [128]
        yield f"{name}.norm.key_norm.scale", [128]
        yield from linear(f"{name}.modulation.lin", 3 * width, width)
    yield from linear("final_layer.linear", 64, width)
    yield from linear("final_layer.adaLN_modulation.1", 2 * width, width)


def z_image():
    width, hidden = 3840, 10240
    yield from linear("x_embedder", width, 64)
    yield "cap_embedder.0.weight", [2560]
    yield from linear("cap_embedder.1", width, 2560)
    yield from linear("t_embedder.mlp.0", 1024, 256)
    yield from linear("t_embedder.mlp.2", 256, 1024)
    yield "x_pad_token", [1, width]
    yield "cap_pad_token", [1, width]
    for stack, count in (("noise_refiner", 2), ("context_refiner", 2), ("layers", 30)):
        for layer in range(count):
            name = f"{stack}.{layer}"
            yield from linear(f"{name}.attention.qkv", 3 * width, width, False)
            yield from linear(f"{name}.attention.out", width, width, False)
            yield f"{name}.attention.q_norm.weight", [128]
            yield f"{name}.attention.k_norm.weight", [128]
            for part in ("attention_norm1", "attention_norm2", "ffn_norm1", "ffn_norm2"):
                yield f"{name}.{part}.weight", [width]
            yield from linear(f"{name}.feed_forward.w1", hidden, width, False)
            yield from linear(f"{name}.feed_forward.w2", width, hidden, False)
            yield from linear(f"{name}.feed_forward.w3", hidden, width, False)
            if stack != "context_refiner":
                yield from linear(f"{name}.adaLN_modulation.0", 4 * width, 256)
    yield from linear("final_layer.linear", 64, width)
    yield from linear("final_layer.adaLN_modulation.1", width, 256)


def sd15():
    yield from under("model.diffusion_model.", unet((1, 2, 4, 4), (1, 1, 1, 0), 1, 768, None, False))
    yield from under("first_stage_model.", vae(4, True))
    yield from under("cond_stage_model.transformer.", clip_l())


def sdxl():
    yield from under("model.diffusion_model.", unet((1, 2, 4), (0, 2, 10), 10, 2048, 2816, True))
    yield from under("first_stage_model.", vae(4, True))
    yield from under("conditioner.embedders.0.transformer.", clip_l())
    yield from under("conditioner.embedders.1.model.", clip_g())


def header(tensors, kind):
    """The beginning of a safetensors file with these tensors, and the file's length."""
    entries, at = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in tensors:
        size = BYTES[kind]
        for side in shape:
            size *= side
        entries[name] = {"dtype": kind, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text, 8 + len(text) + at


def write(path, made):
    """Writes a header and leaves a hole for all that comes after it."""
    beginning, length = made
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        file.write(beginning)
        file.truncate(length)
