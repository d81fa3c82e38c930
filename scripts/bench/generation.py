"""SD1.5 at its real size beside diffusers: seconds per step, decoding, loading, peak memory.

Both sides take turns in the same run, each first in every other round; both stay loaded meanwhile.
"""
import json
import mmap
import os
import time
from statistics import median

from bench import say, spread
from first_step import flags
from machine import status_bytes
from pagecache import warm
from peer import NoPeer, Peer, folder_of
from table import Bar, Figure
from weights import CHUNK

LOADS = 3


class Ours:
    """Runs through the daemon; the engine stays loaded between them."""
    name = "ours"

    def __init__(self, bench, home, weights):
        self.bench, self.home, self.weights = bench, home, weights
        self.steps, self.decodes, self.peak, self.warnings = [], [], 0, []

    def round(self):
        last = self.home.paint(*flags(self.bench, self.weights, self.bench.steps, self.bench.size), "--precision", "fp32",
                               "--tiling", "never")
        self.steps += last["timing"]["per_step"]
        self.decodes.append(last["timing"]["decode"])
        self.warnings += last["warnings"]
        self.peak = status_bytes(self.home.engine_pid(), "VmHWM")


class Theirs:
    name = "diffusers"

    def __init__(self, bench, peer):
        self.bench, self.peer = bench, peer
        self.steps, self.decodes, self.peak = [], [], 0
        self.ready = peer.wait_ready()

    def round(self):
        done = self.peer.paint(seed=1, steps=self.bench.steps, cfg=7.0, size=self.bench.size)
        self.steps += done["per_step"]
        self.decodes.append(done["decode"])
        self.peak = status_bytes(self.peer.process.pid, "VmHWM")


def take_turns(sides, rounds):
    for n in range(rounds):
        for side in sides if n % 2 == 0 else reversed(sides):
            say(f"{side.name}, round {n + 1} of {rounds}")
            side.round()


def generation(bench):
    weights = bench.weights()
    warm(weights)
    theirs, problem = None, ""
    with bench.home(config=f"engine_threads: {bench.threads}\n") as home:
        home.start()
        ours = Ours(bench, home, weights)
        try:
            folder = folder_of(bench.python, weights, "real", bench.cache)
            with Peer(bench.python, folder, threads=bench.threads) as peer:
                theirs = Theirs(bench, peer)
                take_turns([ours, theirs], bench.rounds)
        except NoPeer as error:
            problem = f"; no peer: {error}"
            if not ours.steps:
                take_turns([ours], bench.rounds)
    note = (f"{bench.size}x{bench.size}, CFG 7, fp32, {bench.threads} threads, {bench.rounds} rounds of {bench.steps} steps, "
            f"median; ours {spread(ours.steps, 's', 1)}")
    if theirs:
        note += f"; diffusers {spread(theirs.steps, 's', 1)}"
    if ours.warnings:
        note += "; ours warned: " + ", ".join(sorted(set(ours.warnings)))
    of = lambda pick: pick(theirs) if theirs else None
    yield Figure("SD1.5: seconds per step", median(ours.steps), "s", of(lambda t: median(t.steps)), "diffusers", Bar(1.0, of_peer=True),
                 note=note + problem)
    yield Figure("SD1.5: VAE decode", median(ours.decodes), "s", of(lambda t: median(t.decodes)), "diffusers", Bar(1.0, of_peer=True))
    yield Figure("SD1.5: peak memory", ours.peak / 1e9, "GB", of(lambda t: t.peak / 1e9), "diffusers", Bar(1.0, of_peer=True),
                 note="VmHWM of the engine and of diffusers' process after the last round, mapped files in it")


def plain_read(path):
    """Seconds of reading a file with read() into one buffer."""
    buffer = bytearray(CHUNK)
    began = time.perf_counter()
    with open(path, "rb", buffering=0) as f:
        while f.readinto(buffer):
            pass
    return time.perf_counter() - began


def read_to_keep(path):
    """Seconds of reading a file into memory that is new, as whoever wants to keep it must."""
    size, got = os.path.getsize(path), 0
    began = time.perf_counter()
    with open(path, "rb", buffering=0) as f, mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as held, memoryview(held) as view:
        # One call reads 2 GiB at most.
        while count := f.readinto(view[got:]):
            got += count
        taken = time.perf_counter() - began
    if got != size:
        raise RuntimeError(f"only {got} bytes of {path} were read")
    return taken


# What a run without a picture to start from leaves in the file.
NOT_LOADED = ("first_stage_model.encoder.", "first_stage_model.quant_conv.")


def tensor_bytes(path, wanted):
    """Bytes of those of the file's tensors whose names are wanted."""
    with open(path, "rb") as f:
        header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
    spans = (entry["data_offsets"] for name, entry in header.items() if name != "__metadata__" and wanted(name))
    return sum(end - start for start, end in spans)


def bytes_to_load(path):
    """Bytes of the file's tensors that a run from text needs."""
    return tensor_bytes(path, lambda name: not name.startswith(NOT_LOADED))


def load(bench):
    """Loading in the file's own precision, each time by a fresh engine, beside a plain read of the same file."""
    weights = bench.weights()
    warm(weights)
    size, needed, reads, kept, loads, held = os.path.getsize(weights), bytes_to_load(weights), [], [], [], 0
    with bench.home(config=f"engine_threads: {bench.threads}\n") as home:
        for n in range(LOADS):
            say(f"load, round {n + 1} of {LOADS}")
            reads.append(plain_read(weights))
            kept.append(read_to_keep(weights))
            home.start()
            last = home.paint(*flags(bench, weights, 1, 64), "--precision", "fp16")
            loads.append(last["timing"]["load"])
            held = sum(share["bytes"] for share in last["placement"]["measured"])
            home.stop()
    ours = needed / median(loads) / 1e9
    yield Figure("SD1.5: load, fp16 from the page cache", ours, "GB/s", size / median(reads) / 1e9, "plain read",
                 Bar(0.8, at_least=True, of_peer=True),
                 note=f"{needed / 1e9:.2f} of the file's {size / 1e9:.2f} GB, {held / 1e9:.2f} GB once loaded: network and text encoder lie in "
                      f"the page cache as they are stored, the decoder is turned into fp32; median; {spread(loads, 's', 2)}")
    yield Figure("the same, beside a read into new memory", ours, "GB/s", size / median(kept) / 1e9, "one read()",
                 note="no bar; most of that read goes into pages that are new to the process")
