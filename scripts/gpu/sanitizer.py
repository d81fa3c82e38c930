"""The engine under NVIDIA's compute-sanitizer, where that is installed: whether anything on the GPU reads or writes beyond its memory.

    daemon ── starts ──> a script in the engine's place ── in a session of its own ──> compute-sanitizer ──> perilune-engine

The daemon kills what it has started when that is slow to end; the sanitizer writes its summary only then, and so is not among it.
"""
import os
import re
import shlex
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

from home import Failed, is_alive
from machine import poll
from pictures import pixels
from rows import Row

NAME = "compute-sanitizer"
# For all of it. What has taken longer than QUICK is not done again with a slower tool.
LIMIT_S, QUICK_S = 120, 30
# From the daemon's end until there must be a summary.
LAST_WORDS_S = 20
# An engine that dies is started again: each has a log of its own.
LOG = "LOG"
OPTIONS = ["--log-file", LOG, "--launch-timeout", 60, "--print-limit", 20]
# libtorch and drivers ask for what may not be there; such answers are no access to memory.
OPTIONS_OF = {"memcheck": ["--report-api-errors", "no"], "racecheck": []}
SUMMARY = {
    "memcheck": re.compile(r"^=+ ERROR SUMMARY: (\d+) errors?", re.MULTILINE),
    "racecheck": re.compile(r"^=+ RACECHECK SUMMARY: \d+ hazards? displayed \((\d+) errors?", re.MULTILINE),
}
FOUND = re.compile(r"^=+ (?:Invalid|Misaligned|Fatal|Host API memory access error|Error: Race)", re.MULTILINE)
# It has watched nothing, or not all; some versions add a summary of 0 errors to that.
BLIND = re.compile(r"^=+ (?:Error: (?!Race)|Internal|Device not supported|Unable)", re.MULTILINE)

IN_ITS_PLACE = f"""
import os, subprocess, sys
kept = sys.argv[1] + "/" + str(os.getpid())
child = subprocess.Popen([kept + ".txt" if word == {LOG!r} else word for word in sys.argv[2:]], start_new_session=True)
open(kept + ".pid", "w").write(str(child.pid))
sys.exit(child.wait() and 1)
"""


def find():
    """Where the program is, or None."""
    roots = [os.environ.get("CUDA_HOME", ""), *sorted(map(str, Path("/usr/local").glob("cuda*")))]
    return shutil.which(NAME) or next(filter(None, (shutil.which(NAME, path=f"{root}/bin") for root in roots if root)), None)


def read(tool, text):
    """(errors, the first thing it told) out of what it wrote; no number where it has not watched all that ran."""
    lines = [line.strip("= \r") for line in text.splitlines()]
    told = next((line for line in lines if line and line != NAME.upper() and "SUMMARY:" not in line), "")
    counted = [int(number) for number in SUMMARY[tool].findall(text)]
    errors = max([*counted, len(FOUND.findall(text))])
    if not errors and (not counted or BLIND.search(text)):
        return None, told or "it wrote no summary"
    return errors, told


def read_all(tool, texts):
    """The same of several that ran one after the other."""
    said = [read(tool, text) for text in texts] or [read(tool, "")]
    errors = sum(number or 0 for number, _ in said)
    told = next((told for _, told in said if told), "")
    return (None if not errors and any(number is None for number, _ in said) else errors), told


def put_in_place(home, command):
    """Has the home's daemon start this as its engine; returns the folder where each start leaves its process id and what is told."""
    script, folder = home.folder / "engine-watched", home.folder / "watched"
    folder.mkdir()
    words = [sys.executable, "-c", IN_ITS_PLACE, folder, *command]
    script.write_text(f"#!/bin/sh\nexec {' '.join(shlex.quote(str(word)) for word in words)} \"$@\"\n")
    script.chmod(0o755)
    home.environment["PERILUNE_ENGINE"] = str(script)
    return folder


def end(folder):
    """Kills what is left of them."""
    for file in folder.glob("*.pid"):
        try:
            pid = int(file.read_text())
            if is_alive(pid) and NAME.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.killpg(pid, signal.SIGKILL)
        except (OSError, ValueError):
            continue


def painted(home, flags, seconds):
    """A picture that must be there in time."""
    following, late = home.follow(*flags), threading.Event()

    def give_up():
        late.set()
        following.process.kill()
    timer = threading.Timer(seconds, give_up)
    timer.start()
    try:
        for _ in following:
            pass
    except Failed:
        if late.is_set():
            raise Failed(f"not done within {seconds:.0f} s") from None
        raise
    finally:
        timer.cancel()
    return pixels(following.last["images"][0]["path"])


def watched(home_of, engine, program, tool, case, seconds):
    """A row of one tool."""
    what = f"{NAME} {tool}: {case.what}"
    bar = "0 errors" if tool == "memcheck" else "-"
    began, problem, same = time.monotonic(), "interrupted", True
    with home_of(f"supervision: {{silence_s: {LIMIT_S}}}\n") as home:
        folder = put_in_place(home, [program, "--tool", tool, *OPTIONS, *OPTIONS_OF[tool], engine])
        texts = lambda: [log.read_text(errors="replace") for log in sorted(folder.glob("*.txt"))]
        try:
            home.start()
            same = bool((painted(home, case.flags, seconds) == case.streamed).all())
            problem = ""
        except Failed as error:
            problem = str(error)
        finally:
            taken = time.monotonic() - began
            home.stop()
            try:
                poll("a summary", lambda: problem or all(map(SUMMARY[tool].search, texts())), LAST_WORDS_S, 0.1)
            except TimeoutError:
                pass
            end(folder)
        errors, told = read_all(tool, texts())
    note = "; ".join(filter(None, [f"{taken:.0f} s", problem[-200:], "" if same else "OTHER bytes than without it", told[:200]]))
    if errors is None or (problem and not errors):
        return Row(what, bar=bar, note=note), taken
    return Row(what, f"{errors} error{'s' * (errors != 1)}", bar=bar, held=errors == 0 if tool == "memcheck" else None, note=note), taken


def check(home_of, engine, case):
    """memcheck; and racecheck where that is quick, without a bar: it watches memory that threads of a kernel share, and all kernels are
    libtorch's."""
    program = find()
    if program is None:
        yield Row(f"{NAME}: {case.what}", note=f"{NAME} is not installed")
        return
    row, taken = watched(home_of, engine, program, "memcheck", case, LIMIT_S)
    yield row
    if row.held and taken < QUICK_S:
        yield watched(home_of, engine, program, "racecheck", case, LIMIT_S - taken)[0]
