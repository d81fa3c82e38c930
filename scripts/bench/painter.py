#!/usr/bin/env python3
"""The peer: paints with diffusers what it is told on standard input, one JSON object per line.

    python painter.py FOLDER --device cpu|cuda:0 --precision fp32|bf16|fp16 [--threads N] [--offload MODE --store STORE]

    <- {"ready": {"import_s", "load_s"}}
    -> {"prompt", "negative", "seed", "steps", "cfg", "size", "out", "cold"}
    <- {"event": "sampling"}          the next thing is the first step
    <- {"event": "step", "step": 1}   the first step is done
    <- {"event": "sampled"}           all are; the picture is decoded next
    <- {"done": {"per_step": [s], "encode", "decode", "peak_bytes", "image"}}

Prompts are known by heart (WORDS), so that no tokenizer's files are needed. The noise is drawn as the program
under test draws it. Full precision means that: no TensorFloat-32. With --offload the network's weights lie in STORE
(see peer_offload.py); a cold order empties the page cache of it before each step, which no step's time includes.
"""
import time

BEGAN = time.perf_counter()
import argparse
import json
import os
import resource
import sys
import warnings

from pagecache import drop
from peer_offload import MODES, network

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")
warnings.filterwarnings("ignore")

# Text and its ids in CLIP's vocabulary, without begin and end.
WORDS = {
    "": [],
    "a photo of an astronaut riding a horse on mars": [320, 1125, 539, 550, 18376, 6765, 320, 4558, 525, 7496],
    "blurry, low quality": [21977, 267, 1042, 3027],
    "a full moon over the sea under a blue sky": [320, 1476, 3293, 962, 518, 2102, 1798, 320, 1746, 2390],
}
BEGIN, END, LENGTH, SCALE = 49406, 49407, 77, 0.18215


def say(to, value):
    to.write(json.dumps(value) + "\n")
    to.flush()


class Painter:
    """diffusers' own pipeline and the moments at which things happen in it."""

    def __init__(self, folder, device, precision, offload=None, store=None):
        import torch
        from diffusers import StableDiffusionPipeline
        from diffusers.utils import logging
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        self.torch, self.device, self.store = torch, device, store
        self.type = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        self.import_s = time.perf_counter() - BEGAN
        began = time.perf_counter()
        instead = {"unet": network(offload, folder, store, device, self.type)} if offload else {}
        self.pipe = StableDiffusionPipeline.from_pretrained(
            folder, torch_dtype=self.type, tokenizer=None, safety_checker=None, feature_extractor=None, requires_safety_checker=False,
            **instead)
        if offload:
            self.pipe.text_encoder.to(device)
            self.pipe.vae.to(device)
        else:
            self.pipe.to(device)
        self.pipe.set_progress_bar_config(disable=True)
        self.settle()
        self.load_s = time.perf_counter() - began

    def settle(self):
        """Waits for a GPU to have done what it was given."""
        if self.device != "cpu":
            self.torch.cuda.synchronize()

    def read(self, text):
        ids = [BEGIN, *WORDS[text], END]
        ids += [END] * (LENGTH - len(ids))
        return self.pipe.text_encoder(self.torch.tensor([ids], device=self.device))[0]

    def paint(self, order, tell):
        torch, pipe = self.torch, self.pipe
        began = time.perf_counter()
        shown, hidden = self.read(order["prompt"]), self.read(order["negative"])
        self.settle()
        encode = time.perf_counter() - began
        side = order["size"]
        cells = side // pipe.vae_scale_factor
        noise = torch.randn(1, 4, cells, cells, generator=torch.Generator().manual_seed(order["seed"]))
        begins, ends = [], []

        def begin():
            if order.get("cold"):
                drop(self.store)
            begins.append(time.perf_counter())

        def before(*_):
            if not begins:
                tell({"event": "sampling"})
                begin()

        def after(_pipe, step, _time, values):
            self.settle()
            ends.append(time.perf_counter())
            if step == 0:
                tell({"event": "step", "step": 1})
            begin()
            return values
        hook = pipe.unet.register_forward_pre_hook(before)
        try:
            latent = pipe(prompt_embeds=shown, negative_prompt_embeds=hidden, latents=noise.to(self.device, self.type), height=side,
                          width=side, num_inference_steps=order["steps"], guidance_scale=order["cfg"], output_type="latent",
                          callback_on_step_end=after).images
        finally:
            hook.remove()
        tell({"event": "sampled"})
        began = time.perf_counter()
        picture = pipe.vae.decode(latent / SCALE, return_dict=False)[0]
        image = pipe.image_processor.postprocess(picture, output_type="pil")[0]
        decode = time.perf_counter() - began
        if order.get("out"):
            image.save(order["out"])
        return {"per_step": [end - start for start, end in zip(begins, ends)], "encode": encode, "decode": decode,
                "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, "image": order.get("out")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16", "fp16"), default="fp32")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--offload", choices=MODES)
    parser.add_argument("--store")
    options = parser.parse_args()
    # Libraries may print; nothing but our lines may stand on this pipe.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import torch
    if options.threads:
        torch.set_num_threads(options.threads)
    with torch.no_grad():
        painter = Painter(options.folder, options.device, options.precision, options.offload, options.store)
        say(out, {"ready": {"import_s": painter.import_s, "load_s": painter.load_s}})
        for line in sys.stdin:
            say(out, {"done": painter.paint(json.loads(line), lambda event: say(out, event))})


if __name__ == "__main__":
    main()
