#!/usr/bin/env python3
"""Turns a Stable Diffusion 1.x single file into a folder as diffusers keeps models: names change, bytes do not.

    python diffusers_folder.py FILE OUT --sizes real|moonlet|tiny

The folder is what diffusers loads fastest and in the least memory; from a single file it takes several
times as long. So the peer gets the folder. `--sizes` says which of our scripts knows the model's sizes.
"""
import argparse
import json
import os
import shutil
import sys
import warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.filterwarnings("ignore")
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../parity"), os.path.join(HERE, "../moonlet")]

SCHEDULER = dict(num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
                 timestep_spacing="linspace")


def sizes(name):
    """The three parts without weights."""
    import torch
    if name == "real":
        import real_sd15 as script
    elif name == "moonlet":
        import models as script
    else:
        import sd15 as script
    with torch.device("meta"):
        if name == "tiny":
            # Its builders disturb what they build, which nothing without weights can bear.
            script.seeded = lambda build, seed: build()
        return script.build_unet(), script.build_vae(), script.build_text()


def names_and_shapes(module, to_ldm, prefix):
    """{name in the single file: (name in diffusers, shape)}: numbers are sent through the map of names."""
    import torch
    state = module.state_dict()
    keys = list(state)
    numbers = to_ldm({k: torch.full([1] * state[k].ndim, i) for i, k in enumerate(keys)})
    return {prefix + new: (keys[int(n)], state[keys[int(n)]].shape) for new, n in numbers.items()}


def convert(source, out, unet, vae, text):
    from diffusers import EulerDiscreteScheduler
    from safetensors.torch import load_file, save_file
    from ldm_layout import TEXT_PREFIX, UNET_PREFIX, VAE_PREFIX, clip_to_ldm, unet_to_ldm, vae_to_ldm
    tensors = load_file(source)
    layers = unet.config.layers_per_block
    parts = (("unet", unet, lambda sd: unet_to_ldm(sd, layers), UNET_PREFIX, "diffusion_pytorch_model.safetensors"),
             ("vae", vae, vae_to_ldm, VAE_PREFIX, "diffusion_pytorch_model.safetensors"),
             ("text_encoder", text, clip_to_ldm, TEXT_PREFIX, "model.safetensors"))
    for name, module, to_ldm, prefix, file in parts:
        os.makedirs(f"{out}/{name}")
        renamed = {old: tensors[new].reshape(shape) for new, (old, shape) in names_and_shapes(module, to_ldm, prefix).items()}
        save_file(renamed, f"{out}/{name}/{file}", {"format": "pt"})
        if name == "text_encoder":
            module.config.architectures = ["CLIPTextModel"]
            module.config.save_pretrained(f"{out}/{name}")
        else:
            module.save_config(f"{out}/{name}")
    EulerDiscreteScheduler(**SCHEDULER).save_pretrained(f"{out}/scheduler")
    with open(f"{out}/model_index.json", "w") as f:
        json.dump({"_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.0.0",
                   "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"],
                   "text_encoder": ["transformers", "CLIPTextModel"], "scheduler": ["diffusers", "EulerDiscreteScheduler"],
                   "tokenizer": [None, None], "safety_checker": [None, None], "feature_extractor": [None, None]}, f)


def stamp(source):
    """What tells whether a folder was made from this very file."""
    about = os.stat(source)
    return {"source": os.path.abspath(source), "bytes": about.st_size, "modified": about.st_mtime_ns}


def is_made(source, out):
    try:
        with open(f"{out}/source.json") as f:
            return json.load(f) == stamp(source)
    except (OSError, ValueError):
        return False


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("out")
    parser.add_argument("--sizes", choices=("real", "moonlet", "tiny"), required=True)
    options = parser.parse_args()
    if is_made(options.file, options.out):
        return
    partial = options.out + ".part"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        convert(options.file, partial, *sizes(options.sizes))
        with open(f"{partial}/source.json", "w") as f:
            json.dump(stamp(options.file), f)
        shutil.rmtree(options.out, ignore_errors=True)
        os.rename(partial, options.out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


if __name__ == "__main__":
    main()
