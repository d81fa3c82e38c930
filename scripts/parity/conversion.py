"""Checks whole files that `perilune convert` made with the programs that their formats come from.

    python conversion.py SOURCE FOLDER

SOURCE is the network that was converted, as a safetensors file; FOLDER holds `net_PRECISION.safetensors` and `.gguf`, and for
each GGUF file `net_PRECISION_back_fp32.safetensors`, what ours reads of it. Prints a line for each file; what differs ends it.
"""
import json
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file

PLAIN = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16, "fp8_e4m3fn": torch.float8_e4m3fn, "fp8_e5m2": torch.float8_e5m2}


def same(a, b):
    """Bit for bit, and of one type and shape."""
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a.contiguous().view(torch.uint8), b.contiguous().view(torch.uint8))


def plain(source, path, dtype):
    """torch's own `.to()`; what stays as wide as it was is the source's."""
    made = load_file(path)
    assert made.keys() == source.keys(), made.keys() ^ source.keys()
    cast = 0
    for name, weight in source.items():
        if made[name].dtype != dtype:
            assert dtype.itemsize == 1 and same(made[name], weight), name
            continue
        # In range: torch makes NaN of what is not, and ours its largest.
        assert weight.dtype.is_floating_point and weight.abs().max() <= torch.finfo(dtype).max, name
        assert same(made[name], weight.to(dtype)), name
        cast += 1
    assert cast > 0
    return f"{cast} of {len(source)} tensors as .to({dtype})"


def nf4(source, path):
    """bitsandbytes reads the state and takes the weights apart; it also makes the same bytes itself."""
    import bitsandbytes.functional as bnb
    from bitsandbytes.functional import QuantState
    made = load_file(path)
    coded = [name.removesuffix(".quant_state.bitsandbytes__nf4") for name in made if name.endswith(".quant_state.bitsandbytes__nf4")]
    for name in coded:
        state = QuantState.from_dict({k: v for k, v in made.items() if k.startswith(name + ".")}, device=torch.device("cpu"))
        assert tuple(state.shape) == tuple(source[name].shape), name
        packed, wanted = bnb.quantize_4bit(source[name].float(), blocksize=64, quant_type="nf4", compress_statistics=False)
        assert same(made[name], packed) and same(state.absmax, wanted.absmax), f"{name} differs from what bitsandbytes packs"
        values = bnb.dequantize_4bit(made[name], state)
        codes = torch.stack([made[name] >> 4, made[name] & 15], dim=-1).reshape(-1)
        ours = (state.code[codes.long()].reshape(-1, 64) * state.absmax[:, None]).reshape(state.shape)
        assert torch.equal(values.float(), ours.to(values.dtype).float()), f"{name} is worth something else"
    assert coded and all(same(made[n], source[n]) for n in source if n not in coded)
    return f"{len(coded)} of {len(source)} tensors as bitsandbytes"


def int8(source, path):
    """bitsandbytes' own vector-wise dequantise, beside each row's largest value."""
    import bitsandbytes.functional as bnb
    made = load_file(path)
    coded = [name.removesuffix(".SCB") for name in made if name.endswith(".SCB")]
    for layer in coded:
        weight, scale = source[layer + ".weight"].float(), made[layer + ".SCB"]
        assert torch.equal(scale, weight.abs().amax(dim=1)), layer
        values = bnb.int8_vectorwise_dequant(made[layer + ".weight"], scale)
        assert ((values - weight).abs() <= scale[:, None] / 127 * 0.501).all(), f"{layer} is off by more than half a step"
    assert coded
    return f"{len(coded)} of {len(source)} tensors as bitsandbytes"


def sdnq(source, path):
    """sdnq's own dequantise, by the configuration in the file."""
    from sdnq.dequantizer import dequantize_weight
    with safe_open(path, "pt") as file:
        config = json.loads(file.metadata()["quantization_config"])
    made = load_file(path)
    kind, coded = config["weights_dtype"], [name.removesuffix(".scale") for name in made if name.endswith(".scale")]
    steps = 2 ** int("".join(c for c in kind if c.isdigit()))
    for layer in coded:
        weight, scale, zero = source[layer + ".weight"].float(), made[layer + ".scale"], made.get(layer + ".zero_point")
        shape = torch.Size((*scale.shape[:-1], weight.numel() // scale.numel()))
        values = dequantize_weight(kind, made[layer + ".weight"], scale, zero_point=zero, dtype=torch.float32, result_shape=weight.shape,
                                   quantized_weight_shape=shape)
        rows = weight.reshape(scale.shape[0], -1, shape[-1])
        spread = (rows.amax(-1) - rows.amin(-1)) if zero is not None else 2 * rows.abs().amax(-1)
        off = (values.reshape(rows.shape) - rows).abs().amax(-1)
        assert (off <= spread / (steps - 2) * 0.51 + 1e-6).all(), f"{layer} is off by more than half a step"
    assert coded
    return f"{len(coded)} of {len(source)} tensors as sdnq"


def gguf(source, path):
    """PyPI's gguf: names, shapes, words, and values to the bit as ours reads them."""
    import numpy as np
    from gguf import GGUFReader
    from gguf.quants import dequantize
    reader = GGUFReader(path)
    words = {name: field.contents() for name, field in reader.fields.items()}
    assert words["general.architecture"] == "sd1" and words["general.quantization_version"] == 2, words
    back = load_file(path.with_name(path.stem + "_back_fp32.safetensors"))
    assert {tensor.name for tensor in reader.tensors} == source.keys() == back.keys()
    blocks = 0
    for tensor in reader.tensors:
        values = np.asarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32).reshape(-1)
        ours = back[tensor.name].numpy().reshape(-1)
        assert values.tobytes() == ours.tobytes(), f"{tensor.name} is worth something else"
        shape = words.get(f"comfy.gguf.orig_shape.{tensor.name}", list(reversed(tensor.shape.tolist())))
        assert list(shape) == list(source[tensor.name].shape), tensor.name
        blocks += tensor.tensor_type.name not in ("F32", "F16", "BF16")
    assert blocks > 0
    return f"{blocks} of {len(source)} tensors in blocks, architecture {words['general.architecture']}"


def main():
    source, folder = load_file(sys.argv[1]), Path(sys.argv[2])
    files = sorted(path for path in folder.glob("net_*") if "_back_" not in path.name)
    assert files, "there is nothing to check"
    for path in files:
        precision = path.stem.removeprefix("net_")
        check = {"nf4": nf4, "int8": int8}.get(precision)
        if precision in PLAIN:
            told = plain(source, path, PLAIN[precision])
        elif check:
            told = check(source, path)
        elif precision.startswith("sdnq_"):
            told = sdnq(source, path)
        else:
            told = gguf(source, path)
        print(f"{precision}: {told}", flush=True)


if __name__ == "__main__":
    main()
