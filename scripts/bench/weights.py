"""Where the weights that figures are taken with lie; made once, and kept in a cache folder."""
import subprocess
import sys
from pathlib import Path

from peer import NoPeer, needs

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
CACHE = CHECKOUT / "target/bench"
CHUNK = 16 << 20


def real(python, cache, given=None, wide=False):
    """Random weights of Stable Diffusion 1.5 at its real size: fp16, 2.13 GB, or where they are wide fp32, 4.26 GB."""
    if given:
        return Path(given).resolve(strict=True)
    out = Path(cache) / ("real-sd15-fp32.safetensors" if wide else "real-sd15.safetensors")
    if not out.exists():
        needs(python)
        out.parent.mkdir(parents=True, exist_ok=True)
        print(f"making {out}: {4.26 if wide else 2.13} GB, about half a minute", file=sys.stderr)
        made = subprocess.run([python, HERE / "real_sd15.py", out, *["--fp32"] * wide], capture_output=True, text=True)
        if made.returncode:
            out.with_name(out.name + ".part").unlink(missing_ok=True)
            raise NoPeer("real_sd15.py failed: " + (made.stderr.strip().splitlines() or ["?"])[-1])
    return out


def tiny(folder):
    """A tiny checkpoint of zeros in the single-file layout: enough to be known as SD1.5, for jobs that never run."""
    import json
    import struct
    at, header = 0, {}
    for name, shape in _tiny_shapes():
        size = 2
        for n in shape:
            size *= n
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    path = Path(folder) / "tiny.safetensors"
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        f.truncate(8 + len(text) + at)
    return path


def _tiny_shapes():
    """Names and shapes: 32 channels, one level, one ResNet."""
    def norm(name, width):
        yield from ((f"{name}.weight", [width]), (f"{name}.bias", [width]))

    def linear(name, wide, out, bias=True):
        yield f"{name}.weight", [out, wide]
        if bias:
            yield f"{name}.bias", [out]

    def conv(name, wide, out, side):
        yield from ((f"{name}.weight", [out, wide, side, side]), (f"{name}.bias", [out]))

    def resnet(name, wide, out=32):
        yield from norm(f"{name}.in_layers.0", wide)
        yield from conv(f"{name}.in_layers.2", wide, out, 3)
        yield from linear(f"{name}.emb_layers.1", 128, out)
        yield from norm(f"{name}.out_layers.0", out)
        yield from conv(f"{name}.out_layers.3", out, out, 3)
        if wide != out:
            yield from conv(f"{name}.skip_connection", wide, out, 1)

    def transformer(name, width=32, context=64):
        yield from norm(f"{name}.norm", width)
        yield from conv(f"{name}.proj_in", width, width, 1)
        block = f"{name}.transformer_blocks.0"
        for attention, wide in (("attn1", width), ("attn2", context)):
            yield from linear(f"{block}.{attention}.to_q", width, width, False)
            yield from linear(f"{block}.{attention}.to_k", wide, width, False)
            yield from linear(f"{block}.{attention}.to_v", wide, width, False)
            yield from linear(f"{block}.{attention}.to_out.0", width, width)
        yield from linear(f"{block}.ff.net.0.proj", width, 8 * width)
        yield from linear(f"{block}.ff.net.2", 4 * width, width)
        for n in (1, 2, 3):
            yield from norm(f"{block}.norm{n}", width)
        yield from conv(f"{name}.proj_out", width, width, 1)

    def unet():
        yield from linear("time_embed.0", 32, 128)
        yield from linear("time_embed.2", 128, 128)
        yield from conv("input_blocks.0.0", 4, 32, 3)
        for name, wide in (("input_blocks.1", 32), ("output_blocks.0", 64), ("output_blocks.1", 64)):
            yield from resnet(f"{name}.0", wide)
            yield from transformer(f"{name}.1")
        yield from resnet("middle_block.0", 32)
        yield from transformer("middle_block.1")
        yield from resnet("middle_block.2", 32)
        yield from norm("out.0", 32)
        yield from conv("out.2", 32, 4, 3)

    def text(width=64):
        yield "embeddings.token_embedding.weight", [100, width]
        yield "embeddings.position_embedding.weight", [77, width]
        layer = "encoder.layers.0"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from linear(f"{layer}.self_attn.{part}", width, width)
        yield from linear(f"{layer}.mlp.fc1", width, 2 * width)
        yield from linear(f"{layer}.mlp.fc2", 2 * width, width)
        for part in (f"{layer}.layer_norm1", f"{layer}.layer_norm2", "final_layer_norm"):
            yield from norm(part, width)

    def half(name, begin, out, blocks):
        yield from conv(f"{name}.conv_in", begin, 32, 3)
        parts = [f"{'down' if name == 'encoder' else 'up'}.0.block.{n}" for n in range(blocks)]
        for part in [*parts, "mid.block_1", "mid.block_2"]:
            for n in ("1", "2"):
                yield from norm(f"{name}.{part}.norm{n}", 32)
                yield from conv(f"{name}.{part}.conv{n}", 32, 32, 3)
        yield from norm(f"{name}.mid.attn_1.norm", 32)
        for part in ("q", "k", "v", "proj_out"):
            yield from conv(f"{name}.mid.attn_1.{part}", 32, 32, 1)
        yield from norm(f"{name}.norm_out", 32)
        yield from conv(f"{name}.conv_out", 32, out, 3)

    def vae():
        yield from half("encoder", 3, 8, 1)
        yield from half("decoder", 4, 3, 2)
        yield from conv("quant_conv", 8, 8, 1)
        yield from conv("post_quant_conv", 4, 4, 1)

    for prefix, part in (("model.diffusion_model.", unet), ("cond_stage_model.transformer.text_model.", text),
                         ("first_stage_model.", vae)):
        for name, shape in part():
            yield prefix + name, shape
