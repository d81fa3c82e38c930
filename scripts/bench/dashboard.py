"""What the dashboard costs on a large box, and how soon it answers: beside other monitors in the same terminal, on the same stub."""
import time
from dataclasses import dataclass
from pathlib import Path

import conversion
import ledger
import startup
from bench import percentile, say, spread
from idle import beside
from machine import status_bytes
from startup import is_useful
from table import Bar, Figure
from terminal import Terminal
from weights import tiny

PEERS = ("nvtop", "nvitop", "btop")
PRESSES = 300
# What sets_engine.py says that it holds.
SETS = 1000
# Screens, and rows of the queue: each changes what is drawn.
SCREENS = ("2", "3", "4", "6", "8", "9", "1")
ROWS = ("2", "6", "j", "j", "k", "k", "9", "8", "4", "3", "j", "1")
# What is on a line between two frames is over after this, in seconds.
QUIET = 0.05


def busy(bench):
    """Eight GPUs whose readings change each second."""
    ours, (daemon, _), peers = beside(bench, 8, PEERS)
    note = f"eight stub GPUs whose readings change each second, 120x40, {bench.seconds:.0f} s; btop reads every two seconds, and no GPU"
    rows = [("processor", "% of a core", 0.5), ("to the terminal", "B/s", 3000), ("resident", "MB", 20)]
    for n, (what, unit, bar) in enumerate(rows):
        yield Figure(f"eight GPUs: {what}", ours[n], unit, bar=Bar(bar), note=note if n == 0 else "")
        for name, figures, quoted in peers:
            yield Figure(f"eight GPUs: {what}, beside another", ours[n], unit, figures[n], name, Bar(1.0, of_peer=True) if unit != "MB" else None, quoted)
    yield Figure("its daemon meanwhile: processor", daemon, "% of a core", note="no bar; it reads the devices for all clients")


@dataclass
class Echo:
    """Seconds from keys to the first byte of the frames that they make, and keys that made none."""
    times: list
    silent: int

    def figure(self, what, bar, note):
        note += f"; {len(self.times)} keys, {self.silent} of which changed nothing; median {percentile(self.times, 50) * 1000:.1f} ms; " + spread(self.times)
        return Figure(what, percentile(self.times, 99) * 1000, "ms", bar=Bar(bar), note=note)


def echo(terminal, keys, presses, seconds=1.0):
    """Presses keys one after the other, each once the frame before is drawn."""
    times, silent = [], 0
    for number in range(presses):
        while terminal.read(QUIET):
            pass
        began = time.perf_counter()
        terminal.press(keys[number % len(keys)])
        answer = terminal.read(seconds)
        if answer:
            times.append(answer[0] - began)
        else:
            silent += 1
    return Echo(times, silent)


def keys(bench):
    """Keys on a box with sixteen GPUs, a thousand sets, a hundred thousand jobs and ten thousand conversions."""
    with bench.stub(16) as stub, bench.home(nvml=stub.library) as home:
        home.environment["PERILUNE_ENGINE"] = str(Path(__file__).resolve().parent / "sets_engine.py")
        conversion.fill(home)
        model = tiny(home.folder)
        home.start()
        ledger.submits(home, model, 1)
        home.run("queue", "cancel", 1)
        home.stop()
        ledger.fill(home, 1, ledger.LISTED)
        stub.move()
        home.start()
        home.run("sets", "load", model, "--compute-device", "cpu")
        loaded = len(home.json("sets", "list"))
        if loaded != SETS:
            raise RuntimeError(f"{loaded} sets are there instead of {SETS}")
        with Terminal(home.command(), home.environment) as terminal:
            terminal.read_until(lambda screen: startup.ROWS[0].search(screen.text()), b"Stub")
            say(f"{PRESSES} keys")
            told = echo(terminal, ROWS, PRESSES)
            memory = status_bytes(terminal.pid, "VmRSS") / 1e6
            terminal.quit()
    yield told.figure("key -> frame, p99", 16, "16 stub GPUs, 1,000 sets, 100,000 jobs, 10,000 conversions, 120x40")
    yield Figure("the dashboard meanwhile: resident", memory, "MB")


def stalled(bench):
    """Keys while the driver answers nothing."""
    with bench.stub() as stub, bench.home(nvml=stub.library) as home:
        home.start()
        with Terminal(home.command(), home.environment) as terminal:
            terminal.read_until(is_useful, b"cpu")
            stub.more = [f"{gpu}.stall=1" for gpu in range(stub.gpus)]
            stub.set(0.0)
            began = time.perf_counter()
            told = echo(terminal, SCREENS, 70)
            took = time.perf_counter() - began
            stub.more = []
            stub.set(0.0)
            terminal.quit()
    yield told.figure("key -> frame while NVML is stalled, p99", 50, f"two stub GPUs that answered nothing for {took:.1f} s")
