"""The page cache under a file: emptied, filled, asked; and how fast its disk is without it.

A path is a file or a folder, which stands for the files in it.
"""
import ctypes
import mmap
import os
import threading
import time
from pathlib import Path

CHUNK = 4 << 20
READERS = 4
# Of a file that was dropped: what a header and what lies around it may have brought back.
COLD, WARM = 0.02, 0.99
ATTEMPTS = 3


def files(path):
    path = Path(path)
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def drop(path):
    """Lets the kernel forget what it holds of these files; what a process has mapped and used stays."""
    for one in files(path):
        file = os.open(one, os.O_RDONLY)
        try:
            os.fsync(file)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(file)


def warm(path):
    """Reads these files, so that they lie in the page cache."""
    buffer = bytearray(4 * CHUNK)
    for one in files(path):
        with open(one, "rb", buffering=0) as f:
            while f.readinto(buffer):
                pass


def cached_share(path):
    """The share of these files' bytes that lies in the page cache (mincore)."""
    pages = [_cached_pages(one) for one in files(path) if one.stat().st_size]
    return sum(held for held, _ in pages) / max(sum(all_pages for _, all_pages in pages), 1)


def _cached_pages(path):
    """(pages in the page cache, all pages) of a file."""
    libc, size = ctypes.CDLL(None, use_errno=True), os.path.getsize(path)
    seen = ctypes.create_string_buffer(-(-size // mmap.PAGESIZE))
    # A private map that might be written to: of others Python does not tell the address.
    with open(path, "rb") as f, mmap.mmap(f.fileno(), size, access=mmap.ACCESS_COPY) as pages:
        start = ctypes.c_char.from_buffer(pages)
        told = libc.mincore(ctypes.c_void_p(ctypes.addressof(start)), ctypes.c_size_t(size), seen)
        del start
    if told:
        raise OSError(ctypes.get_errno(), "mincore", str(path))
    return sum(byte & 1 for byte in seen.raw), len(seen)


def become(path, cold):
    """Makes these files cold or warm, and makes sure that they are; a kernel that is short of memory is asked again."""
    for _ in range(ATTEMPTS):
        (drop if cold else warm)(path)
        share = cached_share(path)
        if share <= COLD if cold else share >= WARM:
            return
    done = "dropped" if cold else "read"
    raise RuntimeError(f"{100 * share:.0f} % of {Path(path).name} lies in the page cache after it was {done} {ATTEMPTS} times")


def disk_speed(path, direct):
    """Bytes per second of reading a file in pieces of 4 MiB by 4 threads: past the page cache, or through it."""
    pieces = iter(range(os.path.getsize(path) // CHUNK))
    file = os.open(path, os.O_RDONLY | (os.O_DIRECT if direct else 0))
    count, problems = [0] * READERS, []

    def read(number):
        with mmap.mmap(-1, CHUNK) as buffer:
            try:
                # next() of one range for all of them: the interpreter's lock makes it safe.
                for piece in pieces:
                    count[number] += os.preadv(file, [buffer], piece * CHUNK)
            except OSError as error:
                problems.append(error)
    readers = [threading.Thread(target=read, args=(n,)) for n in range(READERS)]
    began = time.perf_counter()
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    taken = time.perf_counter() - began
    os.close(file)
    if problems:
        raise problems[0]
    return sum(count) / taken
