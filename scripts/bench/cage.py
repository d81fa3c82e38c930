"""A limit on memory that the kernel keeps: a control group by hand, version 2 or 1, or a scope of systemd's.

Everything that is started within shares the limit, the page cache that it fills among it. Without swap, what does not fit
is killed.
"""
import os
import shutil
import subprocess
from pathlib import Path

# Interface files: (limit, most that was used, file with the number of kills), by version.
FILES = {2: ("memory.max", "memory.peak", "memory.events"),
         1: ("memory.limit_in_bytes", "memory.max_usage_in_bytes", "memory.oom_control")}


class NoCage(Exception):
    """No such limit can be had here."""


def _mounts():
    """(version, folder) of each file system that can limit memory."""
    with open("/proc/self/mounts") as f:
        for line in f:
            _, folder, kind, options, *_ = line.split()
            if kind == "cgroup2":
                yield 2, Path(folder)
            elif kind == "cgroup" and "memory" in options.split(","):
                yield 1, Path(folder)


def _own(version):
    """The group that we are in, seen from the mount."""
    with open("/proc/self/cgroup") as f:
        for line in f:
            number, controllers, path = line.rstrip("\n").split(":", 2)
            if (number == "0") if version == 2 else ("memory" in controllers.split(",")):
                return path.lstrip("/")
    return ""


class Cage:
    """Use it as a context. `prefix` goes before a command, `enter` runs in the new process before it."""

    def __init__(self, limit):
        self.limit, self.prefix, self.enter, self.folder, self.version, self.name = limit, [], None, None, None, ""
        reasons = []
        for version, mount in _mounts():
            own = mount / _own(version)
            for parent in dict.fromkeys([own, own.parent, mount]):
                try:
                    self._make(version, parent)
                    return
                except OSError as error:
                    reasons.append(f"{parent}: {error.strerror or error}")
        reasons.append(self._scope())
        if not self.prefix:
            raise NoCage("no limit on memory can be had: " + "; ".join(dict.fromkeys(reasons)))

    def _make(self, version, parent):
        folder = parent / f"lune-{os.getpid()}"
        if version == 2 and "memory" not in (parent / "cgroup.subtree_control").read_text().split():
            (parent / "cgroup.subtree_control").write_text("+memory")
        folder.mkdir()
        try:
            (folder / FILES[version][0]).write_text(str(self.limit))
            if version == 2 and (folder / "memory.swap.max").exists():
                (folder / "memory.swap.max").write_text("0")
            if version == 1:
                (folder / "memory.swappiness").write_text("0")
        except OSError:
            folder.rmdir()
            raise
        self.folder, self.version, self.name = folder, version, f"cgroup v{version} by hand"
        procs = str(folder / "cgroup.procs")

        def enter():
            with open(procs, "w") as f:
                f.write("0" if version == 2 else str(os.getpid()))
        self.enter = enter

    def _scope(self):
        """Has systemd make a scope; returns why it does not, where it does not."""
        command = ["systemd-run", "--user", "--scope", "--quiet", "-p", f"MemoryMax={self.limit}", "-p", "MemorySwapMax=0"]
        if not shutil.which(command[0]):
            return "there is no systemd-run"
        tried = subprocess.run([*command, "true"], capture_output=True, text=True)
        if tried.returncode:
            return "systemd-run: " + (tried.stderr.strip().splitlines() or ["refused"])[-1]
        self.prefix, self.name = command, "systemd-run --user --scope"
        return ""

    def _number(self, name, key=None):
        try:
            text = (self.folder / name).read_text()
        except (OSError, TypeError):
            return None
        if key is None:
            return int(text)
        return next((int(line.split()[1]) for line in text.splitlines() if line.split()[0] == key), None)

    def peak(self):
        """The most that was used, page cache and kernel memory included; None where nobody tells."""
        return self._number(FILES[self.version][1]) if self.folder else None

    def kills(self):
        """How many processes the limit has ended; None where nobody tells."""
        return self._number(FILES[self.version][2], "oom_kill") if self.folder else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.folder:
            try:
                self.folder.rmdir()
            except OSError:
                # A process that ends holds it a moment more; an empty group costs nothing.
                pass
