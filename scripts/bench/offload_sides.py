"""Who takes turns where weights are offloaded: our engine with them on the disk and all resident, the peers, the bare disk.

A side that fails keeps what it has measured, says why it failed, and takes no more turns.
"""
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median

from bench import spread
from first_step import flags
from generation import tensor_bytes
from home import Failed
from machine import PeakAnonymous, poll, status_bytes
from pagecache import become, cached_share, disk_speed
from peer import NoPeer, Peer, folder_of, store_of

# The names of SD1.5's network in a single file.
NETWORK = "model.diffusion_model."
MIB = 1 << 20
OFFLOADED = 0.9
# How long a calibration with this network may take.
CALIBRATION_S = 1800


@dataclass
class Scene:
    """What is painted, and whether the weights on the disk are in the page cache when a round begins."""
    size: int
    cfg: float
    steps: int
    cold: bool

    def text(self):
        return f"{self.size}x{self.size}, {'page cache cold' if self.cold else 'page cache warm'}"


def network_bytes(weights):
    return tensor_bytes(weights, lambda name: name.startswith(NETWORK))


def offload_flags(weights, share):
    """Flags that put such a share of the network's weights on the disk."""
    return ["--virtual-vram", f"{round(share * network_bytes(weights) / MIB)}MiB", "--donor-device", "disk"]


def one_line(error):
    return " ".join(str(error).split())[:300]


class Side:
    """Seconds of the steps after a round's first, and the memory that they took."""

    def __init__(self, name, scene):
        self.name, self.scene, self.problem = name, scene, ""
        self.steps, self.cached, self.whole, self.sampling, self.high = [], [], 0, 0, 0

    def round(self):
        if self.problem:
            return
        try:
            self.paint()
        except (Failed, NoPeer, OSError, RuntimeError, TimeoutError) as error:
            self.problem = f"{self.name}: {one_line(error)}"

    def watched(self, watch):
        """Keeps what a round took in memory."""
        self.high = max(self.high, status_bytes(watch.pid, "VmHWM"))
        self.whole = max(self.whole, watch.stop())

    @property
    def step(self):
        return median(self.steps) if self.steps else None

    def said(self):
        """Its steps, and how much of its weights the page cache held at the end of the rounds, for a note."""
        if not self.steps:
            return ""
        cached = f", {100 * min(self.cached):.0f} to {100 * max(self.cached):.0f} % in the page cache after a round" if self.cached else ""
        return f"{self.name} {spread(self.steps, 's', 1)}{cached}"


@contextmanager
def calibrated_home(bench, weights):
    """A home in which this network was calibrated on the processor. An engine in it ends once it is idle: what an engine has mapped
    stays in the page cache. Texts are read in each run."""
    with bench.home(config=f"engine_threads: {bench.threads}\nengine_idle_s: 0.2\nembeddings_cache: 0\n") as home:
        home.start()
        become(weights, True)
        home.run("calibrate", weights, "--compute-device", "cpu", "--precision", "fp32", timeout=CALIBRATION_S)
        yield home


def wait_without_engine(home):
    poll("the end of the idle engine", lambda: not any(e["pid"] for e in home.json("status")["engines"]), pause=0.1)


class Ours(Side):
    """A fresh engine each round: what an engine has mapped, nobody can take out of the page cache. In a fresh home, too, but where
    one that is calibrated is given."""

    def __init__(self, name, scene, bench, weights, offload=(), home=None):
        super().__init__(name, scene)
        self.bench, self.weights, self.offload, self.last, self.warnings = bench, weights, offload, {}, set()
        self.home = home

    def paint(self):
        with ExitStack() as stack:
            home = self.home
            if home:
                wait_without_engine(home)
            else:
                home = stack.enter_context(self.bench.home(config=f"engine_threads: {self.bench.threads}\n"))
                home.start()
            self.paint_in(home)

    def paint_in(self, home):
        become(self.weights, self.scene.cold and bool(self.offload))
        arguments = [*flags(self.bench, self.weights, self.scene.steps, self.scene.size, self.scene.cfg), "--precision", "fp32",
                     "--tiling", "never", *self.offload]
        following, watch = home.follow(*arguments), None
        for _, line in following:
            if watch is None and line.get("phase"):
                watch = PeakAnonymous(poll("the engine to be known", home.engine_pid))
            if line.get("phase") == "decoding":
                self.sampling = max(self.sampling, watch.bytes)
        if watch:
            self.watched(watch)
        self.last = following.last
        self.steps += self.last["timing"]["per_step"][1:]
        self.warnings |= set(self.last.get("warnings", ()))
        self.cached.append(cached_share(self.weights))

    def reported(self, name):
        """A part of the last run's `placement`, or None."""
        return (self.last.get("placement") or {}).get(name)

    def on_device(self, device, name="measured"):
        """The bytes that the last run's report has for a device; None where it has none at all."""
        shares = self.reported(name)
        return None if shares is None else sum(s["bytes"] for s in shares if s["device"] == device)


class Theirs(Side):
    """diffusers' pipeline in a process of its own, its network's weights on the disk; see peer_offload.py."""

    def __init__(self, mode, scene, bench, weights, stack):
        super().__init__(mode, scene)
        try:
            folder = folder_of(bench.python, weights, "real", bench.cache)
            self.store = store_of(bench.python, folder, mode)
            self.peer = stack.enter_context(Peer(bench.python, folder, threads=bench.threads, offload=mode, store=self.store))
            self.watch = PeakAnonymous(self.peer.process.pid)
            self.peer.wait_ready()
        except NoPeer as error:
            self.problem = f"{mode}: {one_line(error)}"

    def paint(self):
        become(self.store, self.scene.cold)
        done = self.peer.paint(self.told, seed=1, steps=self.scene.steps, cfg=float(self.scene.cfg), size=self.scene.size,
                               cold=self.scene.cold)
        self.steps += done["per_step"][1:]
        self.whole, self.high = max(self.whole, self.watch.bytes), status_bytes(self.watch.pid, "VmHWM")
        self.cached.append(cached_share(self.store))

    def told(self, event):
        # What decoding takes in an earlier round is no part of sampling in a later one: the first one counts.
        if event == "sampled" and not self.sampling:
            self.sampling = self.watch.bytes


class Disk(Side):
    """How fast the weights can be read at best, without anybody who computes."""

    def __init__(self, scene, weights):
        super().__init__("the bare disk" if scene.cold else "the page cache", scene)
        self.weights, self.speeds = weights, []

    def paint(self):
        become(self.weights, self.scene.cold)
        self.speeds.append(disk_speed(self.weights, direct=self.scene.cold))

    def said(self):
        return f"{self.name} {spread(self.speeds, 'GB/s', 1e-9)}" if self.speeds else ""
