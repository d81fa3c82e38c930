#!/usr/bin/env python3
"""The peer of scripts/bench-families: diffusers' own pipeline of a folder, and how long its network takes each time.

    python peer_family.py FOLDER --device cpu --precision fp32|bf16 --threads N

    <- {"ready": {"import_s", "load_s"}}
    -> {"prompt", "seed", "steps", "size"}
    <- {"event": "sampling"}          the network is called for the first time
    <- {"event": "sampled"}           and for the last
    <- {"done": {"per_step": [s], "peak_bytes"}}

A step is one call of the network, without guidance; nothing is decoded.
"""
import time

BEGAN = time.perf_counter()
import argparse
import json
import os
import resource
import sys
import warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.filterwarnings("ignore")

# What tells each pipeline not to guide, and how many tokens Flux.1 schnell reads.
UNGUIDED = {"StableDiffusionXLPipeline": {"guidance_scale": 1.0}, "ZImagePipeline": {"guidance_scale": 0.0},
            "FluxPipeline": {"guidance_scale": 0.0, "max_sequence_length": 256}}


def say(to, value):
    to.write(json.dumps(value) + "\n")
    to.flush()


class Family:
    def __init__(self, folder, precision):
        import torch
        from diffusers import DiffusionPipeline
        from diffusers.utils import logging
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        self.torch, self.import_s = torch, time.perf_counter() - BEGAN
        began = time.perf_counter()
        kind = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
        self.pipe = DiffusionPipeline.from_pretrained(folder, torch_dtype=kind, low_cpu_mem_usage=True)
        self.pipe.set_progress_bar_config(disable=True)
        self.network = getattr(self.pipe, "unet", None) or self.pipe.transformer
        self.load_s = time.perf_counter() - began

    def paint(self, order, tell):
        begins, ends = [], []

        def before(*_):
            if not begins:
                tell({"event": "sampling"})
            begins.append(time.perf_counter())

        def after(*_):
            ends.append(time.perf_counter())
            if len(ends) == order["steps"]:
                tell({"event": "sampled"})
        hooks = [self.network.register_forward_pre_hook(before), self.network.register_forward_hook(after)]
        try:
            self.pipe(prompt=order["prompt"], height=order["size"], width=order["size"], num_inference_steps=order["steps"],
                      generator=self.torch.Generator().manual_seed(order["seed"]), output_type="latent",
                      **UNGUIDED[type(self.pipe).__name__])
        finally:
            for hook in hooks:
                hook.remove()
        return {"per_step": [end - begin for begin, end in zip(begins, ends)],
                "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--device", choices=("cpu",), default="cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16"), required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    # Libraries may print; nothing but our lines may stand on this pipe.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import torch
    torch.set_num_threads(options.threads)
    with torch.no_grad():
        family = Family(options.folder, options.precision)
        say(out, {"ready": {"import_s": family.import_s, "load_s": family.load_s}})
        for line in sys.stdin:
            say(out, {"done": family.paint(json.loads(line), lambda event: say(out, event))})


if __name__ == "__main__":
    main()
