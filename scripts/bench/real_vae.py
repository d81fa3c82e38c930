#!/usr/bin/env python3
"""Writes random weights of Stable Diffusion's autoencoder at its real size, fp32, 335 MB, as diffusers lays it out: for measuring,
not for pictures.

    python real_vae.py OUT.safetensors
"""
import os
import sys

import torch
from safetensors.torch import save_file

from real_sd15 import build_vae


def main():
    out = sys.argv[1]
    torch.manual_seed(0)
    save_file(build_vae().state_dict(), out + ".part", {"format": "pt"})
    os.replace(out + ".part", out)


if __name__ == "__main__":
    main()
