"""The check rehearsed without a GPU: the processor computes, the tests' stub plays the NVIDIA library, and a
table in nvidia-smi's form is made from what that stub was told. Nothing of it says anything about a GPU."""
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pictures
from peer import NoPeer, needs
from rows import Row
from stub import Stub

PARITY = Path(__file__).resolve().parents[1] / "parity/sd15.py"
# What the stub says where its state does not say otherwise, in the order of readings.FIELDS.
CONSTANT = "{uuid}, Stub RTX {gpu}, 24576, {used_mib}, {mw:.2f}, 450.00, {temp}, 2520, 10501, {util}, 44, 4, 16"


class Scene:
    device, threads, label = "cpu", 2, "stub "

    def __init__(self, options):
        self.options = options
        self.stub = Stub()
        self.library = self.nvml_path = self.stub.library
        self.folder = tempfile.mkdtemp(prefix="lune-rehearsal")

    def ask_smi(self):
        state = dict(line.split("=") for line in (self.stub.folder / "state").read_text().splitlines())
        rows = []
        for gpu in (0, 1):
            values = {key.split(".")[1]: int(value) for key, value in state.items() if key.startswith(f"{gpu}.")}
            values["mw"] /= 1000
            rows.append(CONSTANT.format(uuid=f"GPU-00000000-0000-0000-0000-{gpu:012}", gpu=gpu, **values))
        return "\n".join(rows)

    def models(self):
        yield pictures.moonlet(self.options.moonlet, steps=2)
        if self.options.weights:
            yield pictures.Model("SD1.5", str(self.options.weights.resolve()), self.options.weights, "real", side=64, steps=2)
            return
        try:
            needs(sys.executable)
            subprocess.run([sys.executable, PARITY, self.folder], check=True, capture_output=True)
            file = Path(self.folder) / "sd15-fp16.safetensors"
            # Kept apart from real weights of that name.
            self.options.cache = Path(self.folder)
            yield pictures.Model("tiny SD1.5", str(file), file, "tiny", side=64, steps=2)
        except (NoPeer, subprocess.CalledProcessError) as error:
            yield Row("tiny SD1.5: pictures", held=False, note=f"no weights to rehearse with: {error}")

    def close(self):
        self.stub.close()
        shutil.rmtree(self.folder, ignore_errors=True)
