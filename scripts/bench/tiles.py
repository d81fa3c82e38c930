"""Memory that the autoencoder takes for a picture in one piece and in tiles."""
import subprocess
from pathlib import Path

from bench import say
from machine import PeakAnonymous, status_bytes
from peer import NoPeer, needs
from table import Bar, Figure

HERE = Path(__file__).resolve().parent
SIZE = "1024x640"
WAYS = {"never": "one piece", "always": "tiles"}
# What follows the phase in which the autoencoder works.
ENDS = {"encoding": "sampling", "decoding": "saving"}


def weights(bench):
    """An autoencoder of real size, made once and kept in the cache."""
    out = bench.cache / "real-vae.safetensors"
    if not out.exists():
        needs(bench.python)
        out.parent.mkdir(parents=True, exist_ok=True)
        made = subprocess.run([bench.python, HERE / "real_vae.py", out], capture_output=True, text=True)
        if made.returncode:
            raise NoPeer("real_vae.py failed: " + (made.stderr.strip().splitlines() or ["?"])[-1])
    return out


def picture(home):
    """Something to encode."""
    return home.paint("--model", "moonlet", "--prompt", "a full moon over the sea", "--steps", 1)["images"][0]["path"]


def taken(home, pid, arguments):
    """{phase: bytes of anonymous memory at most, beyond what there was when it began}, and the seconds of each."""
    more, watch, watched, before = {}, None, "", 0
    following = home.follow(*arguments)
    for _, line in following:
        phase = line.get("phase")
        if watch and phase in ENDS.values():
            more[watched] = watch.stop() - before
            watch = None
        if phase in ENDS:
            watched, before, watch = phase, status_bytes(pid, "RssAnon"), PeakAnonymous(pid)
    return more, following.last["timing"]


def tiles(bench):
    """Both ways in a fresh engine each: what one has taken of the heap, another must not find there."""
    vae, peaks, times = weights(bench), {}, {}
    for way, name in WAYS.items():
        say(f"the autoencoder in {name}")
        with bench.home(config=f"engine_threads: {bench.threads}\n") as home:
            home.start()
            start = picture(home)
            peaks[way], times[way] = taken(home, home.engine_pid(), [
                "--model", "moonlet", "--vae", vae, "--prompt", "a full moon over the sea", "--init-image", start, "--denoise", 0.5,
                "--steps", 2, "--cfg", 1, "--size", SIZE, "--compute-device", "cpu", "--precision", "fp32", "--tiling", way])
    for phase, what in (("encoding", "encode"), ("decoding", "decode")):
        seconds = [f"{times[way][what]:.1f} s in {name}" for way, name in WAYS.items()]
        yield Figure(f"VAE {what} in tiles, {SIZE}: memory", peaks["always"][phase] / 1e9, "GB", peaks["never"][phase] / 1e9, "one piece",
                     Bar(1 / 3, of_peer=True), note=f"fp32; RssAnon every 20 ms beyond what there was before; {', '.join(seconds)}")
