"""The machine that figures come from, and what the kernel says about its processes."""
import os
import platform
import shutil
import subprocess
import threading
import time

PAGE = os.sysconf("SC_PAGE_SIZE")
TICK = os.sysconf("SC_CLK_TCK")
# Of all processors together. A background process on one of sixteen cores is not worth a mark.
BUSY = 0.10


def poll(what, found, seconds=30.0, pause=0.005):
    """Asks until there is an answer that counts; raises when there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        if answer := found():
            return answer
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: nothing within {seconds:.0f} s")
        time.sleep(pause)


def processors():
    return len(os.sched_getaffinity(0))


def processor_name():
    with open("/proc/cpuinfo") as f:
        names = [line.split(":", 1)[1].strip() for line in f if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"


def memory_gb():
    with open("/proc/meminfo") as f:
        return int(f.readline().split()[1]) * 1024 / 1e9


def gpus():
    """What nvidia-smi calls the GPUs, or nothing."""
    if not shutil.which("nvidia-smi"):
        return []
    asked = subprocess.run(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"], capture_output=True, text=True)
    return [line.strip() for line in asked.stdout.splitlines() if line.strip()] if asked.returncode == 0 else []


def versions(python, others=()):
    """The versions of the reference packages in that Python, and of others."""
    code = ("import importlib.metadata as m, sys\n"
            "for p in ('torch', 'diffusers', 'transformers', *sys.argv[1:]):\n"
            "    try: print(p, m.version(p), end=', ')\n"
            "    except m.PackageNotFoundError: print('no', p, end=', ')")
    asked = subprocess.run([python, "-c", code, *others], capture_output=True, text=True)
    return asked.stdout.rstrip(", ") or "no reference packages"


def describe(python, program, others=()):
    """Lines that head a table of figures."""
    ours = subprocess.run([program, "--version"], capture_output=True, text=True).stdout.strip()
    return [f"machine: {processor_name()}, {processors()} cores, {memory_gb():.1f} GB, Linux {platform.release()}; "
            f"GPU: {'; '.join(gpus()) or 'none'}",
            f"programs: {ours}; Python {platform.python_version()}, {versions(python, others)}",
            f"time: {time.strftime('%Y-%m-%d %H:%M:%S')}; load average {' '.join(f'{x:.2f}' for x in os.getloadavg())}"]


def busy_share(seconds=0.5):
    """The share of all processors that others take now."""
    def read():
        with open("/proc/stat") as f:
            times = [int(x) for x in f.readline().split()[1:9]]
        return sum(times), times[3] + times[4]
    (total, idle) = read()
    time.sleep(seconds)
    (total_then, idle_then) = read()
    return 1 - (idle_then - idle) / max(total_then - total, 1)


def status_bytes(pid, name):
    """A line of /proc/PID/status in bytes: VmRSS, VmHWM."""
    with open(f"/proc/{pid}/status") as f:
        for line in f:
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
    raise KeyError(name)


class PeakAnonymous:
    """The most anonymous memory that a process holds, read every 20 ms from now on until it is asked."""

    def __init__(self, pid):
        self.pid, self.bytes, self.ended = pid, 0, threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self):
        while not self.ended.wait(0.02):
            try:
                self.bytes = max(self.bytes, status_bytes(self.pid, "RssAnon"))
            except (OSError, KeyError):
                return

    def stop(self):
        self.ended.set()
        self.thread.join()
        return self.bytes


def cpu_seconds(pid):
    """Processor time that a process has used, threads that have ended among them, in the kernel's ticks."""
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def thread_seconds(pid):
    """{thread: processor time} to the nanosecond, where the kernel tells; of threads that live."""
    times = {}
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/schedstat") as f:
                times[thread] = int(f.read().split()[0]) / 1e9
        except OSError:
            continue
    return times


class Usage:
    """Processor time of a process from now on. Ticks miss a program that is awake for less than one, so
    the larger of both accounts counts."""

    def __init__(self, pid):
        self.pid, self.ticks, self.threads = pid, cpu_seconds(pid), thread_seconds(pid)

    def seconds(self):
        finer = sum(now - self.threads.get(thread, 0.0) for thread, now in thread_seconds(self.pid).items())
        return max(cpu_seconds(self.pid) - self.ticks, finer)


def file_system(path):
    """The type of the file system that holds a path."""
    path, best = os.path.realpath(path), ("", "unknown")
    with open("/proc/mounts") as f:
        for line in f:
            _, mount, kind, *_ = line.split()
            mount = mount.replace("\\040", " ")
            if (path + "/").startswith(mount.rstrip("/") + "/") and len(mount) >= len(best[0]):
                best = (mount, kind)
    return best[1]
