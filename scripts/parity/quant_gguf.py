#!/usr/bin/env python3
"""Numbers in the block types of ggml, and GGUF files, as the reference programs make them.

    python quant_gguf.py FOLDER          # writes what tests/references compares with
    python quant_gguf.py --read FILE     # prints what gguf-py reads in a GGUF file, as JSON

In FOLDER: values.f32, and for each type T of TYPES: T.ggml (ggml's own quantiser, no importance matrix), T.f32 (these
bytes brought back by gguf-py), T.gguf-py (gguf-py's quantiser, for the types that it has). written.gguf and written.json
are a file of gguf-py's writer and what is in it.

ggml itself is the library libggml-base.so that the wheel of pywhispercpp carries, a plain x86-64 build.
Versions: gguf 0.19.0, pywhispercpp 1.5.1 (ggml 0.13.1), numpy 2.4.6.
"""
import ctypes
import json
import pathlib
import sys
import sysconfig

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

TYPES = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"]
# gguf-py's quantisers of these claim to be ggml's to the bit.
BY_GGUF_PY = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]
ROW = 1024


def values():
    """Rows of many kinds: bell curves and even spreads at many scales, outliers, one sign, zeros, constants, tiny parts."""
    rng = np.random.default_rng(20)
    rows = []
    for power in range(-14, 4, 2):
        rows.append(rng.standard_normal((8, ROW)) * 2.0**power)
        rows.append(rng.uniform(-1, 1, (4, ROW)) * 2.0**power)
    rows.append(rng.standard_t(1.5, (8, ROW)) * 0.01)
    rows.append(np.abs(rng.standard_normal((4, ROW))) * 0.02)
    rows.append(-np.abs(rng.standard_normal((4, ROW))) * 0.02)
    few = rng.standard_normal((4, ROW)) * 0.02
    few[rng.uniform(size=few.shape) < 0.9] = 0
    rows.append(few)
    patchy = rng.standard_normal((8, ROW)) * 0.02
    patchy.reshape(-1, 16)[::3] = 0
    patchy.reshape(-1, 32)[::5] = 0.01
    patchy.reshape(-1, 16)[::7] *= 1e-12
    patchy.reshape(-1, 32)[::11] *= 1e-20
    rows.append(patchy)
    rows.append(np.zeros((1, ROW)))
    rows.append(np.full((1, ROW), 0.01))
    rows.append(np.full((1, ROW), -0.01))
    # Few distinct numbers, as halves and 8-bit floats have them: ties abound.
    rows.append(np.round(rng.standard_normal((8, ROW)) * 8) / 64)
    rows.append((rng.standard_normal((8, ROW)) * 0.02).astype(np.float16))
    return np.ascontiguousarray(np.concatenate([np.asarray(r, np.float32) for r in rows]))


def ggml():
    site = pathlib.Path(sysconfig.get_path("platlib"))
    library = ctypes.CDLL(str(site / "libggml-base.so"))
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    library.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p] + [ctypes.c_int64] * 3 + [ctypes.c_void_p]
    return library


def quantised(library, kind, x):
    block, size = gguf.GGML_QUANT_SIZES[kind]
    out = np.zeros(x.size // block * size, np.uint8)
    made = library.ggml_quantize_chunk(int(kind), x.ctypes.data, out.ctypes.data, 0, x.shape[0], x.shape[1], None)
    assert made == out.size
    return out.reshape(x.shape[0], -1)


def write_blocks(folder):
    x = values()
    x.tofile(folder / "values.f32")
    library = ggml()
    for name in TYPES:
        kind = Type[name]
        blocks = quantised(library, kind, x)
        blocks.tofile(folder / f"{name}.ggml")
        gguf.quants.dequantize(blocks, kind).astype(np.float32).tofile(folder / f"{name}.f32")
    for name in BY_GGUF_PY:
        gguf.quants.quantize(x, Type[name]).tofile(folder / f"{name}.gguf-py")


def write_file(folder):
    rng = np.random.default_rng(5)
    writer = gguf.GGUFWriter(folder / "written.gguf", "flux")
    writer.add_quantization_version(2)
    writer.add_file_type(7)
    writer.add_array("comfy.gguf.orig_shape.conv.weight", [8, 4, 2, 4])
    writer.add_uint8("x.u8", 7)
    writer.add_int8("x.i8", -7)
    writer.add_uint16("x.u16", 60000)
    writer.add_int16("x.i16", -30000)
    writer.add_int32("x.i32", -7)
    writer.add_float32("x.f32", 0.5)
    writer.add_bool("x.bool", True)
    writer.add_string("x.text", "grüße")
    writer.add_uint64("x.u64", 1 << 60)
    writer.add_int64("x.i64", -(1 << 60))
    writer.add_float64("x.f64", 0.1)
    writer.add_array("x.texts", ["a", "", "ccc"])
    writer.add_tensor("wide.weight", rng.standard_normal((3, 64)).astype(np.float32))
    writer.add_tensor("half.bias", rng.standard_normal(5).astype(np.float16))
    q8 = gguf.quants.quantize(rng.standard_normal((4, 96)).astype(np.float32), Type.Q8_0)
    writer.add_tensor("eight.weight", q8, raw_dtype=Type.Q8_0)
    writer.add_tensor("conv.weight", rng.standard_normal((1, 256)).astype(np.float32))
    writer.add_tensor("patch.weight", rng.standard_normal((2, 3, 1, 2, 2)).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    (folder / "written.json").write_text(json.dumps(read(folder / "written.gguf")))


def read(path):
    reader = gguf.GGUFReader(path)
    tensors = [
        {
            "name": t.name,
            "type": t.tensor_type.name,
            "shape": [int(d) for d in reversed(t.shape)],
            "start": int(t.data_offset),
            "bytes": int(t.n_bytes),
        }
        for t in reader.tensors
    ]
    own = [f for name, f in reader.fields.items() if not name.startswith("GGUF.")]
    return {"tensors": tensors, "values": [[f.name, f.contents()] for f in own]}


if __name__ == "__main__":
    if sys.argv[1] == "--read":
        print(json.dumps(read(sys.argv[2])))
    else:
        out = pathlib.Path(sys.argv[1])
        write_blocks(out)
        write_file(out)
