"""Which GPU and which libtorch there are for the programs under test."""
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from home import Failed


def gpu_problem():
    """Why there is no GPU to check on, or None."""
    if not shutil.which("nvidia-smi"):
        return "nvidia-smi is not installed"
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True)
    if listed.returncode or "GPU " not in listed.stdout:
        return "nvidia-smi lists none: " + ((listed.stdout + listed.stderr).strip().splitlines() or ["it says nothing"])[0]
    if importlib.util.find_spec("torch") is None:
        return f"{sys.executable} has no torch"
    code = "import torch; print(torch.__version__, torch.cuda.is_available())"
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if not asked.stdout.strip().endswith("True"):
        return f"torch {asked.stdout.strip() or asked.stderr.strip()[-200:]}: CUDA is not available to it"
    return None


def needed(library, folder=None):
    """{library: where the loader finds it, or None} of a program or library."""
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder)} if folder else dict(os.environ)
    listed = subprocess.run(["ldd", library], capture_output=True, text=True, env=environment)
    found = re.findall(r"^\s*(\S+) => (.+?)(?: \(0x\w+\))?$", listed.stdout, re.MULTILINE)
    return {name: None if where == "not found" else where for name, where in found}


def lacks(engine, folder, with_cuda):
    """What cannot be found when the engine runs, with this folder searched first."""
    needs = needed(engine, folder)
    missing = [name for name, where in needs.items() if where is None]
    core = needs.get("libtorch_cpu.so")
    if core and with_cuda:
        # The engine loads it by name once it is asked for a GPU.
        cuda = Path(core).parent / "libtorch_cuda.so"
        missing += [n for n, where in needed(cuda, folder).items() if where is None] if cuda.exists() else [cuda.name]
    return missing


def for_engine(programs, with_cuda):
    """The folder of libraries that the engine must be told of; None where it finds its own."""
    engine = programs / "perilune-engine"
    for program in (programs / "perilune", engine):
        if not os.access(program, os.X_OK):
            raise Failed(f"there is no {program}; --bin says where the release programs are")
    if not lacks(engine, None, with_cuda):
        return None
    spec = importlib.util.find_spec("torch")
    if spec is None:
        raise Failed(f"the engine lacks {', '.join(lacks(engine, None, with_cuda))}, and {sys.executable} has no torch to take it from")
    folder = Path(spec.origin).parent / "lib"
    if missing := lacks(engine, folder, with_cuda):
        raise Failed(f"the engine lacks {', '.join(missing)}, also with {folder}; it needs torch 2.11")
    return folder
