"""SD1.5 in fp32 whose network may take 0.8 GB of memory, in a limit that the kernel keeps; beside the run that has room."""
import os
from dataclasses import dataclass, field
from pathlib import Path

from cage import Cage, NoCage
from first_step import flags
from home import Failed
from machine import PeakAnonymous, poll
from offload_sides import network_bytes
from pagecache import become

BUDGET = 800_000_000
SLACK = 100_000_000
PAGES = 64
GB = 1e9


@dataclass
class Run:
    """What a run took and made."""
    report: dict
    whole: int
    sampling: int
    picture: bytes
    kills: int | None = None
    peak: int | None = None


@dataclass
class Row:
    """One line of the table."""
    what: str
    asked: str
    measured: str
    bar: str = "-"
    held: bool | None = None

    def cells(self):
        return [self.what, self.asked, self.measured, self.bar, {None: "-", True: "yes", False: "NO"}[self.held]]


@dataclass
class Proof:
    rows: list = field(default_factory=list)
    notes: list = field(default_factory=list)


def pixels(path):
    """The compressed pixels of a PNG: all IDAT chunks. Texts beside them tell of the run."""
    data, at, found = Path(path).read_bytes(), 8, b""
    while at < len(data):
        length, kind = int.from_bytes(data[at:at + 4]), data[at + 4:at + 8]
        if kind == b"IDAT":
            found += data[at + 8:at + 8 + length]
        at += 12 + length
    return found


def run(bench, weights, offload, cage=None):
    """A run by a fresh daemon and engine, its weights on the disk only when it begins."""
    become(weights, cold=True)
    with bench.home(config=f"engine_threads: {bench.threads}\n") as home:
        home.start(cage)
        following, watch, sampling = home.follow(*arguments(bench, weights), *offload), None, 0
        for _, line in following:
            if watch is None and line.get("phase"):
                watch = PeakAnonymous(poll("the engine to be known", home.engine_pid))
            if line.get("phase") == "decoding" and not sampling:
                sampling = watch.bytes
        whole = watch.stop() if watch else 0
        made = Run(following.last, whole, sampling, pixels(following.last["images"][0]["path"]))
        if cage:
            made.kills, made.peak = cage.kills(), cage.peak()
        return made


def arguments(bench, weights):
    return [*flags(bench, weights, bench.steps, bench.size, 7), "--precision", "fp32", "--tiling", "never"]


def offload_of(bench, weights):
    """Flags with which what stays and what passes through are within the budget, by the plan's own words."""
    network = network_bytes(weights)
    leaves = network - BUDGET
    # Where weights are when a plan is made is a part of it.
    become(weights, cold=True)
    with bench.home() as home:
        home.start()
        for _ in range(8):
            chosen = ["--virtual-vram", f"{leaves}B", "--donor-device", "disk"]
            plan = home.json("plan", weights, "--size", f"{bench.size}x{bench.size}", "--cfg", 7, "--precision", "fp32",
                             "--compute-device", "cpu", *chosen)
            stays = sum(d["held"] for d in plan["devices"] if d["id"] == "cpu")
            # Plans count weights; what they pass through is whole pages of their file, a little more.
            over = stays + plan["staging"] + plan["staging"] // PAGES - BUDGET
            if over <= 0:
                return chosen
            leaves = min(leaves + over, network)
    raise Failed(f"no plan keeps the network within {BUDGET / GB:.2f} GB")


def shares(run, device):
    return sum(s["bytes"] for s in run.report["placement"]["measured"] if s["device"] == device)


def prove(bench):
    proof = Proof()
    weights = bench.weights(wide=True)
    network = network_bytes(weights)
    offload = offload_of(bench, weights)
    resident = run(bench, weights, [])
    proof.rows.append(Row("all resident: anonymous memory, whole run", "-", f"{resident.whole / GB:.3f} GB"))
    proof.rows.append(Row("the same, until the last step", "-", f"{resident.sampling / GB:.3f} GB"))
    proof.notes.append(f"the network has {network / GB:.2f} GB in fp32; {bench.size}x{bench.size}, CFG 7, {bench.steps} steps, "
                       f"{bench.threads} threads; all resident, its weights lie in the page cache and are not anonymous, so that its "
                       "anonymous memory is its activations and the program; RssAnon every 20 ms")
    limit = BUDGET + resident.whole + SLACK
    try:
        cage = Cage(limit)
    except NoCage as error:
        proof.notes.append(str(error))
        cage = None
    if cage:
        with cage:
            offloaded = run(bench, weights, offload, cage)
    else:
        offloaded = run(bench, weights, offload)
    staging = offloaded.report["placement"]["staging"]
    # Text encoder and decoder are resident in both runs.
    stays = shares(offloaded, "cpu") - (shares(resident, "cpu") - network)
    held = stays + staging
    proof.rows.append(Row("network in memory, with staging", f"{BUDGET / GB:.3f} GB", f"{held / GB:.3f} GB", f"<= {BUDGET / GB:.3f} GB",
                          held <= BUDGET))
    for what, ours, theirs in (("anonymous memory, whole run", offloaded.whole, resident.whole),
                               ("the same, until the last step", offloaded.sampling, resident.sampling)):
        most = BUDGET + theirs + SLACK
        proof.rows.append(Row(what, f"{BUDGET / GB:.1f} + {theirs / GB:.3f} + {SLACK / GB:.1f} GB", f"{ours / GB:.3f} GB",
                              f"<= {most / GB:.3f} GB", ours <= most))
    if cage:
        peak = "finished" if offloaded.peak is None else f"finished, {offloaded.peak / GB:.3f} GB at most"
        proof.rows.append(Row(f"memory limit: {cage.name}", f"{limit / GB:.3f} GB", peak, "finishes", offloaded.kills in (None, 0)))
        proof.notes.append("daemon, engine, and the page cache that they fill are within the limit; what of it is page cache, the kernel takes "
                           "back when it must")
    else:
        proof.rows.append(Row("memory limit", f"{limit / GB:.3f} GB", "cannot be had here", "finishes"))
    proof.rows.append(Row("picture", "the same bits", "equal" if offloaded.picture == resident.picture else "different", "equal",
                          offloaded.picture == resident.picture))
    per_step = [f"{s:.1f}" for s in offloaded.report["timing"]["per_step"]]
    proof.notes.append(f"flags: {' '.join(offload)}; {offloaded.report['placement']['streamed_bytes_per_step'] / GB:.2f} GB streamed per "
                       f"step; seconds of the steps {', '.join(per_step)}, on a machine with load {os.getloadavg()[0]:.1f}")
    return proof
