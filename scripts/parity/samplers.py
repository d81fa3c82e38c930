#!/usr/bin/env python3
"""Makes tests/fixtures/parity/samplers.json: what k-diffusion and diffusers compute for every sampler
on every schedule, on a small nonlinear toy, in double precision.

    pip install torch diffusers scipy torchsde torchdiffeq && pip install --no-deps k-diffusion
    python scripts/parity/samplers.py

The toy, for a state x of four elements and a level s, with c = 1/sqrt(1 + s^2):

    x0_i = tanh(1.5 c (x_i + 0.3 x_{i+1})) + 0.2 c sin(0.5 x_i)        (indices in a circle)

A run starts at START times its first level. The k-th call for noise gets 1.1 sin(1.7 k + 0.9 i + 0.3).

Which reference computes what:
  euler, euler_ancestral, heun, dpm_2, dpmpp_2s_ancestral, dpmpp_2m, dpmpp_2m_sde (midpoint),
  dpmpp_3m_sde, dpmpp_sde   k_diffusion.sampling
  uni_pc   diffusers.UniPCMultistepScheduler, order 3, bh1, predicting the sample, with these levels
           and 0.001 for the last, where ComfyUI ends too
  ddim     diffusers.DDIMScheduler, eta 0, on a table that is just these levels, ending at alpha 1
  lcm      diffusers.LCMScheduler, with a timestep scaling so large that c_skip is 0 and c_out is 1
The last three keep x/sqrt(1 + s^2); it is scaled back here.

Levels: karras and exponential are k-diffusion's functions, beta's quantiles are scipy's; normal,
sgm_uniform, simple, ddim_uniform, linear_quadratic and kl_optimal are a few lines of numpy each (k-diffusion's own `normal` rounds times
to single precision and is held against ours to 1e-6 here).
"""

import importlib.util
import json
import math
import pathlib
import platform
import sys
import types

import numpy as np
import scipy
import torch
from importlib.metadata import version
from scipy import stats

import diffusers
from diffusers.schedulers import scheduling_lcm

from toy import START, Toy

torch.set_default_dtype(torch.float64)
torch.set_grad_enabled(False)

STEPS = 12
BETA_STEPS = 64
OUT = pathlib.Path(__file__).parents[2] / "tests/fixtures/parity/samplers.json"


def load_k_diffusion():
    """Imports k_diffusion.sampling and .external alone: the package's own door wants training tools."""
    folder = pathlib.Path(importlib.util.find_spec("k_diffusion").submodule_search_locations[0])
    package = types.ModuleType("k_diffusion")
    package.__path__ = [str(folder)]
    utils = types.ModuleType("k_diffusion.utils")
    utils.append_dims = lambda x, dims: x[(...,) + (None,) * (dims - x.ndim)]
    sys.modules.update({"k_diffusion": package, "k_diffusion.utils": utils})
    package.utils = utils
    return importlib.import_module("k_diffusion.sampling"), importlib.import_module("k_diffusion.external")


kd, external = load_k_diffusion()

betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
kept = np.cumprod(1 - betas)
TABLE = np.sqrt((1 - kept) / kept)


def sigma_at(times):
    return np.exp(np.interp(times, np.arange(1000), np.log(TABLE)))


def beta_times(n):
    quantiles = 1 - np.linspace(0, 1, n, endpoint=False)
    times = np.rint(stats.beta.ppf(quantiles, 0.6, 0.6) * 999).astype(int)
    return [int(t) for i, t in enumerate(times) if i == 0 or t != times[i - 1]]


