#!/usr/bin/env python3
"""The judge of moonlet's pictures. It was written and fitted before the generator was trained and it
has only ever seen drawings (draw.py), never a generated picture.

Sky colour is a plain rule on the upper rows. Moon phase, landscape and palette come from one small conv
net fitted on drawings with hue turns, blur, noise and small shifts. Phase and landscape have an extra
class "none", fitted on moonless or bare skies, blends of two drawings, shuffled blocks and heavy blur:
a smear is a miss, not a lucky guess. Versions: torch 2.11 CPU, numpy 2.4; seed 5. About 5 minutes.

    python classify.py fit            # fits, writes classifier.safetensors beside this file
    python classify.py test           # error on fresh drawings, sharp and blurred, with confusion tables
"""
import os
import sys
import time
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from draw import LANDS, PALETTES, PHASES, SKIES, draw

FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "classifier.safetensors")
HEADS = {"moon": PHASES + ("none",), "land": LANDS + ("none",), "palette": PALETTES}
FIT_SEED, TEST_SEED = 5_000_000, 6_000_000       # far from the training drawings, which start at 0


def sky_colour(image):
    """The median of rows 2 to 21, named by fixed hue ranges; "none" between the ranges or for grey."""
    r, g, b = np.median(image[2:22].reshape(-1, 3).astype(np.float32) / 255, 0)
    value, low = max(r, g, b), min(r, g, b)
    if value < 0.16:
        return "black"
    if (value - low) / value < 0.4:
        return "none"
    c = value - low
    hue = 60 * (((g - b) / c) % 6 if value == r else (b - r) / c + 2 if value == g else (r - g) / c + 4)
    for name, a, z in (("red", -14, 13), ("orange", 14, 48), ("green", 110, 185), ("blue", 200, 245), ("purple", 252, 300)):
        if a <= (hue - 360 if hue > 330 else hue) <= z:
            return name
    return "none"


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        widths = (3, 16, 32, 48, 64)
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in zip(widths, widths[1:]))
        self.norms = nn.ModuleList(nn.GroupNorm(8, b) for b in widths[1:])
        self.heads = nn.ModuleDict({k: nn.Linear(64 * 16, len(v)) for k, v in HEADS.items()})

    def forward(self, x):
        for conv, norm in zip(self.convs, self.norms):
            x = F.silu(norm(conv(x)))
        x = F.dropout(x.flatten(1), 0.2, self.training)
        return {k: head(x) for k, head in self.heads.items()}


def blur(x, sigma):
    r = 4
    k = torch.exp(-0.5 * (torch.arange(-r, r + 1) / sigma) ** 2)
    k = (k / k.sum()).view(1, 1, -1)
    n, c, h, w = x.shape
    x = F.conv2d(F.pad(x.reshape(n * c, 1, h, w), (r, r, r, r), mode="reflect"), k[..., None])
    return F.conv2d(x, k[:, :, None, :]).reshape(n, c, h, w)


def turn_hue(x, turn):
    """Rotate colours about the grey axis by `turn` (radians, one per image)."""
    c, s = torch.cos(turn), torch.sin(turn) / 3 ** 0.5
    a, b, d = (1 + 2 * c) / 3, (1 - c) / 3 - s, (1 - c) / 3 + s
    m = torch.stack([a, b, d, d, a, b, b, d, a], 1).view(-1, 3, 3)
    return torch.einsum("nij,njhw->nihw", m, x)


def augment(x, rng):
    n = len(x)
    pick = lambda lo, hi: torch.rand(n, 1, 1, 1, generator=rng) * (hi - lo) + lo
    shift = torch.randint(-3, 4, (2,), generator=rng).tolist()
    x = torch.roll(F.pad(x, (4, 4, 4, 4), mode="reflect"), shift, (2, 3))[..., 4:-4, 4:-4]
    some = torch.rand(n, generator=rng) < 0.3                    # palettes are colours: turn only a few
    x = torch.where(some.view(-1, 1, 1, 1), turn_hue(x, (torch.rand(n, generator=rng) - 0.5) * 6.28), x)
    x = (x - 0.5) * pick(0.8, 1.15) + 0.5 + pick(-0.08, 0.08)
    if torch.rand((), generator=rng) < 0.6:
        x = blur(x, 0.3 + 1.3 * torch.rand((), generator=rng).item())
    return (x + torch.randn(x.shape, generator=rng) * pick(0, 0.06)).clamp(0, 1), ~some


def plain(count, first):
    """Equal numbers of every kind, in shuffled order: (n,64,64,3) pictures and their four labels."""
    kinds = [(p, s, l, a) for p in range(4) for s in range(6) for l in range(5) for a in range(4)]
    rng, images, labels = np.random.default_rng(first), [], []
    for i in range(count):
        if i % len(kinds) == 0:
            rng.shuffle(kinds)
        p, s, l, a = kinds[i % len(kinds)]
        images.append(draw(PHASES[p], SKIES[s], LANDS[l], PALETTES[a], first + i))
        labels.append((p, s, l, a))
    return np.stack(images), np.array(labels)


