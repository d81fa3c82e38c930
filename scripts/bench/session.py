"""What the benches that print a table share: their options, a measurement's figures, the table, the exit code."""
import argparse
import os
import signal
import sys
from pathlib import Path

import machine
from table import Figure, report
from weights import CHECKOUT


def parser(description, measurements):
    """The options that all of them have."""
    venv = CHECKOUT / ".venv/bin/python"
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", action="append", choices=measurements, metavar="NAME", help="this one; may be given again")
    options.add_argument("--bin", type=Path, default=CHECKOUT / "target/release", metavar="DIR", help="the programs (target/release)")
    options.add_argument("--python", default=str(venv) if venv.exists() else sys.executable, help="a Python with the reference packages")
    options.add_argument("--cache", type=Path, default=CHECKOUT / "target/bench", metavar="DIR", help="where weights are kept (target/bench)")
    options.add_argument("--threads", type=int, default=2, help="processor threads of both sides (2)")
    options.add_argument("--rounds", type=int, default=2, help="rounds of ours and the peers' (%(default)s)")
    options.add_argument("--steps", type=int, default=3, help="steps of each in a round (3)")
    return options


def unmeasured(what, why):
    """The row of what could not be measured."""
    figure = Figure(what, "could not be measured", note=why)
    figure.failed = True
    return figure


def measure(name, measurement, bench):
    """The figures of one measurement; what goes wrong is a row too."""
    print(f"{name} …", file=sys.stderr, flush=True)
    share = machine.busy_share()
    figures = []
    try:
        for figure in measurement(bench):
            figures.append(figure)
    except KeyboardInterrupt:
        raise
    except Exception as error:
        figures.append(unmeasured(name, f"{type(error).__name__}: {error}"))
    for figure in figures:
        figure.busy = share > machine.BUSY
    return figures


def need_programs(folder):
    """Ends where the programs are not built."""
    if not all(os.access(folder / name, os.X_OK) for name in ("perilune", "perilune-engine")):
        print(f"{Path(sys.argv[0]).name}: {folder} holds no perilune and perilune-engine; scripts/setup builds them, --bin says "
              "where they are", file=sys.stderr)
        sys.exit(2)


def run(bench, measurements, only, packages=()):
    """Takes the measurements, prints the table, and ends: 1 where a bar is missed, 2 where something could not be run."""
    # Ended from outside, everything that was started ends as on Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    print("\n".join(machine.describe(bench.python, bench.programs / "perilune", packages)), flush=True)
    figures, interrupted = [], False
    try:
        for name in only or measurements:
            figures += measure(name, measurements[name], bench)
    except KeyboardInterrupt:
        interrupted = True
    print("load average at the end: " + " ".join(f"{x:.2f}" for x in os.getloadavg()))
    if figures:
        print("\n".join(["", *report(figures)]))
    if interrupted:
        sys.exit(130)
    if any(f.held is False for f in figures):
        sys.exit(1)
    sys.exit(2 if any(getattr(f, "failed", False) for f in figures) else 0)
