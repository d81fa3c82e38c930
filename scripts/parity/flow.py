#!/usr/bin/env python3
"""Makes tests/fixtures/parity/flow.json: what diffusers computes for flow matching, and around guidance.

    pip install -r scripts/parity/requirements.txt
    python scripts/parity/flow.py

`levels`: FlowMatchEulerDiscreteScheduler as SD3 has it (shift 3, its own spacing) and as FluxPipeline has it
(levels 1 … 1/n, shifted by the mu of a picture's size), in diffusers' single precision.

`runs`: the toy of samplers.py walked down flow matching's levels by the schedulers below, which are handed
(x - x0) / s for the network's output. They compute steps in single precision.
  euler          FlowMatchEulerDiscreteScheduler
  heun           FlowMatchHeunDiscreteScheduler
  lcm            FlowMatchLCMScheduler
  dpmpp_2m_sde   DPMSolverMultistepScheduler, sde-dpmsolver++, midpoint, flow levels
A run starts at START; the k-th noise is 1.1 sin(1.7 k + 0.9 i + 0.3).

`rescaled`: rescale_noise_cfg of diffusers' StableDiffusionPipeline. `zero_terminal`: every hundredth level of
Stable Diffusion's table after rescale_zero_terminal_snr, but for the last, which is infinite.
"""

import json
import math
import pathlib
import platform

import diffusers
import numpy as np
import torch
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg
from diffusers.schedulers import scheduling_flow_match_lcm
from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr

from toy import START, Toy

torch.set_default_dtype(torch.float64)
torch.set_grad_enabled(False)

OUT = pathlib.Path(__file__).parents[2] / "tests/fixtures/parity/flow.json"


def sd3_levels(n):
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=3.0)
    scheduler.set_timesteps(n)
    return scheduler.sigmas.tolist()


def flux_levels(n, tokens):
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(
        num_train_timesteps=1000, shift=3.0, use_dynamic_shifting=True,
        base_image_seq_len=256, max_image_seq_len=4096, base_shift=0.5, max_shift=1.15,
    )
    mu = calculate_shift(tokens)
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / n, n), mu=mu)
    return mu, scheduler.sigmas.tolist()


class FlowToy(Toy):
    def output(self, x, sigma):
        return (x - self.x0(x, sigma)) / float(sigma)


def walk(scheduler, levels, toy, extra=lambda toy, sigma: {}):
    x, path = torch.tensor([START]), []
    for level, t in zip(levels, scheduler.timesteps):
        x = scheduler.step(toy.output(x, level), t, x, **extra(toy, level)).prev_sample
        path.append(x[0].tolist())
    return path


def set_levels(scheduler, levels, timesteps):
    """Hands a scheduler its levels in double precision, behind the spacing that it has of its own."""
    scheduler.set_timesteps(len(levels) - 1)
    scheduler.sigmas, scheduler.timesteps = torch.tensor(levels), torch.tensor(timesteps)
    scheduler.num_inference_steps = len(timesteps)
    return scheduler


def euler(levels, toy):
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    return walk(set_levels(scheduler, levels, [s * 1000 for s in levels[:-1]]), levels, toy)


def heun(levels, toy):
    scheduler = diffusers.FlowMatchHeunDiscreteScheduler(shift=3.0)
    # Levels and times between stand twice: each for the look ahead and for the step from there.
    doubled = levels[:1] + [s for s in levels[1:-1] for _ in (0, 1)] + levels[-1:]
    scheduler.set_timesteps(len(levels) - 1)
    scheduler.sigmas = torch.tensor(doubled)
    scheduler.timesteps = torch.tensor([s * 1000 for s in doubled[:-1]])
    found = walk(scheduler, doubled, toy)
    return found[1::2] + found[-1:]


def lcm(levels, toy):
    scheduling_flow_match_lcm.randn_tensor = lambda *_, **__: toy.noise()
    scheduler = diffusers.FlowMatchLCMScheduler(shift=3.0)
    path = walk(set_levels(scheduler, levels, [s * 1000 for s in levels[:-1]]), levels, toy)
    toy.noises -= 1  # Its last noise is at level 0.
    return path


def dpmpp_2m_sde(levels, toy):
    scheduler = diffusers.DPMSolverMultistepScheduler(
        algorithm_type="sde-dpmsolver++", solver_order=2, solver_type="midpoint", prediction_type="flow_prediction",
        use_flow_sigmas=True, flow_shift=3.0, final_sigmas_type="zero", lower_order_final=False,
    )
    set_levels(scheduler, levels, list(range(len(levels) - 1, 0, -1)))
    path = walk(scheduler, levels, toy, lambda toy, level: {"variance_noise": toy.noise()})
    toy.noises -= 1  # Its last noise is at level 0.
    return path


def rescaled():
    one, other = ([[math.sin(a * i + b * j) * (1 + j) for i in range(5)] for j in range(2)] for a, b in ((1.3, 0.4), (0.7, 2.1)))
    scale = 7.5
    with_, without = torch.tensor(one), torch.tensor(other)
    guided = without + scale * (with_ - without)
    parts = [[part, rescale_noise_cfg(guided, with_, part).tolist()] for part in (0.0, 0.3, 0.7, 1.0)]
    return {"with": one, "without": other, "scale": scale, "parts": parts}


def zero_terminal():
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    kept = torch.cumprod(1 - rescale_zero_terminal_snr(betas), 0)
    return torch.sqrt((1 - kept) / kept)[:-1:100].tolist()


def main():
    shifted = [3 * t / (1 + 2 * t) for t in (1 - i / 12 for i in range(12))] + [0.0]
    runs = []
    for run in (euler, heun, lcm, dpmpp_2m_sde):
        levels = list(shifted)
        if run is dpmpp_2m_sde:
            levels[0] = 3 * 0.9999 / (1 + 2 * 0.9999)
        toy = FlowToy()
        path = run(levels, toy)
        assert len(path) == 12, (run, len(path))
        runs.append({"sampler": run.__name__, "noises": toy.noises, "calls": toy.calls, "path": [[float(f"{v:.8g}") for v in x] for x in path]})
    flux = []
    for n, tokens in ((4, 256), (8, 1024), (20, 4096), (25, 9216)):
        mu, levels = flux_levels(n, tokens)
        flux.append({"tokens": tokens, "mu": mu, "levels": levels})
    fixture = {
        "made_by": "scripts/parity/flow.py",
        "command": "python scripts/parity/flow.py",
        "versions": {"python": platform.python_version(), "torch": torch.__version__.split("+")[0],
                     "diffusers": diffusers.__version__, "numpy": np.__version__},
        "seed": "none: noise is a formula, see the script",
        "start": START,
        "sd3": [sd3_levels(n) for n in (4, 28, 50)],
        "flux": flux,
        "rescaled": rescaled(),
        "zero_terminal": zero_terminal(),
    }
    lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in fixture.items())
    body = ",\n".join(json.dumps(r) for r in runs)
    OUT.write_text("{\n" + lines + ',\n"runs": [\n' + body + "\n]\n}\n")
    print(f"{OUT}: {OUT.stat().st_size} bytes, {len(runs)} runs")


main()