def spoilt(images, labels, first):
    """Pictures in which moon, landscape or both must be called "none" (label -1 means: do not fit)."""
    rng, out, tags = np.random.default_rng(first + 1), [], []
    for i in range(len(images) // 3):
        p, s, l, a = labels[i]
        kind, j = i % 5, rng.integers(len(images))
        other, other_label = images[j].astype(np.float32), labels[j]
        mine = images[i].astype(np.float32)
        if kind == 0:
            pic, tag = draw(None, SKIES[s], LANDS[l], PALETTES[a], first + i), (4, l, a)
        elif kind == 1:
            pic, tag = draw(PHASES[p], SKIES[s], None, PALETTES[a], first + i), (p, 5, -1)
        elif kind == 2:                                          # half of each of two drawings
            pic, tag = (mine + other) / 2, (4 if other_label[0] != p else -1, 5 if other_label[2] != l else -1, -1)
        elif kind == 3:                                          # 8x8 blocks in random order
            blocks = mine.reshape(8, 8, 8, 8, 3).swapaxes(1, 2).reshape(64, 8, 8, 3)[rng.permutation(64)]
            pic, tag = blocks.reshape(8, 8, 8, 8, 3).swapaxes(1, 2).reshape(64, 64, 3), (4, 5, -1)
        else:                                                    # only 8x8 average colours are left
            pic, tag = mine.reshape(8, 8, 8, 8, 3).mean((1, 3)).repeat(8, 0).repeat(8, 1), (4, 5, -1)
            pic = pic if rng.random() < 0.5 else blur(torch.from_numpy(mine).permute(2, 0, 1)[None], 4.0)[0].permute(1, 2, 0).numpy()
        out.append(np.clip(pic, 0, 255).astype(np.uint8))
        tags.append(tag)
    return np.stack(out), np.array(tags)


def to_tensor(images):
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255


def fit(steps=2600, batch=64, count=8640):
    torch.manual_seed(5)
    start, rng = time.time(), torch.Generator().manual_seed(5)
    images, labels = plain(count, FIT_SEED)
    bad, tags = spoilt(images, labels, FIT_SEED)
    print(f"{len(images)} drawings and {len(bad)} spoilt ones in {time.time() - start:.0f} s", flush=True)
    x = to_tensor(np.concatenate([images, bad]))
    y = torch.from_numpy(np.concatenate([labels[:, [0, 2, 3]], tags]))
    net = Net()
    opt = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=0.02)
    rate = torch.optim.lr_scheduler.OneCycleLR(opt, 2e-3, steps)
    for step in range(steps):
        pick = torch.randint(len(x), (batch,), generator=rng)
        pictures, true_colours = augment(x[pick], rng)
        out, want = net(pictures), y[pick].clone()
        want[~true_colours, 2] = -1
        loss = sum(F.cross_entropy(out[k], want[:, i], ignore_index=-1) for i, k in enumerate(HEADS))
        opt.zero_grad()
        loss.backward()
        opt.step()
        rate.step()
        if step % 200 == 0 or step == steps - 1:
            print(f"step {step} loss {loss.item():.3f} {time.time() - start:.0f} s", flush=True)
    save_file({k: v.half() for k, v in net.state_dict().items()}, FILE, {"format": "pt"})


class Judge:
    """judge(images) -> a list of dicts with moon, sky, land, palette, for uint8 pictures (n,64,64,3)."""

    def __init__(self):
        self.net = Net()
        self.net.load_state_dict({k: v.float() for k, v in load_file(FILE).items()})
        self.net.eval()

    @torch.no_grad()
    def __call__(self, images):
        out = {}
        for part in torch.split(to_tensor(np.asarray(images)), 256):
            for k, v in self.net(part).items():
                out.setdefault(k, []).extend(HEADS[k][i] for i in v.argmax(1).tolist())
        out["sky"] = [sky_colour(im) for im in images]
        return [dict(zip(out, row)) for row in zip(*out.values())]


def test(count=1920):
    judge = Judge()
    images, labels = plain(count, TEST_SEED)
    names = [dict(moon=PHASES[p], sky=SKIES[s], land=LANDS[l], palette=PALETTES[a]) for p, s, l, a in labels]
    bad, tags = spoilt(images, labels, TEST_SEED)
    for title, sigma in (("sharp", 0), ("blur 1.0", 1.0), ("blur 1.5 + noise 0.04", 1.5)):
        pics = images
        if sigma:
            soft = blur(to_tensor(images), sigma)
            soft = soft + (0.04 * torch.randn(soft.shape, generator=torch.Generator().manual_seed(1)) if sigma > 1 else 0)
            pics = (soft.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
        got = judge(pics)
        print(f"{title}: " + "  ".join(
            f"{k} error {100 * np.mean([g[k] != n[k] for g, n in zip(got, names)]):.2f} %" for k in ("sky", "land", "moon", "palette")))
        for key, every in (("sky", SKIES), ("land", LANDS), ("moon", PHASES)):
            columns = every + ("none",)
            print(f"  {key:10}" + "".join(f"{c:>10}" for c in columns) + "   (rows: drawn, columns: judged)")
            for want in every:
                row = [sum(g[key] == c for g, n in zip(got, names) if n[key] == want) for c in columns]
                print(f"  {want:10}" + "".join(f"{v:10}" for v in row))
    got = judge(bad)
    for i, key in enumerate(("moon", "land")):
        none = [g[key] == "none" for g, t in zip(got, tags) if t[i] == len(HEADS[key]) - 1]
        print(f"spoilt pictures: {key} called none in {100 * np.mean(none):.1f} % of {len(none)}")


if __name__ == "__main__":
    fit() if sys.argv[1] == "fit" else test()
