"""Whether copies and computing wait for each other where they must: the same picture where places in staging memory are poisoned once
they are free, where nothing is given out ahead, and under compute-sanitizer."""
import json
from dataclasses import dataclass
from typing import Any

import sanitizer
from everything import PROMPT, streamed
from home import Failed
from pictures import pixels
from rows import Row

# The engine fills each place with 0xFF as soon as its block has been computed with.
POISON = "PERILUNE_POISON_STAGING"
STEPS = 6


@dataclass
class Case:
    """A run with most of every part elsewhere. `resident` is the picture without that, `streamed` the one with it."""
    what: str
    flags: list
    resident: Any
    streamed: Any


def networks(home):
    """moonlet's network: copied as it is computed with, expanded beside the ring, and expanded there out of fewer bits."""
    yield "moonlet fp16", "moonlet", "fp16"
    yield "moonlet fp32 from fp16", "moonlet", "fp32"
    yield "moonlet fp16 from Q8_0", json.loads(home.run("convert", "moonlet", "--to", "Q8_0", "--json").splitlines()[-1])["output"], "fp16"


def picture(home, flags):
    return pixels(home.paint(*flags)["images"][0]["path"])


def cases(home, device):
    """Each network with each donor."""
    for name, network, precision in networks(home):
        flags = ["--model", network, "--clip", "moonlet", "--vae", "moonlet", "--prompt", PROMPT, "--negative", "", "--seed", 1,
                 "--steps", STEPS, "--size", "64x64", "--precision", precision, "--compute-device", device]
        resident = picture(home, flags)
        for donor in ("disk",) if device == "cpu" else ("cpu", "disk"):
            elsewhere = [*flags, *streamed(device, donor)]
            yield Case(f"{name}, 90 % of each part on {donor}", elsewhere, resident, picture(home, elsewhere))


def again(home_of, tried, variable, expected, whose):
    """Rows of the same runs with a variable set for daemon and engine."""
    with home_of(**{variable: "1"}) as home:
        try:
            home.start()
        except Failed as error:
            yield Row(variable, "failed", bar="the same", held=False, note=str(error)[-300:])
            return
        for case in tried:
            what = f"{variable}: {case.what}"
            try:
                last = home.paint(*case.flags)
            except Failed as error:
                yield Row(what, "failed", bar="the same", held=False, note=str(error)[-300:])
                continue
            same = bool((pixels(last["images"][0]["path"]) == expected(case)).all())
            each = last["placement"]["streamed_bytes_per_step"]
            yield Row(what, "the same bytes" if same else "OTHER bytes", whose, bar="the same", held=same and each > 0,
                      note=f"{each / 1e6:.2f} MB streamed a step")


def check(home, home_of, device, engine):
    """Rows of all of it. `home_of` makes a home out of settings and variables."""
    home.start()
    tried = []
    try:
        for case in cases(home, device):
            tried.append(case)
    except Failed as error:
        yield Row("moonlet, 90 % of each part elsewhere", "failed", bar="it runs", held=False, note=str(error)[-300:])
    finally:
        home.stop()
    if not tried:
        return
    if POISON.encode() in engine.read_bytes():
        yield from again(home_of, tried, POISON, lambda case: case.resident, "all resident")
    else:
        yield Row(POISON, note="these programs do not know it")
    yield from again(home_of, tried, "CUDA_LAUNCH_BLOCKING", lambda case: case.streamed, "without it")
    yield from sanitizer.check(home_of, engine, tried[0])
