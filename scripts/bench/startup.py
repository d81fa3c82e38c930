"""How soon the program answers: its version, and the first frame of the dashboard that is of use."""
import os
import re
import shutil
import time

from bench import milliseconds, say, spread
from table import Bar, Figure
from terminal import Terminal

VERSIONS, FRAMES = 31, 15
# The rows of both GPUs and of the processor with their memory: the daemon was reached and its readings are drawn.
ROWS = [re.compile(rf"\b{device}\b.*\d+(\.\d+)?/\d+") for device in ("cuda:0", "cuda:1", "cpu")]


def version(bench):
    """`perilune --version`."""
    command = [str(bench.programs / "perilune"), "--version"]
    actions = [(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)]
    times = []
    for _ in range(VERSIONS + 1):
        began = time.perf_counter()
        pid = os.posix_spawn(command[0], command, os.environ, file_actions=actions)
        _, status = os.waitpid(pid, 0)
        times.append(time.perf_counter() - began)
        if status:
            raise RuntimeError(f"perilune --version ended with {status}")
    # The first one has read the file from disk.
    yield Figure("perilune --version", milliseconds(times[1:]), "ms", bar=Bar(20), note="median; " + spread(times[1:]))


def is_useful(screen):
    """Whether the screen shows what somebody who opens it wants to see."""
    text = screen.text()
    return all(row.search(text) for row in ROWS)


def first_frame(home):
    """Seconds from the start of the dashboard until its devices are on the screen."""
    with Terminal(home.command(), home.environment) as terminal:
        seen = terminal.read_until(is_useful, b"cpu")
        terminal.quit()
        return seen - terminal.began


def first_frames(bench):
    """The dashboard's first useful frame, with a daemon that is up and with one that must be started."""
    with bench.stub() as stub:
        peers = first_bytes(stub)
        with bench.home(nvml=stub.library) as home:
            home.start()
            up = [first_frame(home) for _ in range(FRAMES + 1)][1:]
            home.stop()
            say("first frame, daemon to be started")
            down = []
            for _ in range(FRAMES):
                down.append(first_frame(home))
                home.stop()
    note = "two stub GPUs, 120x40; median; "
    yield Figure("first useful frame, daemon up", milliseconds(up), "ms", bar=Bar(40), note=note + spread(up), **peers)
    yield Figure("first useful frame, daemon to be started", milliseconds(down), "ms", bar=Bar(300), note=note + spread(down), **peers)


def first_bytes(stub):
    """What nvtop needs for its first byte; quoted where it is not installed."""
    program = shutil.which("nvtop")
    if not program:
        return {"peer": 7.0, "peer_name": "nvtop, first byte", "quoted": "not installed"}
    times = []
    for _ in range(FRAMES):
        with Terminal([program], {**os.environ, "LD_LIBRARY_PATH": str(stub.folder)}) as terminal:
            if read := terminal.read(5.0):
                times.append(read[0] - terminal.began)
    return {"peer": milliseconds(times), "peer_name": "nvtop, first byte"} if times else {"peer_name": "nvtop said nothing"}
