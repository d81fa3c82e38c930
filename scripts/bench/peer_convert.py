#!/usr/bin/env python3
"""What people convert with today: loads a file, converts its tensors, saves them.

    python peer_convert.py PRECISION SOURCE OUT     # bf16, fp8, int8, nf4, Q8_0, Q4_0, Q5_0
    python peer_convert.py ggml:Q4_K VALUES         # ggml's own quantiser on so many numbers, on two threads

Prints a line of JSON: seconds without imports, and peak private memory.
"""
import json
import sys
import threading
import time

import numpy as np
import torch
from safetensors.torch import load_file, save_file


class Memory(threading.Thread):
    """Looks at this process's private memory until told to stop."""

    def __init__(self):
        super().__init__(daemon=True)
        self.most, self.over = 0, threading.Event()

    def run(self):
        while not self.over.wait(0.01):
            with open("/proc/self/status") as status:
                held = next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon"))
            self.most = max(self.most, held)


def converter(precision):
    """Returns what converts one tensor, by its name, to tensors by their names."""
    if precision in ("bf16", "fp8"):
        dtype = torch.bfloat16 if precision == "bf16" else torch.float8_e4m3fn
        return lambda name, tensor: {name: tensor.to(dtype)}
    if precision in ("int8", "nf4"):
        from bitsandbytes import functional

        def linear(name, tensor):
            if tensor.ndim != 2:
                return {name: tensor}
            if precision == "int8":
                codes, scales, _ = functional.int8_vectorwise_quant(tensor)
                return {name: codes, name + ".SCB": scales}
            packed, state = functional.quantize_4bit(tensor, blocksize=64, quant_type="nf4")
            return {name: packed, name + ".absmax": state.absmax}
        return linear
    from gguf import GGMLQuantizationType, quants

    def blocks(name, tensor):
        if tensor.ndim < 2 or tensor.numel() % 256:
            return {name: tensor}
        rows = tensor.float().numpy().reshape(-1, 256)
        return {name: torch.from_numpy(quants.quantize(rows, GGMLQuantizationType[precision]))}
    return blocks


def ggml(name, count):
    """Seconds of ggml's reference quantiser on so many numbers, halved over two threads."""
    import ctypes
    from pathlib import Path

    import _pywhispercpp
    folder = Path(_pywhispercpp.__file__).parent
    found = sorted([*folder.glob("**/libggml-base*.so*"), *folder.glob("pywhispercpp.libs/libggml-base*")])
    library = ctypes.CDLL(str(found[0]))
    function = getattr(library, f"quantize_row_{name.lower().replace('_k', '_K')}_ref")
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    values = (np.random.default_rng(0).standard_normal(count) * 0.02).astype(np.float32)
    out = np.zeros(count, np.uint8)
    half = count // 2 // 256 * 256

    def work(start):
        function(values[start:].ctypes.data, out[start:].ctypes.data, half)
    threads = [threading.Thread(target=work, args=(start,)) for start in (0, half)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began


def main():
    precision = sys.argv[1]
    torch.set_num_threads(2)
    if precision.startswith("ggml:"):
        print(json.dumps({"seconds": ggml(precision.removeprefix("ggml:"), int(sys.argv[2]))}))
        return
    convert = converter(precision)
    memory = Memory()
    memory.start()
    began = time.perf_counter()
    made = {}
    for name, tensor in load_file(sys.argv[2]).items():
        made.update(convert(name, tensor))
    save_file({name: tensor.contiguous() for name, tensor in made.items()}, sys.argv[3], {"format": "pt"})
    seconds = time.perf_counter() - began
    memory.over.set()
    print(json.dumps({"seconds": seconds, "private": memory.most}))


if __name__ == "__main__":
    main()
