"""Every family and every storage on the device, with tiny models: the processor's picture, and the same bytes where weights stream.
And what a step takes with a network of real size that is stored in fewer bits."""
import json
import subprocess
import sys
from pathlib import Path
from statistics import median

from home import Failed
from pictures import BAR, PRECISIONS, distance, pixels
from rows import Row

PARITY = Path(__file__).resolve().parents[1] / "parity"
PROMPT, NEGATIVE = "a full moon over the sea, oil on canvas", "blurry, low quality"
# A family, and what writes a tiny model of it into a folder that is named last.
FAMILIES = {
    "SD1.5": ["sd15.py"], "SDXL": ["sdxl.py"], "SD3": ["flow_pictures.py", "sd3"], "Flux.1": ["flow_pictures.py", "flux"],
    "Z-Image": ["flow_pictures.py", "z-image"],
}
STORAGES = ["fp8_e4m3fn", "fp8_e5m2", "fp8_e4m3fn_scaled", "nf4", "int8", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K",
            "Q5_K", "Q6_K", "sdnq_int8", "sdnq_uint8", "sdnq_int7", "sdnq_int6", "sdnq_int5", "sdnq_uint4", "sdnq_int4", "sdnq_uint3",
            "sdnq_uint2", "sdnq_float4_e2m1fn", "sdnq_float8_e4m3fn"]

# Those that people have most of.
COMMON = ["fp8_e4m3fn", "Q8_0", "Q4_K_M", "nf4", "sdnq_uint4"]
STEPS = 12


def tiny(python, family, kept):
    """The folder of a family's tiny model, made where it is not kept."""
    script, *which = FAMILIES[family]
    out = kept / family
    if not (out / "folder/model_index.json").is_file():
        made = subprocess.run([python, PARITY / script, out, *which], capture_output=True, text=True)
        if made.returncode:
            raise Failed("no model: " + (made.stderr.strip().splitlines() or ["?"])[-1][:200])
    return out / "folder"


def streamed(device, donor=None):
    """Flags that have most of every part live elsewhere: in host memory, and rehearsed on the disk."""
    donor = donor or ("disk" if device == "cpu" else "cpu")
    return [flag for part in ("", "clip=", "vae=") for flag in ("--expert-mode-allocations", f"{part}{device},10%;{donor},*")]


def compared(home, name, flags, device, precision, bar):
    """Rows of one model in one precision."""
    there = lambda where, *more: pixels(home.paint(*flags, "--precision", precision, "--compute-device", where, *more)["images"][0]["path"])
    try:
        ours = there(device)
        greatest, mean = distance(ours, there("cpu"))
        same = bool((there(device, *streamed(device)) == ours).all())
    except Failed as error:
        yield Row(f"{name} {precision}", "failed", bar="it runs", held=False, note=str(error)[-300:])
        return
    yield Row(f"{name} {precision}: picture", device, f"perilune, cpu {precision}", f"{greatest}/255", f"<= {bar}/255" if bar else "-",
              greatest <= bar if bar else None, f"mean {mean:.3f}")
    yield Row(f"{name} {precision}: 90 % of each part elsewhere", "the same bytes" if same else "OTHER bytes", "all resident", bar="the same", held=same)


def families(home, device, kept):
    """A tiny random model of each family, in each precision."""
    for family in FAMILIES:
        try:
            folder = tiny(sys.executable, family, kept)
        except Failed as error:
            yield Row(f"tiny {family}", note=str(error))
            continue
        flags = ["--model", folder, "--prompt", PROMPT, "--negative", NEGATIVE, "--seed", 1, "--steps", 4, "--cfg", 3, "--size", "64x96"]
        for precision in PRECISIONS:
            # What is rounded to 16 bits takes ways of its own through random networks.
            yield from compared(home, f"tiny {family}", flags, device, precision, BAR if precision == "fp32" else None)


def storages(home, device):
    """moonlet's network in every storage, computed in fp32: on the device weights are expanded by other means than on the processor."""
    for storage in STORAGES:
        try:
            made = json.loads(home.run("convert", "moonlet", "--to", storage, "--json").splitlines()[-1])
        except Failed as error:
            yield Row(f"moonlet {storage}", "failed", bar="it runs", held=False, note=str(error)[-300:])
            continue
        flags = ["--model", made["output"], "--clip", "moonlet", "--vae", "moonlet", "--prompt", PROMPT, "--negative", "", "--seed", 1, "--steps", 6,
                 "--size", "64x64"]
        yield from compared(home, f"moonlet {storage}", flags, device, "fp32", BAR)


def steps(home, model, device):
    """What a step takes, and what the network takes, where it is expanded as it is used."""
    def run(precision):
        last = home.paint(*model.flags(device, precision, steps=STEPS))
        return median(last["timing"]["per_step"][1:]), sum(s["bytes"] for s in last["placement"]["measured"] if s["device"] == device)
    try:
        plain, whole = run("fp16")
    except Failed as error:
        yield Row(f"{model.name} fp16", "failed", bar="it runs", held=False, note=str(error)[-300:])
        return
    for storage in COMMON:
        what = f"{model.name} {model.side}x{model.side} stored as {storage}: seconds per step"
        try:
            taken, held = run(storage)
            yield Row(what, f"{taken:.4g} s", f"{plain:.4g} s fp16", f"{taken / plain:.2f} x", note=f"{held / 1e6:.0f} MB of weights there, fp16's are {whole / 1e6:.0f}")
        except Failed as error:
            yield Row(what, "failed", bar="it runs", held=False, note=str(error)[-300:])


def check(home, model, device, kept):
    """All of it."""
    home.start()
    try:
        yield from families(home, device, kept)
        yield from storages(home, device)
        yield from steps(home, model, device)
    finally:
        home.stop()