def levels(schedule, n):
    low, high = TABLE[0], TABLE[-1]
    if schedule == "normal":
        found = sigma_at(np.linspace(999, 0, n))
        theirs = external.DiscreteSchedule(torch.tensor(TABLE), False).get_sigmas(n).numpy()[:-1]
        assert np.allclose(found, theirs, rtol=1e-6, atol=0)
    elif schedule == "sgm_uniform":
        found = sigma_at(np.linspace(999, 0, n + 1)[:-1])
    elif schedule == "simple":
        found = [TABLE[-(1 + int(i * (1000 / n)))] for i in range(n)]
    elif schedule == "karras":
        found = kd.get_sigmas_karras(n, low, high).numpy()[:-1]
    elif schedule == "exponential":
        found = kd.get_sigmas_exponential(n, low, high).numpy()[:-1]
    elif schedule == "beta":
        found = [TABLE[t] for t in beta_times(n)]
    elif schedule == "ddim_uniform":
        found = TABLE[1 :: max(1000 // n, 1)][::-1]
    elif schedule == "kl_optimal":
        found = np.tan(np.linspace(math.atan(high), math.atan(low), n))
    elif schedule == "linear_quadratic":
        # Genmo's Mochi: a line to 0.025 in half of the steps, then q i^2 + l i + c up to 1.
        half, i = n // 2, np.arange(n)
        q = (half - 0.025 * n) / (half * (n - half) ** 2)
        slope = 0.025 / half - 2 * (half - 0.025 * n) / (n - half) ** 2
        found = high * (1 - np.where(i < half, i * 0.025 / half, q * i**2 + slope * i + q * half**2))
    return [float(s) for s in found] + [0.0]


SCHEDULES = ["normal", "karras", "exponential", "sgm_uniform", "simple", "beta", "ddim_uniform", "linear_quadratic", "kl_optimal"]


def course(schedule, sampler):
    if sampler not in ("uni_pc", "dpm_2"):
        return levels(schedule, STEPS)
    finer = levels(schedule, STEPS + 1)
    return finer[:-2] + finer[-1:]


def k_diffusion_run(name, sigmas, x, toy):
    """The state after every step: the callback gets it at the start of each."""
    path = []
    extra = {} if name in ("euler", "heun", "dpm_2", "dpmpp_2m") else {"noise_sampler": toy.noise}
    end = getattr(kd, f"sample_{name}")(
        lambda x, sigma: toy.x0(x, sigma[0]), x, torch.tensor(sigmas), disable=True,
        callback=lambda info: path.append(info["x"].clone()), **extra,
    )
    return path[1:] + [end]


def unit(sigma):
    return math.sqrt(1 + sigma * sigma)


def unipc_run(sigmas, x, toy):
    scheduler = diffusers.UniPCMultistepScheduler(
        solver_order=3, solver_type="bh1", prediction_type="sample", predict_x0=True, lower_order_final=True,
        final_sigmas_type="zero",
    )
    count = len(sigmas) - 1
    scheduler.set_timesteps(count)
    ends = sigmas[:-1] + [0.001]
    scheduler.sigmas = torch.tensor(ends)
    scheduler.timesteps = torch.arange(count, 0, -1)
    state, path = x / unit(sigmas[0]), []
    for i, t in enumerate(scheduler.timesteps):
        answer = toy.x0(state * unit(ends[i]), ends[i])
        state = scheduler.step(answer, t, state).prev_sample
        assert state.dtype == torch.float64
        path.append(state * unit(ends[i + 1]))
    return path


def on_a_table_of(levels_above_zero):
    rising = np.array(levels_above_zero[::-1])
    return torch.tensor(1 / (1 + rising**2))


def ddim_run(sigmas, x, toy):
    count = len(sigmas) - 1
    scheduler = diffusers.DDIMScheduler(
        num_train_timesteps=count, prediction_type="sample", clip_sample=False, set_alpha_to_one=True, steps_offset=0
    )
    scheduler.set_timesteps(count)
    scheduler.alphas_cumprod = on_a_table_of(sigmas[:-1])
    scheduler.final_alpha_cumprod = torch.tensor(1.0)
    state, path = x / unit(sigmas[0]), []
    for i, t in enumerate(scheduler.timesteps):
        answer = toy.x0(state * unit(sigmas[i]), sigmas[i])
        state = scheduler.step(answer, t, state).prev_sample
        path.append(state * unit(sigmas[i + 1]))
    return path


def lcm_run(sigmas, x, toy):
    count = len(sigmas) - 1
    scheduler = diffusers.LCMScheduler(
        num_train_timesteps=count + 1, original_inference_steps=count + 1, prediction_type="sample", clip_sample=False,
        timestep_scaling=1e12,
    )
    scheduler.set_timesteps(timesteps=list(range(count, 0, -1)))
    # Time 0 is never asked for; there c_skip is 1 whatever the scaling.
    scheduler.alphas_cumprod = torch.cat([torch.ones(1), on_a_table_of(sigmas[:-1])])
    scheduling_lcm.randn_tensor = toy.noise
    state, path = x / unit(sigmas[0]), []
    for i, t in enumerate(scheduler.timesteps):
        answer = toy.x0(state * unit(sigmas[i]), sigmas[i])
        state = scheduler.step(answer, t, state).prev_sample
        path.append(state * unit(sigmas[i + 1]))
    return path


RUNS = {name: (lambda name: lambda *a: k_diffusion_run(name, *a))(name) for name in
        ["euler", "euler_ancestral", "heun", "dpm_2", "dpmpp_2s_ancestral", "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_3m_sde", "dpmpp_sde"]}
RUNS |= {"ddim": ddim_run, "lcm": lcm_run, "uni_pc": unipc_run}


def main():
    runs = []
    for sampler, run in RUNS.items():
        for schedule in SCHEDULES:
            sigmas = course(schedule, sampler)
            toy = Toy()
            path = run(sigmas, torch.tensor([START]) * sigmas[0], toy)
            assert len(path) == len(sigmas) - 1
            runs.append({
                "sampler": sampler, "schedule": schedule, "noises": toy.noises, "calls": toy.calls,
                "path": [[float(f"{v:.14g}") for v in x[0].tolist()] for x in path],
            })
    wrapped = external.DiscreteSchedule(torch.tensor(TABLE), False)
    probes = torch.tensor([0.001, 0.0291672, 0.03, 0.1, 0.5, 1.0, 1.7, 3.3, 7.7, 12.0, 14.6, 14.6146412, 20.0])
    times = [[float(s), float(a), float(b)] for s, a, b in
             zip(probes, wrapped.sigma_to_t(probes, False), wrapped.sigma_to_t(probes, True))]
    fixture = {
        "made_by": "scripts/parity/samplers.py",
        "command": "python scripts/parity/samplers.py",
        "versions": {"python": platform.python_version(), "torch": torch.__version__.split("+")[0],
                     "diffusers": diffusers.__version__, "k-diffusion": version("k-diffusion"),
                     "numpy": np.__version__, "scipy": scipy.__version__},
        "seed": "none: noise is a formula, see the script",
        "steps": STEPS,
        "start": START,
        "sigmas": {s: {kind: course(s, kind) for kind in ("others", "uni_pc")} for s in SCHEDULES},
        "times": times,
        "beta_times": [beta_times(n) for n in range(1, BETA_STEPS + 1)],
        "runs": runs,
    }
    lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in fixture.items() if k != "runs")
    body = ",\n".join(json.dumps(r) for r in runs)
    OUT.write_text("{\n" + lines + ',\n"runs": [\n' + body + "\n]\n}\n")
    print(f"{OUT}: {OUT.stat().st_size} bytes, {len(runs)} runs")


main()
