"""Networks of every family at real width: seconds per forward and memory beside diffusers, and how fast SDXL's UNet is loaded.

Both sides are given the same folder. A forward of ours is a step of `perilune run` without guidance, the solver's part in
it; of diffusers it is a call of the network in its own pipeline, with the same prompt, size and number of text tokens.
"""
import os
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from bench import say, spread
from generation import plain_read, read_to_keep, take_turns
from machine import PeakAnonymous, poll
from offload import row, steps_text
from offload_sides import Side
from pagecache import warm
from peer import PROMPT, NoPeer, Peer, needs
from table import Bar, Figure

HERE = Path(__file__).resolve().parent
SDXL, FLUX, Z_IMAGE = "sdxl", "flux", "z-image"
# Schedules that have diffusers' levels without being told, and picture sizes at which a forward takes seconds.
SCHEDULES = {SDXL: "normal", FLUX: "simple", Z_IMAGE: "simple"}
SIDES = {SDXL: 256, FLUX: 256, Z_IMAGE: 256}
NETWORKS = {SDXL: "unet", FLUX: "transformer", Z_IMAGE: "transformer"}
LOADS = 3
# A network in fp32 is read from the disk once.
STARTING_S = 300


def folder(bench, family, precision):
    """The model's folder, made once and kept in the cache."""
    depth = f"-depth-{bench.depth}" if family == SDXL else ""
    out = bench.cache / f"real-{family}{depth}-{precision}"
    if not out.exists():
        needs(bench.python)
        out.parent.mkdir(parents=True, exist_ok=True)
        say(f"making {out}")
        made = subprocess.run([bench.python, HERE / "real_family.py", family, precision, out, "--depth", str(bench.depth)],
                              capture_output=True, text=True)
        if made.returncode:
            raise NoPeer("real_family.py failed: " + (made.stderr.strip().splitlines() or ["?"])[-1])
    return out


class Removed:
    """Removes a folder at the end where the user has no room for all of them."""

    def __init__(self, bench, path):
        self.path = path if bench.discard else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.path:
            shutil.rmtree(self.path, ignore_errors=True)


class Ours(Side):
    """Runs through the daemon; the engine stays loaded between them."""

    def __init__(self, bench, home, path, family, precision):
        super().__init__("ours", None)
        self.bench, self.home, self.path, self.family, self.precision = bench, home, path, family, precision
        self.warnings = set()

    def arguments(self):
        side = SIDES[self.family]
        return ["--model", self.path, "--prompt", PROMPT, "--steps", self.bench.steps, "--cfg", 1, "--sampler", "euler", "--schedule",
                SCHEDULES[self.family], "--seed", 1, "--size", f"{side}x{side}", "--compute-device", "cpu", "--precision", self.precision,
                "--tiling", "never"]

    def paint(self):
        following, watch = self.home.follow(*self.arguments()), None
        for _, line in following:
            if line.get("phase") == "sampling" and watch is None:
                watch = PeakAnonymous(poll("the engine to be known", self.home.engine_pid, STARTING_S))
            if line.get("phase") == "decoding" and watch:
                self.sampling = max(self.sampling, watch.stop())
        self.steps += following.last["timing"]["per_step"][1:]
        self.warnings |= set(following.last.get("warnings", ()))


class Theirs(Side):
    """diffusers' pipeline in a process of its own; see peer_family.py."""

    def __init__(self, bench, path, family, precision, stack):
        super().__init__("diffusers", None)
        self.bench, self.family, self.watch = bench, family, None
        try:
            self.peer = stack.enter_context(Peer(bench.python, path, precision=precision, threads=bench.threads, script="peer_family.py"))
            self.peer.wait_ready()
        except NoPeer as error:
            self.problem = f"diffusers: {error}"

    def paint(self):
        self.steps += self.peer.paint(self.told, seed=1, steps=self.bench.steps, size=SIDES[self.family])["per_step"][1:]

    def told(self, event):
        if event == "sampling":
            self.watch = PeakAnonymous(self.peer.process.pid)
        elif self.watch:
            self.sampling = max(self.sampling, self.watch.stop())


def forwards(family, precision):
    """Seconds per forward, and the anonymous memory while it computes."""
    def measure(bench):
        path = folder(bench, family, precision)
        with Removed(bench, path), bench.home(config=f"engine_threads: {bench.threads}\n") as home, ExitStack() as stack:
            home.start()
            ours, theirs = Ours(bench, home, path, family, precision), Theirs(bench, path, family, precision, stack)
            take_turns([ours, theirs], bench.rounds)
        shape = {SDXL: f"{bench.depth} layers at the coarsest level", FLUX: "2 double and 4 single blocks", Z_IMAGE: "4 layers and 4 refiners"}
        side = SIDES[family]
        note = [f"{shape[family]}; {side}x{side}, one pass, {bench.threads} threads, {steps_text(bench)}", *sorted(ours.warnings)]
        yield row(f"{family}, {precision}: seconds per forward", ours.step, "s", theirs.step, "diffusers", Bar(1.0, of_peer=True), note,
                  [ours, theirs])
        gb = lambda count: count / 1e9 if count else None
        yield row("the same: peak anonymous memory", gb(ours.sampling), "GB", gb(theirs.sampling), "diffusers", Bar(1.0, of_peer=True),
                  ["RssAnon every 20 ms while sampling; weights as they are stored lie in the page cache for both"], also=[ours, theirs])
    return measure


def load(bench):
    """SDXL's UNet in the file's own precision, each time by a fresh engine, beside a plain read of the same file."""
    path = folder(bench, SDXL, "bf16")
    file, reads, kept, loads = path / "unet/diffusion_pytorch_model.safetensors", [], [], []
    with Removed(bench, path), bench.home(config=f"engine_threads: {bench.threads}\n") as home:
        warm(path)
        arguments = Ours(bench, home, path, SDXL, "bf16").arguments()
        arguments[arguments.index("--steps") + 1], arguments[arguments.index("--size") + 1] = 1, "64x64"
        size = os.path.getsize(file)
        for n in range(LOADS):
            say(f"load, round {n + 1} of {LOADS}")
            reads.append(plain_read(file))
            kept.append(read_to_keep(file))
            home.start()
            loads.append(home.paint(*arguments)["timing"]["load"])
            home.stop()
    ours = size / median(loads) / 1e9
    yield Figure("SDXL's UNet: load, bf16 from the page cache", ours, "GB/s", size / median(reads) / 1e9, "plain read",
                 Bar(0.8, at_least=True, of_peer=True),
                 note=f"{size / 1e9:.2f} GB; its text encoders are loaded in the same time; median; {spread(loads, 's', 2)}")
    yield Figure("the same, beside a read into new memory", ours, "GB/s", size / median(kept) / 1e9, "one read()",
                 note="no bar; most of that read goes into pages that are new to the process")
