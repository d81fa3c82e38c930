"""Deaths of engine and daemon at random moments: scripts/bench-kill, and its last line."""
import os
import re
import signal
import subprocess

from table import Figure
from weights import CHECKOUT

LINE = re.compile(r"^\d+ deaths, .*$", re.MULTILINE)


def deaths(bench):
    what = f"{bench.deaths} x kill -9 of engine or daemon"
    # Not in the terminal's group: an interrupted cargo leaves its children, so all of them are ended here.
    process = subprocess.Popen([CHECKOUT / "scripts/bench-kill", str(bench.deaths)], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    try:
        said, _ = process.communicate()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    lines = LINE.findall(said)
    if process.returncode == 0 and lines:
        yield Figure(what, "0 lost, 0 done twice", held=True, note=lines[-1])
    else:
        last = (said.strip().splitlines() or ["it said nothing"])[-1]
        # Without cargo nothing was tried, and nothing is known.
        tried = bool(lines) or "test result" in said
        yield Figure(what, None if not tried else "FAILED", held=False if tried else None, note=f"scripts/bench-kill: {last}")
