"""How long planning takes: benches/placement.rs, which cargo builds."""
import re
import subprocess

from session import unmeasured
from table import Bar, Figure
from weights import CHECKOUT

COMMAND = ["cargo", "bench", "--no-default-features", "--bench", "placement"]
# Milliseconds, by what the benchmark's name begins with.
BARS = {"plan": 5, "hold": 5, "sweep": 1000, "curve": 1000, "tuner": 5}
UNITS = {"ns": 1e-6, "\u00b5s": 1e-3, "\u03bcs": 1e-3, "ms": 1, "s": 1000}
NAME = re.compile(r"[├╰]─ ([a-z]\w+)")
TIMES = re.compile(r"([\d.]+) (ns|[\u00b5\u03bc]s|ms|s)\b")


def medians(said):
    """{benchmark: milliseconds of each of its medians}; a line has fastest, slowest, median, mean."""
    found, name = {}, None
    for line in said.splitlines():
        if match := NAME.search(line):
            name = match[1]
        times = TIMES.findall(line)
        if name and len(times) == 4:
            value, unit = times[2]
            found.setdefault(name, []).append(float(value) * UNITS[unit])
    return found


def planning(bench):
    if not bench.planning:
        yield Figure("planning", "not asked for", note="--planning builds and runs it: " + " ".join(COMMAND))
        return
    done = subprocess.run(COMMAND, cwd=CHECKOUT, capture_output=True, text=True)
    found = medians(done.stdout)
    if done.returncode or not found:
        yield unmeasured("planning", f"{' '.join(COMMAND)}: {(done.stderr.strip().splitlines() or ['it said nothing'])[-1]}")
    for name, times in found.items():
        limit = BARS.get(name.split("_")[0])
        yield Figure("planning: " + name.replace("_", " "), max(times), "ms", bar=Bar(limit) if limit else None,
                     note=f"the slowest of {len(times)} medians")
