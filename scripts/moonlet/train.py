#!/usr/bin/env python3
"""Trains moonlet from nothing: drawings -> autoencoder -> latents -> UNet and text encoder -> one file.

    python train.py draw    --work DIR            # 44 000 drawings of the 100 training combinations
    python train.py vae     --work DIR --steps N
    python train.py latents --work DIR            # folds statistics into the quant convolutions, encodes
    python train.py unet    --work DIR --steps N
    python train.py export  --work DIR [--out FILE]

Every stage goes on from its last checkpoint; a checkpoint is written every 200 s under a new name and
moved into place, so killing the process loses minutes at most. Batches depend only on seed and step.
Losses go to DIR/log.csv. Versions: torch 2.11 CPU, diffusers 0.42.1, transformers 5.23; seed 0.
"""
import argparse
import copy
import csv
import math
import os
import random
import time
import numpy as np
import torch
import torch.nn.functional as F
import models
import optim
from captions import TRAINED, caption
from draw import PALETTES, draw

PER_KIND, CHUNK = 110, 5                 # drawings per (combination, palette), and per chunk file
KINDS = [c + (a,) for c in TRAINED for a in PALETTES]


def write(path, save):
    """Calls save(temporary path), then moves the result into place."""
    save(path + ".new")
    with open(path + ".new", "rb") as f:
        os.fsync(f.fileno())
    os.replace(path + ".new", path)


class Run:
    """The bookkeeping of one training stage: checkpoint, log, learning rate, averaged weights."""

    def __init__(self, args, stage, nets, rates, decay):
        self.path, self.stage, self.steps = os.path.join(args.work, stage + ".pt"), stage, args.steps
        self.nets, self.decay = nets, decay
        self.log_path = os.path.join(args.work, "log.csv")
        self.average = copy.deepcopy(nets).requires_grad_(False)
        self.optimiser = optim.Optimiser(nets, *rates)
        self.step, self.seconds, self.sums = 0, 0.0, {}
        if os.path.exists(self.path):
            saved = torch.load(self.path, weights_only=True)
            nets.load_state_dict(saved["nets"])
            self.average.load_state_dict(saved["average"])
            self.optimiser.load_state_dict(saved["optimiser"])
            self.step, self.seconds = saved["step"], saved["seconds"]
            print(f"{stage}: going on from step {self.step}", flush=True)
        self.started = self.saved = time.time()

    def elapsed(self):
        return self.seconds + time.time() - self.started

    def save(self):
        state = {"nets": self.nets.state_dict(), "average": self.average.state_dict(), "step": self.step,
                 "optimiser": self.optimiser.state_dict(), "seconds": self.elapsed()}
        write(self.path, lambda p: torch.save(state, p))
        self.saved = time.time()

    def update(self, loss, parts):
        """One optimiser step; parts are numbers to log."""
        warm, done = min(1, (self.step + 1) / 100), self.step / self.steps
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.nets.parameters(), 1.0)
        self.optimiser.step(warm * (0.02 + 0.98 * (0.5 + 0.5 * math.cos(math.pi * min(1, done)))))
        self.step += 1
        keep = min(self.decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.nets.parameters()), 1 - keep)
        for k, v in parts.items():
            if v == v:
                n, total = self.sums.get(k, (0, 0.0))
                self.sums[k] = (n + 1, total + float(v))
        if self.step % 100 == 0 or self.step == self.steps:
            means = {k: round(total / n, 6) for k, (n, total) in self.sums.items()}
            self.sums = {}
            with open(self.log_path, "a", newline="") as f:
                csv.writer(f).writerow([self.stage, self.step, round(self.elapsed(), 1)] + [f"{k}={v}" for k, v in means.items()])
            print(self.stage, self.step, f"{self.elapsed():.0f} s", means, flush=True)
        if time.time() - self.saved > 200 or self.step == self.steps:
            self.save()


def stage_draw(args):
    for n in range(PER_KIND // CHUNK):
        path = os.path.join(args.work, f"drawings-{n:02}.npy")
        if not os.path.exists(path):
            images = np.stack([draw(*kind, n * CHUNK + i) for i in range(CHUNK) for kind in KINDS])
            write(path, lambda p: np.save(open(p, "wb"), images))
            print(path, images.shape, flush=True)


def drawings(args):
    """All drawings as one list of memory maps, and access by index; index % len(KINDS) is the kind."""
    stage_draw(args)
    names = sorted(n for n in os.listdir(args.work) if n.startswith("drawings-") and n.endswith(".npy"))
    maps = [np.load(os.path.join(args.work, n), mmap_mode="r") for n in names]
    return np.concatenate(maps)


def pixels(images):
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def edges(x):
    return x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]


