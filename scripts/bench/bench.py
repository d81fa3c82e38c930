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
    threads: int
    rounds: int
    steps: int
    given: Path | None = None
    seconds: float = 0
    size: int = 512
    deaths: int = 0
    jobs: int = 0
    scratch: Path | None = None
    planning: bool = False
    depth: int = 10
    discard: bool = False
    sd_cli: Path | None = None

    def home(self, nvml=NO_GPU, config="", parent=None):
        return Home(self.programs, nvml=nvml, config=config, parent=parent)

    def weights(self, wide=False):
        return weights.real(self.python, self.cache, self.given, wide)

    def stub(self, gpus=2):
        return Stub(gpus)


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
