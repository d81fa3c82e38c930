#!/usr/bin/env python3
"""Makes what tests/references compares the codecs of src/quant with: torch's casts, and what bitsandbytes and sdnq
store and read, on a processor.

    .venv/bin/python scripts/parity/quant_plain.py FOLDER

One file, quant_plain.safetensors. Keys are paths: the codec, its type, the input, the part.

  input/NAME                              the numbers
  float/DTYPE/NAME                        cast, 8 bits clamped to the range first
  every/DTYPE                             all patterns of a type, widened
  four/TYPE/BLOCK/NAME/...                packed absmax state numbers, and nested_... where scales are quantised
  int8/NAME/...                           codes scales numbers
  sdnq/TYPE/CASE/NAME/...                 weight scale zero_point svd_up svd_down numbers
  codes/TYPE/...                          all codes of a float of sdnq, packed, and what they stand for
"""

import os
import pathlib
import sys

import torch

os.environ.setdefault("SDNQ_USE_TORCH_COMPILE", "0")

import bitsandbytes.functional as bnb  # noqa: E402
from bitsandbytes.backends.default.ops import _dequantize_4bit_compute  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from sdnq.common import dtype_dict  # noqa: E402
from sdnq.packed_float import unpack_float  # noqa: E402
from sdnq.packed_int import pack_int  # noqa: E402
from sdnq.quantizer import sdnq_quantize_layer_weight  # noqa: E402

torch.manual_seed(20)
out = {}


def put(key, tensor):
    out[key] = tensor.detach().clone().contiguous()


def inputs():
    """Weights of several shapes and spreads; the last is no matrix of a network."""
    yield "normal", torch.randn(64, 192) * 0.05
    yield "outliers", torch.randn(33, 256) * torch.where(torch.rand(33, 256) < 0.01, 3.0, 0.02)
    yield "heavy", torch.distributions.StudentT(1.5).sample((40, 320)) * 0.01
    yield "positive", torch.rand(32, 64) * 0.3 + 0.1
    yield "tiny", torch.randn(32, 128) * 1e-6
    zeros = torch.randn(32, 256) * 0.1
    zeros[3] = 0.0
    zeros[4] = 0.25
    zeros[5, :64] = 0.0
    yield "zeros", zeros
    yield "odd", torch.randn(5, 77) * 0.1


WEIGHTS = dict(inputs())


def floats():
    bits = torch.randint(-(2**31), 2**31, (64, 1024), dtype=torch.int64).to(torch.int32).view(torch.float32)
    bits = torch.where(bits.isfinite(), bits, 0.0)
    steps = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16)
    near = steps.view(torch.float16).float()
    near = near[near.isfinite()]
    ends = torch.cat([near, near.nextafter(torch.tensor(1e9)), near.nextafter(torch.tensor(-1e9))])
    ties = (near[1:] + near[:-1]) / 2
    for name, values in [*WEIGHTS.items(), ("bits", bits), ("ends", torch.cat([ends, ties]))]:
        put(f"input/{name}", values)
        for key, dtype in (("F16", torch.float16), ("BF16", torch.bfloat16)):
            put(f"float/{key}/{name}", values.to(dtype))
        for key, dtype in (("F8_E4M3", torch.float8_e4m3fn), ("F8_E5M2", torch.float8_e5m2)):
            most = torch.finfo(dtype).max
            put(f"float/{key}/{name}", values.clamp(-most, most).to(dtype))
    for key, dtype in (("F16", torch.float16), ("BF16", torch.bfloat16)):
        put(f"every/{key}", steps.view(dtype).float())
    for key, dtype in (("F8_E4M3", torch.float8_e4m3fn), ("F8_E5M2", torch.float8_e5m2)):
        put(f"every/{key}", torch.arange(256, dtype=torch.int32).to(torch.uint8).view(dtype).float())


def four_bits():
    for name, values in WEIGHTS.items():
        for kind, block, nested in (("nf4", 64, False), ("nf4", 32, False), ("nf4", 256, False), ("fp4", 64, False), ("nf4", 64, True)):
            if nested and values.shape[-1] % block:
                continue
            packed, state = bnb.quantize_4bit(values.clone(), blocksize=block, compress_statistics=nested, quant_type=kind)
            key = f"four/{kind}{'_nested' if nested else ''}/{block}/{name}"
            put(f"{key}/packed", packed)
            # The JSON and the parts as a file has them.
            parts = state.as_dict(packed=True)
            for part, tensor in parts.items():
                put(f"{key}/{part.rsplit('.', 1)[0] if part.startswith('quant_state') else part}", tensor)
            if values.shape[-1] % block == 0:
                numbers = bnb.dequantize_4bit(packed, state)
            else:
                # The processor's kernel takes blocks to lie within rows; the portable one, like CUDA's, does not.
                numbers = _dequantize_4bit_compute(packed.reshape(-1), state.absmax, state.code, block, values.shape, torch.float32)
            put(f"{key}/numbers", numbers.reshape(values.shape))


