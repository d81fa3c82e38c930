"""Random modules for reference files: the same for the same seed, and different where it matters.

Freshly made norms are 1 and 0 and padding tokens near 0, which hides swapped and unused weights: one-dimensional parameters are
perturbed, and padding tokens are random.
"""
import torch


def seeded(build, seed):
    torch.manual_seed(seed)
    module = build().eval().float()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("pad_token"):
                parameter.copy_(torch.randn_like(parameter) * 0.5)
            elif parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    return module
