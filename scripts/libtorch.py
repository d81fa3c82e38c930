#!/usr/bin/env python3
"""Finds or installs libtorch 2.11.0 for perilune; called by scripts/setup.

    python3 libtorch.py FOLDER [--full]

FOLDER/torch is what cargo's LIBTORCH points at. In this order: a LIBTORCH of the environment, what
FOLDER holds already, a Python torch 2.11.0 that is installed, the wheels from the package index that pip
is configured for. --full takes every NVIDIA library along; without it only the two that libtorch's
CPU half is linked with. Needs Python 3.10 or newer, and pip to ask the index.

Downloads resume where they were interrupted, and are compared with the index's digests. FOLDER appears
in one step when everything is there.
"""
import argparse
import hashlib
import importlib.metadata
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import zipfile

VERSION = "2.11.0"
CPU = [f"torch=={VERSION}", "nvidia-cuda-runtime==13.0.96", "nvidia-cuda-cupti==13.0.85"]
CHUNK = 1 << 20


def say(text):
    print(f"setup: {text}", file=sys.stderr, flush=True)


def stop(text, hint):
    say(f"error: {text}")
    say(f"hint: {hint}")
    sys.exit(1)


def version_of(torch):
    """The version of a libtorch folder, or None."""
    for name in ("build-version", "version.py"):
        try:
            text = (torch / name).read_text()
        except OSError:
            continue
        for line in text.splitlines():
            value = line.split("=", 1)[-1].strip().strip("'\"")
            if value[:1].isdigit():
                return value
    return None


def usable(torch):
    """Whether this folder is a libtorch that perilune can be built with."""
    return (version_of(torch) or "").split("+")[0] == VERSION and (torch / "lib/libtorch_cpu.so").exists()


def python_torch():
    """The folder of an installed Python torch of the right version, or None."""
    try:
        if importlib.metadata.version("torch").split("+")[0] != VERSION:
            return None
        folder = importlib.metadata.distribution("torch").locate_file("torch")
    except importlib.metadata.PackageNotFoundError:
        return None
    return pathlib.Path(folder) if usable(pathlib.Path(folder)) else None


def wheels(full):
    """[(file name, address, sha256)] as pip resolves them."""
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--only-binary=:all:",
                   "--report", str(report)]
        command += CPU[:1] if full else ["--no-deps", *CPU]
        if subprocess.run(command, stdout=subprocess.DEVNULL).returncode != 0:
            stop("pip could not find the packages", "check the network and pip's index, then run scripts/setup again")
        items = json.loads(report.read_text())["install"]
    wanted = lambda name: name == "torch" or name.startswith("nvidia-")
    return [(i["download_info"]["url"].rsplit("/", 1)[-1].split("#")[0], i["download_info"]["url"],
             i["download_info"]["archive_info"]["hashes"]["sha256"]) for i in items if wanted(i["metadata"]["name"].lower())]


def length_of(address):
    with urllib.request.urlopen(urllib.request.Request(address, method="HEAD")) as answer:
        return int(answer.headers.get("Content-Length") or 0)


def digest_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while part := f.read(CHUNK):
            digest.update(part)
    return digest.hexdigest()


def download(path, address, length, sha256, progress):
    """Continues or begins a download; an unfinished one keeps the name `….part`."""
    if path.exists() and digest_of(path) == sha256:
        progress(length)
        return
    part = path.with_name(path.name + ".part")
    have = part.stat().st_size if part.exists() else 0
    if have >= length > 0:
        part.unlink()
        have = 0
    request = urllib.request.Request(address, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request) as answer:
        if have and answer.status != 206:
            have = 0
        progress(have)
        with open(part, "ab" if have else "wb") as f:
            while block := answer.read(CHUNK):
                f.write(block)
                progress(len(block))
    if digest_of(part) != sha256:
        part.unlink()
        stop(f"{path.name} arrived damaged", "run scripts/setup again")
    part.rename(path)


def install(folder, full):
    partial = folder.with_name(folder.name + ".partial")
    store = partial / "wheels"
    store.mkdir(parents=True, exist_ok=True)
    say("asking the package index for libtorch " + VERSION)
    plan = [(name, address, sha256, length_of(address)) for name, address, sha256 in wheels(full)]
    total = sum(length for *_, length in plan)
    have = sum(f.stat().st_size for f in store.iterdir())
    kind = "with all NVIDIA libraries" if full else "without NVIDIA's libraries, but for two small ones"
    say(f"libtorch {VERSION} {kind}: {len(plan)} packages, {total / 1e6:.0f} MB to download"
        + (f", of which {have / 1e6:.0f} MB are here already" if have else "") + f", about {total * 2.3 / 1e9:.1f} GB on disk")
    free = shutil.disk_usage(partial).free
    if free < total * 3.5:
        stop(f"{free / 1e9:.1f} GB are free on this disk and about {total * 3.5 / 1e9:.1f} GB are needed meanwhile", "free some space")
    done = 0

    def progress(count):
        nonlocal done
        before, done = done, done + count
        if sys.stderr.isatty():
            print(f"\rsetup: {done / 1e6:.0f} of {total / 1e6:.0f} MB", end="", file=sys.stderr, flush=True)
        elif done * 10 // max(total, 1) != before * 10 // max(total, 1):
            say(f"{done / 1e6:.0f} of {total / 1e6:.0f} MB")

    for name, address, sha256, length in plan:
        try:
            download(store / name, address, length, sha256, progress)
        except OSError as error:
            stop(f"{name}: {error}", "run scripts/setup again; it goes on where it was interrupted")
    if sys.stderr.isatty():
        print(file=sys.stderr)
    say("unpacking")
    unpacked = partial / "unpacked"
    shutil.rmtree(unpacked, ignore_errors=True)
    for name, *_ in plan:
        with zipfile.ZipFile(store / name) as wheel:
            wheel.extractall(unpacked)
    if not usable(unpacked / "torch"):
        stop("what was unpacked is not libtorch " + VERSION, "remove .libtorch.partial and run scripts/setup again")
    replace(folder, unpacked)
    shutil.rmtree(partial)
    say(f"libtorch is in {folder}")


def replace(folder, new):
    """Puts `new` in the place of `folder`, in one step."""
    if folder.is_symlink() or folder.exists():
        old = folder.with_name(folder.name + ".old")
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
        new.rename(folder)
        shutil.rmtree(old)
    else:
        new.rename(folder)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", type=pathlib.Path)
    arguments.add_argument("--full", action="store_true")
    options = arguments.parse_args()
    folder = options.folder.absolute()
    if given := os.environ.get("LIBTORCH"):
        if not usable(pathlib.Path(given)):
            stop(f"LIBTORCH={given} is not libtorch {VERSION} (found: {version_of(pathlib.Path(given))})",
                 "unset LIBTORCH, and this script installs the right one")
        say(f"using LIBTORCH={given}")
        return
    cuda_whole = (folder / "nvidia/cudnn").exists() or (folder / "torch").is_symlink()
    if usable(folder / "torch") and (cuda_whole or not options.full):
        say(f"libtorch {VERSION} is in place")
        return
    if torch := python_torch():
        say(f"using the Python torch in {torch}")
        new = folder.with_name(folder.name + ".new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        (new / "torch").symlink_to(torch)
        replace(folder, new)
        return
    install(folder, options.full)


if __name__ == "__main__":
    main()