def stage_vae(args):
    torch.manual_seed(0)
    vae, images = models.build_vae().train(), drawings(args)
    run = Run(args, "vae", vae, (0.012, 2e-3), 0.998)
    while run.step < run.steps:
        rng = torch.Generator().manual_seed(1_000_000 + run.step)
        x = pixels(images[torch.randint(len(images), (args.batch or 8,), generator=rng).numpy()])
        mean, logvar = vae.encode(x, return_dict=False)[0].parameters.chunk(2, 1)
        logvar = logvar.clamp(-30, 20)
        y = vae.decode(mean + torch.exp(0.5 * logvar) * torch.randn(mean.shape, generator=rng)).sample
        l1 = (y - x).abs().mean()
        edge = sum((a - b).abs().mean() for a, b in zip(edges(y), edges(x)))
        coarse = sum((F.avg_pool2d(y, k) - F.avg_pool2d(x, k)).abs().mean() for k in (2, 4, 8))
        kl = 0.5 * (mean ** 2 + logvar.exp() - 1 - logvar).mean()
        weight = 2e-4 if run.step < 5500 else 1e-3                   # later: more noise on the latents, a sturdier decoder
        run.update(l1 + edge + 0.5 * coarse + weight * kl, dict(
            l1=l1.item(), edge=edge.item(), coarse=coarse.item(), kl=kl.item(), noise=torch.exp(0.5 * logvar).mean().item()))


# rows: latent channels, columns: R G B; the usual rough preview of SD 1.x latents
PREVIEW = torch.tensor([[.3512, .2297, .3227], [.3250, .4974, .2350], [-.2829, .1762, .2721], [-.2120, -.2616, -.7177]])


def best_rotation(white, colour):
    """The orthogonal 4x4 matrix that makes white latents (n,4) times PREVIEW nearest to colours (n,3)."""
    best = None
    for start in range(8):
        torch.manual_seed(start)
        turn = torch.randn(4, 4, requires_grad=True)
        flip = torch.diag(torch.tensor([1.0, 1.0, 1.0, -1.0 if start % 2 else 1.0]))
        optimiser = torch.optim.Adam([turn], 0.05)
        for _ in range(300):
            matrix = torch.matrix_exp(turn - turn.T) @ flip
            loss = (white @ matrix.T @ PREVIEW - colour).pow(2).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        if best is None or loss.item() < best[0]:
            best = loss.item(), matrix.detach()
    return best[1], best[0]


def fold(vae, mean, var, images):
    """Whitens and turns the latents inside quant_conv and post_quant_conv: z' = W (z - m) / SCALE, so that
    z' * SCALE has mean 0 and variance 1. The log-variance half becomes the constant average."""
    flat = mean.permute(0, 2, 3, 1).reshape(-1, 4)
    m, cov = flat.mean(0), torch.cov(flat.T)
    values, vectors = torch.linalg.eigh(cov)
    white = vectors @ torch.diag(values.rsqrt()) @ vectors.T
    colour = F.avg_pool2d(pixels(images), 8).permute(0, 2, 3, 1).reshape(-1, 3)
    turn, error = best_rotation((flat - m) @ white.T, colour - colour.mean(0))
    w = turn @ white
    print("latent mean", m.tolist(), "std", flat.std(0).tolist(), "preview error", error, flush=True)
    noise = torch.diagonal(w @ torch.diag(var.mean((0, 2, 3))) @ w.T)
    print("posterior std in model space", noise.sqrt().tolist(), flush=True)
    with torch.no_grad():
        q, p = vae.quant_conv, vae.post_quant_conv
        q.weight[:4] = torch.einsum("ij,jkhw->ikhw", w / models.SCALE, q.weight[:4])
        q.bias[:4] = (w / models.SCALE) @ (q.bias[:4] - m)
        q.weight[4:] = 0
        q.bias[4:] = torch.log(noise / models.SCALE ** 2)
        back = torch.linalg.inv(w) * models.SCALE
        p.bias += p.weight[:, :, 0, 0] @ m
        p.weight.copy_(torch.einsum("ijhw,jk->ikhw", p.weight, back))
    return noise.sqrt()


