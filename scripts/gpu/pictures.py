"""Pictures made on the device, beside the processor's; seconds per step beside diffusers on the same device."""
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from home import Failed
from peer import MOONLET_PROMPT, NEGATIVE, PROMPT, NoPeer, Peer, folder_of
from rows import Row

PRECISIONS = ("fp32", "bf16", "fp16")
ROUNDS = 2
BAR = 3


@dataclass
class Model:
    """A model to paint with. `weights` is the file that diffusers gets, or None and a reason in `problem`."""
    name: str
    flag: str
    weights: Path | None
    sizes: str
    prompt: str = PROMPT
    negative: str = NEGATIVE
    side: int = 512
    steps: int = 10
    cfg: float = 7.0
    problem: str = ""

    def flags(self, device, precision, steps=None):
        return ["--model", self.flag, "--prompt", self.prompt, "--negative", self.negative, "--seed", 1, "--cfg", self.cfg,
                "--steps", steps or self.steps, "--sampler", "euler", "--schedule", "normal", "--size", f"{self.side}x{self.side}",
                "--tiling", "never", "--precision", precision, "--compute-device", device]

    def order(self):
        return {"prompt": self.prompt, "negative": self.negative, "seed": 1, "steps": self.steps, "cfg": self.cfg, "size": self.side}


def moonlet(weights, side=64, steps=20):
    problem = "" if weights else "moonlet.safetensors is not in this checkout (--moonlet FILE)"
    return Model("moonlet", "moonlet", weights, "moonlet", MOONLET_PROMPT, "", side, steps, 5.0, problem)


@dataclass
class Side:
    """What one of both took and made."""
    steps: list = field(default_factory=list)
    images: list = field(default_factory=list)


def pixels(path):
    import numpy
    from PIL import Image
    return numpy.asarray(Image.open(path).convert("RGB"), dtype=numpy.int16)


def distance(one, other):
    """(greatest, mean) difference of two pictures, in steps of 1/255."""
    if one.shape != other.shape:
        raise Failed(f"pictures of {one.shape} and {other.shape}")
    apart = abs(one - other)
    return int(apart.max()), float(apart.mean())


class Turns:
    """Ours and diffusers in turns, in one precision."""

    def __init__(self, home, model, device, precision, folder, python, threads):
        self.home, self.model, self.device, self.precision = home, model, device, precision
        self.folder, self.python, self.threads = folder, python, threads
        self.ours, self.theirs = Side(), Side()

    def paint(self):
        last = self.home.paint(*self.model.flags(self.device, self.precision))
        self.ours.steps += last["timing"]["per_step"]
        self.ours.images.append(pixels(last["images"][0]["path"]))

    def peer_paints(self, peer):
        out = self.home.folder / "peer.png"
        self.theirs.steps += peer.paint(**self.model.order(), out=str(out))["per_step"]
        self.theirs.images.append(pixels(out))

    def take(self):
        """Returns why there is no peer, or nothing."""
        if not self.folder:
            for _ in range(ROUNDS):
                self.paint()
            return ""
        problem = ""
        try:
            with Peer(self.python, self.folder, self.device, self.precision, self.threads) as peer:
                peer.wait_ready()
                turns = [self.paint, lambda: self.peer_paints(peer)]
                for n in range(ROUNDS):
                    for turn in turns if n % 2 == 0 else reversed(turns):
                        turn()
        except NoPeer as error:
            problem = str(error)
        if not self.ours.images:
            self.paint()
        return problem


def rows_of(model, device, precision, turns, references, problem):
    """`references` are the processor's pictures by precision: what fp32 makes of it is what a picture should be, and what the
    processor makes of the same precision has weights that were rounded alike."""
    what = f"{model.name} {model.side}x{model.side} {precision}"
    same = all((image == turns.ours.images[0]).all() for image in turns.ours.images)
    for reference in [p for p in dict.fromkeys((precision, "fp32")) if p in references]:
        greatest, mean = distance(turns.ours.images[0], references[reference])
        note = f"{model.steps} steps; mean {mean:.3f}"
        if turns.theirs.images:
            note += "; diffusers' here at most {}, mean {:.3f}".format(*distance(turns.theirs.images[0], references[reference]))
        yield Row(f"{what}: picture", device, f"perilune, cpu {reference}", f"{greatest}/255", f"<= {BAR}/255", greatest <= BAR,
                  note if same else note + "; NOT the same bytes when made again")
    ours = median(turns.ours.steps)
    row = Row(f"{what}: seconds per step", f"{ours:.4g} s", note=problem)
    if turns.theirs.steps:
        theirs = median(turns.theirs.steps)
        row.beside, row.difference = f"{theirs:.4g} s diffusers", f"{ours / theirs:.2f} x"
        row.note = f"{ROUNDS} rounds in turns, median of {len(turns.ours.steps)} and {len(turns.theirs.steps)} steps"
    yield row


def check(home, model, device, python, cache, threads=None, made=PRECISIONS):
    """Rows for one model in every precision; the processor paints in the precisions `made`. The daemon must run."""
    folder, problem = None, model.problem
    try:
        if model.weights:
            folder = folder_of(python, model.weights, model.sizes, cache)
    except NoPeer as error:
        problem = str(error)
    try:
        references = {p: pixels(home.paint(*model.flags("cpu", p))["images"][0]["path"]) for p in made}
    except (Failed, ImportError) as error:
        yield Row(f"{model.name}: pictures", held=False, note=f"not checked: {error}")
        return
    for precision in PRECISIONS:
        turns = Turns(home, model, device, precision, folder, python, threads)
        try:
            ended = turns.take()
            yield from rows_of(model, device, precision, turns, references, problem or ended)
        except Failed as error:
            yield Row(f"{model.name} {precision}: picture", held=False, note=str(error))