def int8():
    for name, values in WEIGHTS.items():
        codes, scales, _ = bnb.int8_vectorwise_quant(values.half())
        # A row of zeros is divided by its scale there.
        put(f"int8/{name}/codes", codes)
        put(f"int8/{name}/scales", scales)
        put(f"int8/{name}/numbers", bnb.int8_vectorwise_dequant(codes, scales))


def sdnq(case, kind, name, values, layer="Linear", **options):
    dequantizer, parts = sdnq_quantize_layer_weight(values.clone(), layer_class_name=layer, weights_dtype=kind, torch_dtype=torch.float32, **options)
    key = f"sdnq/{kind}/{case}/{name}"
    for part, tensor in parts.items():
        if tensor is not None:
            put(f"{key}/{part}", tensor)
    numbers = dequantizer(**parts, skip_quantized_matmul=dequantizer.use_quantized_matmul, skip_compile=True)
    put(f"{key}/numbers", numbers)
    put(f"{key}/rotated", torch.tensor(dequantizer.hadamard_group_size if dequantizer.use_hadamard else 0, dtype=torch.int32))


INTEGERS = ["int8", "uint8", *(f"int{b}" for b in range(2, 8)), *(f"uint{b}" for b in range(2, 8))]
FLOATS = ["float8_e4m3fn", "float8_e5m2"]
OWN_FLOATS = [
    name for name, entry in dtype_dict.items() if name.startswith("float") and entry["is_packed"] and 2 <= entry["num_bits"] <= 8
]
WIDE = ["uint1", *(f"int{b}" for b in range(9, 17)), "uint16", "float16", "bfloat16", "float9_e4m4fn", "float12_e5m6fn", "float14_e3m11fnu", "float16_e5m10fn"]


def all_of_sdnq():
    for name in ("normal", "outliers", "heavy", "positive", "tiny", "zeros"):
        values = WEIGHTS[name]
        for kind in (*INTEGERS, *FLOATS):
            sdnq("rows", kind, name, values, group_size=-1)
            sdnq("auto", kind, name, values)
        for kind in ("int8", "uint4", "int5"):
            sdnq("32", kind, name, values, group_size=32)
    for name in ("normal", "heavy", "zeros"):
        for kind in OWN_FLOATS:
            sdnq("32", kind, name, WEIGHTS[name], group_size=32)
    values = WEIGHTS["normal"]
    for kind in WIDE:
        sdnq("read_32", kind, "normal", values, group_size=32)
    for kind in ("int8", "uint8"):
        sdnq("read_exchanged", kind, "normal", values, use_quantized_matmul=True)
        sdnq("read_exchanged", kind, "square", values[:, :64], use_quantized_matmul=True)
        sdnq("read_whole", kind, "normal", values, group_size=-2)
    sdnq("read_codebook", "uint4", "normal", values, use_codebook=True, group_size=64)
    sdnq("read_codebook", "uint3", "normal", values, use_codebook=True)
    for kind in ("int8", "uint4"):
        sdnq("read_low_rank", kind, "normal", values, use_svd=True, svd_rank=8)
        sdnq("read_low_rank", kind, "square", values[:, :64], use_svd=True, svd_rank=8, use_quantized_matmul=True)
        sdnq("read_rotated", kind, "normal", values, use_hadamard=True)
        sdnq("read_rotated", kind, "heavy", WEIGHTS["heavy"], use_hadamard=True, hadamard_group_size=32)
        sdnq("read_both", kind, "outliers", WEIGHTS["outliers"], use_hadamard=True, use_svd=True, svd_rank=8)
        kernel = torch.randn(16, 32, 3, 3) * 0.1
        sdnq("read_conv", kind, "kernel", kernel, layer="Conv2d", group_size=-1)
        sdnq("read_conv", kind, "kernel_groups", kernel, layer="Conv2d", group_size=8)
        sdnq("read_conv", kind, "kernel_exchanged", kernel.transpose(0, 1), layer="ConvTranspose2d", group_size=-1)


def codes():
    for kind, entry in dtype_dict.items():
        bits = entry["num_bits"]
        if not (kind.startswith("float") and entry["is_packed"]):
            continue
        numbers = torch.arange(1 << max(bits, 3), dtype=torch.int64) % (1 << bits)
        if bits in (8, 16):
            packed = numbers.to(entry["storage_dtype"])
        else:
            packed = pack_int(numbers.to(torch.bool if bits == 1 else entry["storage_dtype"]), f"uint{bits}")
        if bits == 16:
            # Every third of so many patterns will do.
            numbers, packed = numbers[::3], packed[::3]
        put(f"codes/{kind}/packed", packed)
        put(f"codes/{kind}/numbers", unpack_float(packed, kind, numbers.shape))


floats()
four_bits()
int8()
all_of_sdnq()
codes()
save_file(out, pathlib.Path(sys.argv[1]) / "quant_plain.safetensors")