@torch.no_grad()
def encode(vae, images):
    parts = [vae.encode(pixels(part), return_dict=False)[0].parameters.chunk(2, 1) for part in np.array_split(images, max(1, len(images) // 64))]
    return torch.cat([a for a, _ in parts]), torch.cat([b for _, b in parts]).exp()


def stage_latents(args):
    vae, images = models.build_vae(), drawings(args)
    vae.load_state_dict(torch.load(os.path.join(args.work, "vae.pt"), weights_only=True)["average"])
    vae.eval()
    some = images[:len(KINDS) * 8]
    before = vae.decode(encode(vae, some[:16])[0]).sample
    noise = fold(vae, *encode(vae, some), some)
    drift = (vae.decode(encode(vae, some[:16])[0]).sample - before).abs().max().item()
    assert drift < 1e-3, drift
    latents = encode(vae, images)[0] * models.SCALE
    flat = latents.permute(0, 2, 3, 1).reshape(-1, 4)
    print("model-space mean", flat.mean(0).tolist(), "std", flat.std(0).tolist(), "drift", drift, flush=True)
    write(os.path.join(args.work, "latents.pt"), lambda p: torch.save(
        {"vae": vae.state_dict(), "latents": latents.half(), "noise": noise}, p))


def words(vocabulary, kind, rng):
    """Ids of one training caption. Some contain unknown words, so that these come to mean nothing."""
    if rng.random() < 0.1:
        return [vocabulary.unknown] * rng.randint(1, 12) if rng.random() < 0.25 else []
    ids = vocabulary.ids(caption(*kind, rng))
    if rng.random() < 0.25:
        for _ in range(rng.randint(1, 3)):
            at = rng.randint(0, len(ids))
            ids[at:at] = [vocabulary.unknown] * rng.randint(1, 4)
    return ids


def stage_unet(args):
    torch.manual_seed(0)
    vocabulary = models.ShortVocabulary()
    data = torch.load(os.path.join(args.work, "latents.pt"), weights_only=True)
    latents, noise_std = data["latents"].float(), data["noise"].view(1, 4, 1, 1)
    nets = torch.nn.ModuleDict({"unet": models.build_unet(), "text": models.build_text(vocabulary.size)}).train()
    run = Run(args, "unet", nets, (0.012, 1.5e-3), 0.9995)
    signal, batch = models.alphas_cumprod(), args.batch or 64
    while run.step < run.steps:
        rng, words_rng = torch.Generator().manual_seed(2_000_000 + run.step), random.Random(3_000_000 + run.step)
        pick = torch.randint(len(latents), (batch,), generator=rng)
        rows = [vocabulary.frame(words(vocabulary, KINDS[i % len(KINDS)], words_rng)) for i in pick.tolist()]
        x0 = latents[pick] + noise_std * torch.randn(batch, 4, 8, 8, generator=rng)
        t = torch.randint(0, 1000, (batch,), generator=rng)
        high = torch.rand(batch, generator=rng) < 0.35               # the noisy end decides what is where
        t = torch.where(high, 500 + t // 2, t)
        eps = torch.randn(x0.shape, generator=rng)
        pure = torch.rand(batch, generator=rng) < 0.04               # samplers start from noise alone, so learn that too
        t = torch.where(pure, 999, t)
        a = signal[t].sqrt().float().view(-1, 1, 1, 1)
        s = (1 - signal[t]).sqrt().float().view(-1, 1, 1, 1)
        x = torch.where(pure.view(-1, 1, 1, 1), eps, a * x0 + s * eps)
        target = (x - a * x0) / s
        context = nets["text"](torch.tensor(rows)).last_hidden_state
        each = (nets["unet"](x, t, context).sample - target).pow(2).mean((1, 2, 3))
        parts = {f"t{lo}": each[(t >= lo) & (t < lo + 250)].mean().item() for lo in (0, 250, 500, 750)}
        run.update(each.mean(), dict(loss=each.mean().item(), **parts))


def stage_export(args):
    vocabulary = models.ShortVocabulary()
    vae, unet, text = models.build_vae(), models.build_unet(), models.build_text(vocabulary.size)
    vae.load_state_dict(torch.load(os.path.join(args.work, "latents.pt"), weights_only=True)["vae"])
    saved = torch.load(os.path.join(args.work, "unet.pt"), weights_only=True)
    nets = torch.nn.ModuleDict({"unet": unet, "text": text})
    nets.load_state_dict(saved["average"])
    models.export(args.out, unet, vae, text, vocabulary)
    for name, part in (("unet", unet), ("vae", vae), ("text (full table)", models.build_text())):
        print(f"{name}: {sum(p.numel() for p in part.parameters())} weights")
    print(f"step {saved['step']}, {saved['seconds']:.0f} s; {args.out}: {os.path.getsize(args.out)} bytes")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=("draw", "vae", "latents", "unet", "export"))
    parser.add_argument("--work", default="target/moonlet")
    parser.add_argument("--steps", type=int, default=20000)
    parser.add_argument("--batch", type=int, default=0)
    parser.add_argument("--out", default=models.FILE)
    arguments = parser.parse_args()
    os.makedirs(arguments.work, exist_ok=True)
    globals()["stage_" + arguments.stage](arguments)
