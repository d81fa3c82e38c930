"""What all measurements are told: programs, reference Python, weights, how often, how long."""
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import weights
from home import Home
from stub import Stub

# A file that is not there: a home without GPUs, whatever the machine has.
NO_GPU = "/nonexistent/libnvidia-ml.so.1"


@dataclass
class Bench:
    programs: Path
    python: str
    cache: Path
    given: Path | None
    threads: int
    seconds: float
    size: int
    rounds: int
    steps: int
    deaths: int
    jobs: int
    scratch: Path | None

    def home(self, nvml=NO_GPU, config="", parent=None):
        return Home(self.programs, nvml=nvml, config=config, parent=parent)

    def weights(self):
        return weights.real(self.python, self.cache, self.given)

    def stub(self):
        return Stub()


def say(text):
    """Tells whoever waits how far it is."""
    print(f"  {text}", file=sys.stderr, flush=True)


def milliseconds(times):
    return 1000 * median(times)


def percentile(values, share):
    """The least value that so large a share of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-len(ordered) * share // 100) - 1))]


def spread(times, unit="ms", scale=1000):
    return f"{scale * min(times):.1f} to {scale * max(times):.1f} {unit}, {len(times)} times"


def warm(path):
    """Reads a file, so that it lies in the page cache."""
    buffer = bytearray(weights.CHUNK)
    with open(path, "rb", buffering=0) as f:
        while f.readinto(buffer):
            pass
