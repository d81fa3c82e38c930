"""What the dashboard costs while nobody touches it: processor time, bytes to the terminal, memory."""
import os
import shutil
import time
from pathlib import Path

from bench import say
from machine import Usage, status_bytes
from startup import is_useful
from table import Bar, Figure
from terminal import Terminal

SETTLE = 3.0
# Taken on another machine: share of a core, bytes/s, memory in MB.
QUOTED = {"nvtop": (0.1, 3300, 5), "nvitop": (1.1, 800, 24)}
# How each is told to read once a second, if it can be.
ONCE_A_SECOND = {"nvtop": ["-d", "10"], "nvitop": ["--monitor", "full", "--interval", "1"], "btop": ["--utf-force"]}


def watch(terminal, seconds, others=()):
    """(percent of a core, bytes per second, MB), and the percent of each other process."""
    terminal.read_for(SETTLE)
    usages, began = [Usage(pid) for pid in (terminal.pid, *others)], time.perf_counter()
    count = terminal.read_for(seconds)
    took = time.perf_counter() - began
    percents = [100 * usage.seconds() / took for usage in usages]
    return (percents[0], count / took, status_bytes(terminal.pid, "VmRSS") / 1e6), percents[1:]


def peer_command(name, python):
    """How the peer is run at one reading a second, or None where it is not installed."""
    beside = Path(python).parent / name
    program = shutil.which(name) or (str(beside) if beside.exists() else None)
    if not program:
        return None
    return [program, *ONCE_A_SECOND[name]]


def peer_figures(name, bench, stub):
    """(figures, why they are quoted or nothing)."""
    command, quoted = peer_command(name, bench.python), QUOTED.get(name, (None, None, None))
    if not command:
        return quoted, "not installed"
    say(f"{name} for {bench.seconds:.0f} s")
    environment = {**os.environ, "LD_LIBRARY_PATH": str(stub.folder)}
    try:
        with Terminal(command, environment) as terminal:
            return watch(terminal, bench.seconds)[0], ""
    except (EOFError, OSError) as error:
        return quoted, f"it ends on the stub: {error}"


def beside(bench, gpus, names):
    """The dashboard's figures on a stub of so many GPUs whose readings change each second, its daemon's (percent of a core, MB), and
    (name, figures, why quoted) of each peer."""
    with bench.stub(gpus) as stub, bench.home(nvml=stub.library) as home:
        stub.move()
        home.start()
        with Terminal(home.command(), home.environment) as terminal:
            terminal.read_until(is_useful, b"cpu")
            say(f"dashboard for {bench.seconds:.0f} s")
            ours, (daemon,) = watch(terminal, bench.seconds, [home.daemon.pid])
            daemon_mb = status_bytes(home.daemon.pid, "VmRSS") / 1e6
            terminal.quit()
        return ours, (daemon, daemon_mb), [(name, *peer_figures(name, bench, stub)) for name in names]


def idle(bench):
    ours, (daemon, daemon_mb), peers = beside(bench, 2, QUOTED)
    note = f"two stub GPUs whose readings change each second, 120x40, {bench.seconds:.0f} s"
    rows = [("processor", "% of a core", 0.5), ("to the terminal", "B/s", 2000), ("resident", "MB", 20)]
    for n, (what, unit, bar) in enumerate(rows):
        for at, (name, figures, quoted) in enumerate(peers):
            label = f"dashboard idle: {what}" + (", beside another" if at else "")
            yield Figure(label, ours[n], unit, figures[n], name, Bar(bar) if at == 0 else None, quoted, note if n == at == 0 else "")
    yield Figure("its daemon meanwhile: processor", daemon, "% of a core", note="no bar; it reads the devices once a second for all clients")
    yield Figure("its daemon meanwhile: resident", daemon_mb, "MB")
