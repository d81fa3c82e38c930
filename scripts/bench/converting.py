"""How fast SDXL's UNet is converted, beside copying a file and beside what people convert with today."""
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pagecache
from bench import say, spread
from peer import HERE, NoPeer, needs
from table import Bar, Figure

# Numbers that ggml's quantiser is timed on, and weights of the UNet that are stored in blocks.
TIMED = 1 << 26
PRIVATE_SHARE = 0.1
# What is told is the least of so many rounds, ours and the peers': what else a machine does only ever adds.
ROUNDS = 3
# What stable-diffusion.cpp can make, too.
SD_CPP = ("Q4_0", "Q5_0")


def source(bench):
    """SDXL's UNet in fp16, made once and kept in the cache."""
    out = bench.cache / "real-sdxl-unet.safetensors"
    if not out.exists():
        needs(bench.python)
        out.parent.mkdir(parents=True, exist_ok=True)
        say(f"making {out}: 5.14 GB, about a minute")
        subprocess.run([bench.python, HERE / "real_sdxl_unet.py", out], check=True)
    return out


def ours(home, source, to):
    """(seconds with the program's start, peak private memory, result)."""
    out = home.folder / "out"
    command = [home.program, "convert", source, "--to", to, "--output", out, "--json"]
    began = time.perf_counter()
    child = subprocess.Popen(command, env=home.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    most = 0
    while child.poll() is None:
        most = max(most, private(child.pid))
        time.sleep(0.005)
    took = time.perf_counter() - began
    told = json.loads(child.stdout.read().strip().splitlines()[-1])
    if told["status"] != "converted":
        raise RuntimeError(f"{to}: {told['status']}: {told['reason']}")
    return took, most, Path(told["output"])


def private(pid):
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return max((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon")), default=0)


def theirs(bench, source, to, out):
    """(seconds without imports, peak private memory) of the Python peer."""
    needs(bench.python, ("torch", "safetensors", "bitsandbytes", "gguf"))
    done = subprocess.run([bench.python, HERE / "peer_convert.py", to, source, out], capture_output=True, text=True)
    Path(out).unlink(missing_ok=True)
    if done.returncode:
        raise NoPeer((done.stderr.strip().splitlines() or ["?"])[-1])
    told = json.loads(done.stdout.strip().splitlines()[-1])
    return told["seconds"], told["private"]


def copying(result, beside):
    """Seconds of `cp` of a file."""
    began = time.perf_counter()
    subprocess.run(["cp", result, beside], check=True)
    took = time.perf_counter() - began
    Path(beside).unlink()
    return took


def reading(path):
    """Seconds of reading a file once, from the page cache."""
    began = time.perf_counter()
    pagecache.warm(path)
    return time.perf_counter() - began


def rounds(bench, home, file, to):
    """Ours, cp and one reading in turn: lists of seconds, and the most private memory of ours."""
    times, copies, reads, most = [], [], [], 0
    for _ in range(max(bench.rounds, ROUNDS)):
        pagecache.warm(file)
        took, held, result = ours(home, file, to)
        times.append(took)
        most = max(most, held)
        copies.append(copying(result, home.folder / "copy"))
        reads.append(reading(file))
        result.unlink()
        for about in (result.parent / ".perilune").glob(result.name + ".*"):
            about.unlink()
    return times, copies, reads, most


def plain(bench):
    """Casts and rows: bounded by writing."""
    file = source(bench)
    with bench.home(parent=bench.cache) as home:
        for to in ("bf16", "fp8", "int8", "Q8_0"):
            times, copies, reads, most = rounds(bench, home, file, to)
            floor = min(copies) + min(reads)
            yield Figure(f"SDXL UNet fp16 to {to}", min(times), "s", 1.3 * min(copies) + min(reads), "1.3 cp + one reading", Bar(1.0, of_peer=True),
                         note=f"with start and flush; cp and one reading {floor:.2f} s, unflushed; least of " + spread(times, "s", 1))
            yield from beside_python(bench, file, home, to, min(times), most, Bar(1 / 3, of_peer=True))


def packed(bench):
    """Blocks and codebooks."""
    file = source(bench)
    with bench.home(parent=bench.cache) as home:
        for to in ("Q4_0", "Q5_0", "nf4"):
            times, _, _, most = rounds(bench, home, file, to)
            yield from beside_python(bench, file, home, to, min(times), most, Bar(1 / 8, of_peer=True))
            if bench.sd_cli and to in SD_CPP:
                told = [sd_cpp(bench, file, to.lower(), home.folder / "peer.gguf") for _ in times]
                yield Figure(f"SDXL UNet fp16 to {to}, beside C++", min(times), "s", min(told), "stable-diffusion.cpp", Bar(1 / 2, of_peer=True),
                             note="whole calls on as many threads; the peer leaves convolutions as they are; " + spread(told, "s", 1))


def sd_cpp(bench, source, to, out):
    """Seconds of stable-diffusion.cpp's conversion, its start with it."""
    command = [bench.sd_cli, "-M", "convert", "-m", source, "-o", out, "--type", to, "-t", str(bench.threads)]
    pagecache.warm(source)
    began = time.perf_counter()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    took = time.perf_counter() - began
    made = Path(out).exists()
    Path(out).unlink(missing_ok=True)
    if done.returncode or not made:
        raise NoPeer(f"{bench.sd_cli}: {(done.stderr.strip().splitlines() or ['no file was made'])[-1]}")
    return took


def beside_python(bench, file, home, to, seconds, most, bar):
    told = [theirs(bench, file, to, home.folder / "peer.safetensors") for _ in range(max(bench.rounds, ROUNDS))]
    peer, held = min(took for took, _ in told), min(held for _, held in told)
    yield Figure(f"SDXL UNet fp16 to {to}, beside Python", seconds, "s", peer, "torch, bitsandbytes or gguf", bar, note="the peer without its imports, unflushed")
    yield Figure("the same: private memory", most / 1e6, "MB", held / 1e6, "the same", Bar(PRIVATE_SHARE, of_peer=True))


def searched(bench):
    """Types whose scales are searched for, beside ggml's own quantiser on as many threads."""
    file = source(bench)
    weights = file.stat().st_size // 2
    with bench.home(parent=bench.cache) as home:
        for to in ("Q4_K", "Q5_K", "Q6_K"):
            times, _, _, _ = rounds(bench, home, file, to)
            peer = min(quantiser(bench, to) for _ in times) / TIMED * weights
            yield Figure(f"SDXL UNet fp16 to {to}, whole", min(times), "s", peer, "ggml's quantiser alone", Bar(1 / 1.5, of_peer=True),
                         note=f"ggml on {TIMED} numbers, reckoned for all {weights}; nothing read or written there; " + spread(times, "s", 1))


def quantiser(bench, to):
    """Seconds that ggml's own takes for a part of the numbers."""
    done = subprocess.run([bench.python, HERE / "peer_convert.py", f"ggml:{to}", str(TIMED)], capture_output=True, text=True)
    if done.returncode:
        raise NoPeer((done.stderr.strip().splitlines() or ["?"])[-1])
    return json.loads(done.stdout)["seconds"]


def resumed(bench):
    """Killed when about nine tenths of the bytes are journalled: what the next call takes."""
    file, to = source(bench), "Q4_K"
    with bench.home(parent=bench.cache) as home:
        whole, _, result = ours(home, file, to)
        about = result.parent / ".perilune"
        size = result.stat().st_size
        result.unlink()
        for path in about.iterdir():
            path.unlink()
        command = [home.program, "convert", file, "--to", to, "--output", result.parent]
        child = subprocess.Popen(command, env=home.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        journal = about / f"{result.name}.journal"
        part, at = about / f"{result.name}.part", 0.0
        while child.poll() is None and at < 0.87:
            at = journalled(journal) / size
            time.sleep(0.01)
        if child.poll() is not None or not part.exists():
            raise RuntimeError("it was done before it could be killed")
        at = journalled(journal) / size
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        rest, _, _ = ours(home, file, to)
    yield Figure("going on after kill -9", rest, "s", whole, "the whole", Bar(0.15, of_peer=True), note=f"{to}; {100 * at:.0f} % of the bytes were journalled, which is done about each second")


def journalled(journal):
    """Bytes that a journal says are on the disk; its last line may be half written."""
    try:
        lines = journal.read_text().splitlines()[1:]
    except OSError:
        return 0
    total = 0
    for line in lines:
        try:
            total += sum(segment["length"] for segment in json.loads(line)["wrote"])
        except (ValueError, KeyError):
            break
    return total
