#!/usr/bin/env python3
"""Scores moonlet: 60 prompts for the 20 combinations that training never saw, two seeds each, judged by
classify.py. Prints a table per attribute and exits 1 when a bar is missed (sky 85, landscape 75, moon 65 %).

    python score.py                                   # diffusers, from moonlet.safetensors
    python score.py --run "target/release/perilune run"   # the program itself, one call per picture
    python score.py --prompts trained                 # for development: combinations that training saw
    python score.py --sheet out.png                   # also writes all pictures on one page

Versions: torch 2.11 CPU, diffusers 0.42.1, transformers 5.23, numpy 2.4, pillow 13. Seeds 1 and 2.
"""
import argparse
import json
import random
import shlex
import subprocess
import sys
import time
import numpy as np
from captions import TRAINED, caption, score_prompts
from classify import Judge
from draw import LANDS, PALETTES, PHASES, SKIES, sheet

BARS = {"sky": 85.0, "land": 75.0, "moon": 65.0}
VALUES = {"sky": SKIES, "land": LANDS, "moon": PHASES}


def trained_prompts():
    """Like the score prompts, but of combinations that training saw."""
    rng = random.Random(61)
    return [(caption(*c, a, rng, complete=True), *c, a)
            for c in rng.sample(TRAINED, 20) for a in (None, rng.choice(PALETTES), None)]


def reference(prompts, seeds, args):
    """Pictures from the exported file through diffusers, in batches of one prompt list per seed."""
    import models
    import tokens
    unet, vae, text = models.load(args.file)
    ids = [tokens.frame(tokens.encode(p)) for p in prompts]
    out = []
    for seed in seeds:
        latents = models.sample(unet, text, ids, [seed] * len(ids), args.steps, args.cfg)
        out.extend(models.decode(vae, latents))
    return np.stack(out)


def program(prompts, seeds, args):
    """Pictures from the real program: one call per prompt and seed; the last JSON line names the files."""
    from PIL import Image
    out = []
    for seed in seeds:
        for prompt in prompts:
            command = shlex.split(args.run) + ["-m", "moonlet", "-p", prompt, "--seed", str(seed), "--json"]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
            if done.returncode:
                sys.exit(f"exit status {done.returncode}: {shlex.join(command)}")
            lines = [line for line in done.stdout.splitlines() if line.lstrip().startswith("{")]
            if not lines:
                sys.exit(f"no JSON on stdout: {shlex.join(command)}")
            paths = [image["path"] for image in json.loads(lines[-1])["images"]]
            image = np.asarray(Image.open(paths[0]).convert("RGB"))
            if image.shape != (64, 64, 3):
                sys.exit(f"{paths[0]} is {image.shape[1]}x{image.shape[0]}, expected 64x64")
            out.append(image)
    return np.stack(out)


def table(wanted, got):
    """Prints the rates; returns the attributes that miss their bar."""
    missed = []
    rate = lambda hits: 100.0 * float(np.mean(hits))
    print(f"{'attribute':12}{'right':>8}{'bar':>8}{'':>4}by value (right of drawn; most frequent mistake)")
    for key, bar in BARS.items():
        hits = [g[key] == w[key] for g, w in zip(got, wanted)]
        cells = []
        for value in VALUES[key]:
            mine = [g[key] for g, w in zip(got, wanted) if w[key] == value]
            wrong = [m for m in mine if m != value]
            worst = f" ({max(set(wrong), key=wrong.count)})" if wrong else ""
            cells.append(f"{value} {len(mine) - len(wrong)}/{len(mine)}{worst}")
        print(f"{key:12}{rate(hits):7.1f}%{bar:7.0f}%    " + ", ".join(cells))
        if rate(hits) < bar:
            missed.append(key)
    tones = [(g["palette"], w["palette"]) for g, w in zip(got, wanted) if w["palette"]]
    print(f"{'palette':12}{rate([a == b for a, b in tones]):7.1f}%{'none':>8}    in the {len(tones)} pictures whose prompt names one")
    print(f"{'all three':12}{rate([all(g[k] == w[k] for k in BARS) for g, w in zip(got, wanted)]):7.1f}%{'none':>8}    of {len(got)} pictures")
    return missed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sampler", choices=("reference",), default="reference")
    parser.add_argument("--run", help="command line of the program, up to its subcommand")
    parser.add_argument("--file", default=None, help="weights for the reference sampler")
    parser.add_argument("--prompts", choices=("held-out", "trained"), default="held-out")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--cfg", type=float, default=5.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--sheet")
    args = parser.parse_args()
    if args.file is None and not args.run:
        import models
        args.file = models.FILE
    rows, start = score_prompts() if args.prompts == "held-out" else trained_prompts(), time.time()
    images = (program if args.run else reference)([r[0] for r in rows], args.seeds, args)
    print(f"{len(images)} pictures in {time.time() - start:.0f} s, prompts: {args.prompts}, "
          + (args.run if args.run else f"reference sampler, DPM++ 2M karras, {args.steps} steps, cfg {args.cfg}"))
    wanted = [dict(zip(("moon", "sky", "land", "palette"), r[1:])) for r in rows] * len(args.seeds)
    missed = table(wanted, Judge()(images))
    if args.sheet:
        sheet(list(images), 15, 1).save(args.sheet)
    print("missed: " + ", ".join(missed) if missed else "all bars met")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
