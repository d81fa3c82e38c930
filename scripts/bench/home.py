"""A home of its own for the program under test: settings, daemon, commands. Closed, it leaves nothing."""
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from control import Control
from machine import poll


class Failed(Exception):
    """A command of the program under test did not end well."""


class Home:
    """Use it as a context: the daemon is ended and the folder removed at the end, whatever happens."""

    def __init__(self, programs, nvml=None, config="", libraries=None, parent=None):
        self.programs = Path(programs).resolve()
        self.program = self.programs / "perilune"
        self.folder = Path(tempfile.mkdtemp(prefix="lune", dir=parent))
        self.output = self.folder / "output"
        self.daemon = None
        self.children = []
        self.environment = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(self.folder), "USER": "bench", "LANG": "C.UTF-8",
            "PERILUNE_HOME": str(self.folder), "PERILUNE_ENGINE": str(self.programs / "perilune-engine"),
        }
        # Without a library of its own a home sees the machine's GPUs.
        if nvml:
            self.environment["PERILUNE_NVML"] = str(nvml)
        if libraries:
            self.environment["LD_LIBRARY_PATH"] = str(libraries)
        (self.folder / "config.yaml").write_text(config)

    @property
    def socket(self):
        return self.folder / "run/daemon.sock"

    def start(self, cage=None):
        """Starts the daemon, within a limit on memory where there is one, and waits until it listens."""
        prefix, enter = (cage.prefix, cage.enter) if cage else ([], None)
        with open(self.folder / "daemon.log", "ab") as log:
            self.daemon = subprocess.Popen([*prefix, self.program, "serve"], env=self.environment, stdin=subprocess.DEVNULL,
                                           stdout=log, stderr=log, start_new_session=True, preexec_fn=enter)

        def answers():
            if self.daemon.poll() is not None:
                raise Failed("the daemon ended at once: " + (self.folder / "daemon.log").read_text()[-500:].strip())
            try:
                return self.talk()
            except OSError:
                return None
        poll("the daemon to answer", answers).close()

    def talk(self):
        return Control(self.socket)

    def command(self, *arguments):
        return [str(self.program), *map(str, arguments)]

    def run(self, *arguments, timeout=120):
        """Runs a command to its end; returns its standard output."""
        done = subprocess.run(self.command(*arguments), env=self.environment, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=timeout)
        if done.returncode:
            raise Failed(f"perilune {arguments[0]} ended with {done.returncode}: {done.stderr.strip()[-600:]}")
        return done.stdout

    def json(self, *arguments):
        return json.loads(self.run(*arguments, "--json"))

    def follow(self, *arguments):
        """Starts `perilune run --json …`; see Following."""
        return Following(self, ["run", "--json", "--output", self.output, *arguments])

    def paint(self, *arguments):
        """Runs one generation; returns the last line of `perilune run --json`."""
        following = self.follow(*arguments)
        for _ in following:
            pass
        return following.last

    def engine_pid(self):
        """The process id of the engine that runs, if one does."""
        pids = [e["pid"] for e in self.json("status")["engines"] if e["pid"]]
        return pids[0] if pids else None

    def stop(self):
        """Ends the daemon in order, and kills it where that fails."""
        if self.daemon is None and not self._lock_pid():
            return
        pid = self.daemon.pid if self.daemon else self._lock_pid()
        try:
            subprocess.run(self.command("stop", "--no-spawn"), env=self.environment, stdin=subprocess.DEVNULL,
                           capture_output=True, timeout=40)
            if self.daemon:
                self.daemon.wait(20)
            else:
                poll("the daemon to be gone", lambda: not is_alive(pid), 20)
        except (subprocess.TimeoutExpired, TimeoutError):
            if is_alive(pid):
                os.kill(pid, 9)
        if self.daemon:
            self.daemon.wait()
        self.daemon = None

    def _lock_pid(self):
        """The daemon that a client has started: it holds the lock, and its number stands in it."""
        try:
            pid = int((self.folder / "state/daemon.lock").read_text())
            return pid if is_alive(pid) and b"perilune" in Path(f"/proc/{pid}/cmdline").read_bytes() else None
        except (OSError, ValueError):
            return None

    def close(self):
        for child in self.children:
            if child.poll() is None:
                child.kill()
                child.wait()
        try:
            self.stop()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def is_alive(pid):
    """Whether there is such a process that is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class Following:
    """A running `perilune run --json`. Iterating gives (moment, line); a moment is time.perf_counter()."""

    def __init__(self, home, arguments):
        self.last = None
        self.errors = tempfile.TemporaryFile("w+", dir=home.folder)
        self.began = time.perf_counter()
        self.process = subprocess.Popen(home.command(*arguments), env=home.environment, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=self.errors, text=True)
        home.children.append(self.process)

    def __iter__(self):
        for text in self.process.stdout:
            moment = time.perf_counter()
            self.last = json.loads(text)
            yield moment, self.last
        if self.process.wait():
            self.errors.seek(0)
            raise Failed(f"perilune run ended with {self.process.returncode}: {self.errors.read().strip()[-600:]}")

    def interrupt(self):
        """Cancels the job as Ctrl-C does, and waits for that."""
        self.process.send_signal(2)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
