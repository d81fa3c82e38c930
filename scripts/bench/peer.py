"""diffusers in a process of its own, asked to paint what we paint. See painter.py for what is said."""
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Known by heart to the painter.
PROMPT, NEGATIVE = "a photo of an astronaut riding a horse on mars", "blurry, low quality"
MOONLET_PROMPT = "a full moon over the sea under a blue sky"


class NoPeer(Exception):
    """diffusers cannot be run, and why."""


def needs(python, modules=("torch", "diffusers", "transformers", "safetensors")):
    """Raises where this Python lacks what the peer is made of."""
    code = "import importlib.util as u, sys; print(' '.join(m for m in sys.argv[1:] if u.find_spec(m) is None))"
    asked = subprocess.run([python, "-c", code, *modules], capture_output=True, text=True)
    if asked.returncode:
        raise NoPeer(f"{python} does not run")
    if missing := asked.stdout.split():
        raise NoPeer(f"{', '.join(missing)} not installed for {python}")


def folder_of(python, weights, sizes, cache):
    """The weights as a folder that diffusers loads, made once and kept in the cache."""
    needs(python)
    out = Path(cache) / (Path(weights).stem + ".diffusers")
    out.parent.mkdir(parents=True, exist_ok=True)
    made = subprocess.run([python, HERE / "diffusers_folder.py", weights, out, "--sizes", sizes], capture_output=True, text=True)
    if made.returncode:
        raise NoPeer("the weights cannot be given to diffusers: " + (made.stderr.strip().splitlines() or ["?"])[-1])
    return out


def store_of(python, folder, mode):
    """The network's weights on the disk as the peer wants them, made once and kept beside the folder."""
    needs(python, ("accelerate",) if mode.startswith("accelerate") else ())
    store = folder.with_suffix("." + mode)
    made = subprocess.run([python, HERE / "peer_offload.py", mode, folder, store], capture_output=True, text=True)
    if made.returncode:
        raise NoPeer(f"{mode} refuses: " + (made.stderr.strip().splitlines() or ["?"])[-1])
    return store


class Peer:
    """A painter, or who else is asked as it is. `began` is the moment it was started."""

    def __init__(self, python, folder, device="cpu", precision="fp32", threads=None, offload=None, store=None, script="painter.py"):
        command = [python, HERE / script, folder, "--device", device, "--precision", precision]
        command += ["--threads", str(threads)] if threads else []
        command += ["--offload", offload, "--store", store] if offload else []
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "MKL_"))}
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
        self.errors = tempfile.TemporaryFile("w+")
        self.began = time.perf_counter()
        self.process = subprocess.Popen([str(c) for c in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
                                        text=True, env=environment)

    def line(self):
        """The next thing it says, and when: (moment, value)."""
        text = self.process.stdout.readline()
        moment = time.perf_counter()
        if not text:
            self.process.wait()
            self.errors.seek(0)
            raise NoPeer("diffusers ended: " + (self.errors.read().strip().splitlines() or ["without a word"])[-1][:300])
        return moment, json.loads(text)

    def wait_ready(self):
        """Waits until it has loaded; returns what that took."""
        return self.line()[1]["ready"]

    def order(self, **order):
        self.process.stdin.write(json.dumps({"prompt": PROMPT, "negative": NEGATIVE, **order}) + "\n")
        self.process.stdin.flush()

    def paint(self, told=lambda event: None, **order):
        """Paints, and tells the events meanwhile; returns what it took. See painter.py."""
        self.order(**order)
        while True:
            _, value = self.line()
            if "done" in value:
                return value["done"]
            told(value["event"])

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.close() if kind is None else self.kill()
