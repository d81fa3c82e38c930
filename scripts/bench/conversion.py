"""What looking things up in the cache of conversions takes: one conversion that is there, and ten thousand that are listed."""
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

from bench import milliseconds, say, spread
from table import Bar, Figure

MOONLET = Path(__file__).resolve().parents[1] / "moonlet/moonlet.safetensors"
LOOKUPS, LISTS, FILES = 31, 11, 10_000
# What changed less than two seconds ago is not kept in the index.
SETTLES = 3


def run(home, *words):
    """Runs a command without a daemon; its output, and the seconds it took."""
    began = time.perf_counter()
    done = subprocess.run([home.program, *words], env=home.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    took = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"perilune {' '.join(words)} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    return done.stdout, took


def empty(home):
    """Seconds of a command that does nothing: what starting the program takes."""
    return [run(home, "--version")[1] for _ in range(LOOKUPS + 1)][1:]


def lookup(bench):
    """A conversion that is there, found from the source's name to its path; the start of the program is told beside it."""
    with bench.home() as home:
        source = home.folder / "models/checkpoints/moon.safetensors"
        source.parent.mkdir(parents=True)
        shutil.copy(MOONLET, source)
        command = ("convert", str(source), "--to", "Q8_0", "--json")
        run(home, *command)
        times = []
        for _ in range(LOOKUPS + 1):
            told, took = run(home, *command)
            if json.loads(told)["status"] != "cached":
                raise RuntimeError(f"not found in the cache: {told}")
            times.append(took)
        start = milliseconds(empty(home))
    own = [max(0.0, took - start / 1000) for took in times[1:]]
    yield Figure("lookup of a cached conversion", milliseconds(own), "ms", bar=Bar(5),
                 note=f"without the start of the program, {start:.1f} ms; median; " + spread(own))


def shelf(bench):
    """`cache list` and `cache stats` over ten thousand conversions of a hundred sources, which the index knows."""
    with bench.home() as home:
        fill(home)
        time.sleep(SETTLES)
        for name, words in (("cache list", ("cache", "list", "--json")), ("cache stats", ("cache", "stats", "--json"))):
            told = json.loads(run(home, *words)[0])
            count = told["count"] if "count" in told else len(told["conversions"])
            if count != FILES:
                raise RuntimeError(f"{name} found {count} of {FILES}")
            times = [run(home, *words)[1] for _ in range(LISTS)]
            yield Figure(f"{name}, {FILES} files", milliseconds(times), "ms", bar=Bar(100), note="with its start; median; " + spread(times))


def fill(home):
    """Makes one conversion, and as many more files with manifests like its."""
    folder = home.folder / "models/checkpoints"
    folder.mkdir(parents=True)
    for number in range(100):
        os.link(MOONLET, folder / f"{number}.safetensors") if same_disk(folder) else shutil.copy(MOONLET, folder / f"{number}.safetensors")
    made = json.loads(run(home, "convert", str(folder / "0.safetensors"), "--to", "bf16", "--json")[0])["output"]
    made = Path(made)
    manifest = json.loads((made.parent / ".perilune" / f"{made.name}.json").read_text())
    say(f"{FILES} conversions are made up")
    for number in range(1, FILES):
        name = f"made-{number}_bf16.safetensors"
        with open(made.parent / name, "wb") as file:
            file.truncate(manifest["bytes"])
        source = folder / f"{number % 100}.safetensors"
        status = source.stat()
        manifest["origins"] = [{"path": str(source), "bytes": status.st_size, "modified_ns": status.st_mtime_ns, "inode": status.st_ino,
                                "device": status.st_dev}]
        (made.parent / ".perilune" / f"{name}.json").write_text(json.dumps(manifest))


def same_disk(folder):
    return folder.stat().st_dev == MOONLET.stat().st_dev
