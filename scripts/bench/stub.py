"""A stand-in for the NVIDIA library with some GPUs, built from the tests' own source, and its readings.

The readings follow slow waves, as those of GPUs at work do: a dashboard that shows a box on which nothing
ever changes has nothing to write.
"""
import math
import os
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "tests/it/support/nvml_stub.c"
# What other monitors ask for beyond that.
MORE = Path(__file__).resolve().parent / "nvml_for_peers.c"
# Key, lowest, highest, seconds of a wave; each GPU is a little ahead of the one before.
WAVES = [("used_mib", 8000, 21000, 40), ("util", 20, 100, 17), ("mw", 120_000, 430_000, 17), ("temp", 45, 78, 60)]


class CannotBuild(Exception):
    """There is no C compiler, or no source."""


class Stub:
    """The library in a folder of its own, as libnvidia-ml.so.1, so that other monitors find it too."""

    def __init__(self, gpus=2):
        self.gpus, self.more = gpus, []
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if not compiler or not SOURCE.exists():
            raise CannotBuild("no C compiler" if SOURCE.exists() else f"{SOURCE} is not there")
        self.folder = Path(tempfile.mkdtemp(prefix="lune-nvml"))
        self.library = self.folder / "libnvidia-ml.so.1"
        self.ended = threading.Event()
        self.thread = None
        try:
            subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", self.library, SOURCE, MORE, "-ldl"], check=True, capture_output=True)
            self.set(0.0)
        except BaseException:
            self.close()
            raise

    def set(self, moment):
        """Has the library say what it says at this moment of the waves."""
        lines = [f"99.count={self.gpus}", *self.more]
        for gpu in range(self.gpus):
            for key, low, high, period in WAVES:
                lines.append(f"{gpu}.{key}={low + int((high - low) * (0.5 + 0.5 * math.sin(moment * 2 * math.pi / period + gpu)))}")
        new = self.folder / "state.new"
        new.write_text("\n".join(lines))
        os.replace(new, self.folder / "state")

    def move(self):
        """Lets the readings change each second until the end."""
        def go_on():
            began = time.monotonic()
            while not self.ended.wait(1.0):
                self.set(time.monotonic() - began)
        self.thread = threading.Thread(target=go_on, daemon=True)
        self.thread.start()

    def close(self):
        self.ended.set()
        if self.thread:
            self.thread.join()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
