"""A picture of one of diffusers' pipelines, and the latent that it was decoded from."""
import numpy
import torch


def painted(pipe, seed, arguments, unpacked=lambda latents: latents):
    """The picture `[H, W, 3]` in bytes, and the latent `[C, h, w]` in fp32; `unpacked` undoes what a pipeline does to latents."""
    made = lambda kind: pipe(**arguments, generator=torch.Generator().manual_seed(seed), output_type=kind).images
    picture = torch.from_numpy((made("np")[0] * 255).round().astype(numpy.uint8))
    return picture, unpacked(made("latent"))[0].float().contiguous()
