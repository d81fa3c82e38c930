#!/usr/bin/env python3
"""The peers' networks whose weights lie on the disk, as accelerate and as diffusers themselves do that.

    python peer_offload.py MODE FOLDER STORE      writes MODE's copy of FOLDER's network to STORE, once

Modes: group-host (diffusers' group offloading from pinned host memory to a GPU, a copy stream beside computing; needs no
store), accelerate-disk (accelerate.disk_offload) and group-disk (diffusers' apply_group_offloading with
offload_to_disk_path, a group per block: on a processor it is faster than a group per layer, and gives the same picture).
Copies are made in a process of their own, so that the painter never holds the network: it begins with empty weights, as
a careful user of either does.
"""
import os
import shutil
import sys
import warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.filterwarnings("ignore")

MODES = ("accelerate-disk", "group-disk", "group-host")
CPU = "cpu"


def offload(unet, mode, store):
    """Puts the network's weights on the disk; what is in the store already is not written again."""
    if mode == "accelerate-disk":
        from accelerate import disk_offload
        return disk_offload(unet, store, execution_device=CPU)
    from diffusers.hooks import apply_group_offloading
    apply_group_offloading(unet, onload_device=CPU, offload_device=CPU, offload_type="block_level", num_blocks_per_group=1,
                           offload_to_disk_path=store)
    return unet


def network(mode, folder, store, device=CPU, dtype=None):
    """The network with weights in the store, or where the mode keeps them, and no more in memory."""
    import torch
    from diffusers import UNet2DConditionModel
    if mode == "group-host":
        from diffusers.hooks import apply_group_offloading
        unet = UNet2DConditionModel.from_pretrained(f"{folder}/unet", torch_dtype=dtype).eval()
        apply_group_offloading(unet, onload_device=torch.device(device), offload_device=torch.device(CPU), offload_type="block_level",
                               num_blocks_per_group=1, use_stream=True, non_blocking=True)
        return unet
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(f"{folder}/unet"))
    if mode != "accelerate-disk":
        # Group offloading wants parameters that could be computed with. What is never touched takes no memory.
        unet = unet.to_empty(device=CPU)
    return offload(unet.eval(), mode, store)


def make(mode, folder, store):
    from diffusers import UNet2DConditionModel
    partial = store + ".part"
    shutil.rmtree(partial, ignore_errors=True)
    os.makedirs(partial)
    try:
        offload(UNet2DConditionModel.from_pretrained(f"{folder}/unet"), mode, partial)
        shutil.copyfile(f"{folder}/source.json", f"{partial}/source.json")
        shutil.rmtree(store, ignore_errors=True)
        os.rename(partial, store)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def is_made(folder, store):
    """Whether the copy is of the very weights that the folder was made of."""
    try:
        with open(f"{folder}/source.json") as ours, open(f"{store}/source.json") as theirs:
            return ours.read() == theirs.read()
    except OSError:
        return False


if __name__ == "__main__":
    if not is_made(*sys.argv[2:]):
        make(*sys.argv[1:])
