"""Weights that stream to the GPU: the same picture to the byte, as fast as computing or the link allow, and where they should be."""
import json
import subprocess
from statistics import median

from generation import tensor_bytes
from home import Failed, Home
from offload_sides import MIB, NETWORK
from peer import NoPeer, Peer, folder_of
from pictures import pixels
from rows import Row

PRECISION = "fp16"
STEPS = 24
GROUP = "group-host"
CALIBRATION_S = 300
# Size, guidance and precision; then what leaves the GPU, as a share of the network, and to whom.
SCENES = [((512, 7.0, "fp16"), [(0.5, "cpu"), (0.9, "cpu"), (0.5, "disk"), (0.9, "cpu,disk")]),
          ((64, 1.0, "fp16"), [(0.5, "cpu"), (0.9, "cpu")]),
          ((512, 7.0, "fp32"), [(0.5, "cpu")])]
# A step may take so many times what the simulator says.
OVERLAP = 1.05
# So often each is run, in turns with all resident: what else its processor does makes a step longer by half within seconds.
ROUNDS = 3
# A card this small (a share of the real one's memory) has no room for the network in fp32.
SMALL = 0.045
# On one this small it has, but what it computes with has not.
NARROW = 0.0525

LINK = """
import json, time, torch
def speed(copy, count):
    copy(); torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(8): copy()
    torch.cuda.synchronize()
    return 8 * count / (time.perf_counter() - began)
count = 64 << 20
there, pinned, usual = torch.empty(count, dtype=torch.uint8, device="cuda:0"), torch.empty(count, dtype=torch.uint8).pin_memory(), torch.ones(count, dtype=torch.uint8)
print(json.dumps({"pinned": speed(lambda: there.copy_(pinned, non_blocking=True), count), "pageable": speed(lambda: there.copy_(usual), count)}))
"""


def links(python):
    """Bytes a second from host memory to the GPU, as torch copies 64 MiB."""
    return json.loads(subprocess.run([python, "-c", LINK], check=True, capture_output=True, text=True, timeout=120).stdout)


class Run:
    """A run and what its report says; of several, the median of their steps, and the first one's forecast."""

    def __init__(self, home, flags):
        self.home, self.flags = home, flags
        self.last = home.paint(*flags)
        self.steps = [median(self.last["timing"]["per_step"][1:])]
        self.image = pixels(self.last["images"][0]["path"])
        self.placement = self.last["placement"]
        self.same = True

    @property
    def step(self):
        return median(self.steps)

    def again(self):
        other = Run(self.home, self.flags)
        self.steps += other.steps
        self.same &= bool((other.image == self.image).all())
        return self

    def is_foretold(self):
        """Whether there was a forecast, and it rested on measurements."""
        predicted = self.placement.get("predicted")
        return bool(predicted and predicted["calibrated"])

    def forecast_error(self):
        """How far the forecast was from the steps of the run that it was made for, as a share of them."""
        return abs(self.placement["predicted"]["step_s"] - self.steps[0]) / self.steps[0]

    def on(self, device, name):
        return sum(share["bytes"] for share in self.placement[name] if share["device"] == device)


def model_flags(model, device, side, cfg, precision=PRECISION):
    flags = model.flags(device, precision, steps=STEPS)
    at = {"--size": f"{side}x{side}", "--cfg": cfg}
    return [at.get(flags[n - 1], flag) if n else flag for n, flag in enumerate(flags)]


def offloaded(model, device, side, cfg, share, donors, precision=PRECISION):
    freed = round(share * network_bytes(model, precision) / MIB)
    return [*model_flags(model, device, side, cfg, precision), "--virtual-vram", f"{freed}MiB", "--donor-device", donors]


def network_bytes(model, precision=PRECISION):
    """The network's size on the device; the file holds two bytes a weight."""
    stored = tensor_bytes(model.weights, lambda name: name.startswith(NETWORK))
    return stored * (2 if precision == "fp32" else 1)


def rows_of(name, run, resident, link):
    same = run.image.shape == resident.image.shape and (run.image == resident.image).all() and run.same and resident.same
    yield Row(f"{name}: picture", "the same bytes" if same else "OTHER bytes", "all resident", bar="the same", held=bool(same),
              note="; ".join(run.last.get("warnings", [])))
    least = max(resident.step, run.placement["streamed_bytes_per_step"] / link)
    what = "all resident" if least == resident.step else f"{link / 1e9:.1f} GB/s"
    bar = 1.05 if "disk" not in name else None
    yield Row(f"{name}: seconds per step", f"{run.step:.4g} s", f"{least:.4g} s {what}", f"{run.step / least:.2f} x",
              f"<= {bar} x" if bar else "-", run.step <= bar * least if bar else None,
              f"{len(run.steps)} rounds in turns; all resident {resident.step:.4g} s; {run.placement['streamed_bytes_per_step'] / 1e9:.2f} GB streamed; waited "
              f"{run.placement['stalled_s_per_step']:.4g} s a step; {run.placement['staging'] / MIB:.0f} MiB staging")
    if predicted := run.placement.get("predicted"):
        measured = predicted["calibrated"]
        yield Row(f"{name}: step foretold", f"{predicted['step_s']:.4g} s", f"{run.steps[0]:.4g} s", f"{100 * run.forecast_error():.0f} %",
                  "<= 10 %" if measured else "-", run.forecast_error() <= 0.1 if measured else None, "" if measured else "speeds were assumed")
        yield overlap(name, run, predicted)
    for device in sorted({share["device"] for share in run.placement["asked"] + run.placement["measured"]}):
        asked, measured = run.on(device, "asked"), run.on(device, "measured")
        apart, allowed = abs(asked - measured), max(64 * MIB, asked / 100)
        yield Row(f"{name}: bytes on {device}", f"{measured / MIB:.1f} MiB", f"{asked / MIB:.1f} MiB asked", f"{apart / MIB:.1f} MiB",
                  f"<= {allowed / MIB:.0f} MiB", apart <= allowed)


def overlap(name, run, predicted):
    """Copies run beside computing as the simulator has them run, at speeds that were measured; the disk's are another each time."""
    row = Row(f"{name}: overlap", f"{run.step:.4g} s", f"{predicted['step_s']:.4g} s simulated", f"{run.step / predicted['step_s']:.2f} x",
              note=f"computing {predicted['compute_s']:.4g} s, copying {predicted['transfer_s']:.4g} s")
    if not predicted["calibrated"]:
        row.note += "; speeds were assumed"
    elif "disk" not in name:
        row.bar, row.held = f"<= {OVERLAP} x", run.step <= OVERLAP * predicted["step_s"]
    return row


def peer_row(name, model, python, cache, ours, side, cfg):
    """diffusers' group offloading from host memory, on a stream of its own."""
    try:
        with Peer(python, folder_of(python, model.weights, "real", cache), "cuda:0", PRECISION, offload=GROUP, store=GROUP) as peer:
            peer.wait_ready()
            for _ in range(2):
                steps = peer.paint(seed=1, steps=STEPS, cfg=cfg, size=side)["per_step"][1:]
        theirs = median(steps)
        yield Row(f"{name}: beside diffusers' group offloading", f"{ours:.4g} s", f"{theirs:.4g} s", f"{ours / theirs:.2f} x",
                  note="all of theirs streams, on a stream of its own (use_stream)")
    except NoPeer as error:
        yield Row(f"{name}: beside diffusers' group offloading", f"{ours:.4g} s", note=str(error))


def small_card(home_of, model, device):
    """A card without room: what does not fit is an error that names it, and virtual VRAM makes it fit."""
    name = f"a card of {100 * SMALL:.1f} % of this one, fp32"
    with home_of(SMALL) as home:
        home.start()
        try:
            home.paint(*model_flags(model, device, 256, 7, "fp32"))
            yield Row(f"{name}: all resident", "it ran", bar="out of memory", held=False)
        except Failed as error:
            text = str(error)
            yield Row(f"{name}: all resident", "out of memory" if "out of memory" in text else "another error", bar="out of memory",
                      held="out of memory" in text, note=text[:160])
        try:
            run = Run(home, offloaded(model, device, 256, 7, 0.9, "cpu", "fp32"))
            yield Row(f"{name}: 90 % on cpu", f"{run.step:.4g} s a step", bar="it runs", held=True)
        except Failed as error:
            yield Row(f"{name}: 90 % on cpu", "failed", bar="it runs", held=False, note=str(error)[:160])


def out_of_memory_in_a_step(home_of, model, device, resident):
    """Weights have room and activations have not: weights give way, the same step is tried again, and the picture is the same."""
    name = f"a card of {100 * NARROW:.2f} % of this one, 512x512 fp32"
    with home_of(NARROW) as home:
        home.start()
        try:
            run = Run(home, model_flags(model, device, 512, 7.0, "fp32"))
            told = [warning for warning in run.last["warnings"] if "is repeated" in warning]
            same = bool((run.image == resident.image).all())
            yield Row(f"{name}: a step without memory", f"{len(told)} repeated, {'the same' if same else 'OTHER'} bytes", bar="repeated, the same",
                      held=same and bool(told), note="; ".join(told)[:200] or "there was memory enough")
        except Failed as error:
            yield Row(f"{name}: a step without memory", "failed", bar="it runs", held=False, note=str(error)[:200])


HOG = """
import sys, torch
free, total = torch.cuda.mem_get_info()
torch.zeros(1, device="cuda:0")
print("ready", flush=True)
sys.stdin.readline()
free, total = torch.cuda.mem_get_info()
there = torch.empty(free - (1 << 30), dtype=torch.uint8, device="cuda:0")
print("taken", flush=True)
sys.stdin.readline()
"""


def somebody_takes_memory(home, model, device, python):
    """Another process takes what is free while a run computes: weights give way between two steps, and the picture is the same."""
    name = "another process takes the GPU's free memory"
    flags = model.flags(device, PRECISION, steps=400)
    quiet = Run(home, flags)
    hog = subprocess.Popen([python, "-c", HOG], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        hog.stdout.readline()
        following, asked = home.follow(*flags), False
        for _, line in following:
            if not asked and line.get("step", 0) >= 20:
                asked = True
                hog.stdin.write("\n")
                hog.stdin.flush()
        told = [warning for warning in following.last["warnings"] if "was short" in warning]
        same = bool((pixels(following.last["images"][0]["path"]) == quiet.image).all())
        yield Row(name, f"{'gave way' if told else 'did not give way'}, {'the same' if same else 'OTHER'} bytes", bar="gives way, the same",
                  held=same and bool(told), note="; ".join(told)[:200])
    except Failed as error:
        yield Row(name, "failed", bar="gives way, the same", held=False, note=str(error)[:200])
    finally:
        hog.kill()
        hog.wait()


def check(home, model, device, python, options, libraries):
    """Rows of everything that streams."""
    speeds = links(python)
    yield Row("link host -> GPU, as torch copies", f"{speeds['pinned'] / 1e9:.1f} GB/s pinned", f"{speeds['pageable'] / 1e9:.1f} GB/s pageable")
    for precision in dict.fromkeys(precision for (_, _, precision), _ in SCENES):
        home.run("calibrate", model.weights, "--compute-device", device, "--precision", precision, timeout=CALIBRATION_S)
    errors = []
    for (side, cfg, precision), places in SCENES:
        for share, donors in places:
            name = f"{100 * share:.0f} % on {donors}, {side}x{side} {precision}"
            try:
                resident = Run(home, model_flags(model, device, side, cfg, precision))
                run = Run(home, offloaded(model, device, side, cfg, share, donors, precision))
                for n in range(1, ROUNDS if donors == "cpu" else 1):
                    for turn in (run, resident) if n % 2 else (resident, run):
                        turn.again()
                yield from rows_of(name, run, resident, speeds["pinned"])
                errors += [one.forecast_error() for one in (run, resident) if one.is_foretold()]
                if donors == "cpu" and share == 0.9:
                    yield from peer_row(name, model, python, options.cache, run.step, side, cfg)
            except Failed as error:
                yield Row(name, "failed", bar="it runs", held=False, note=str(error)[:300])
    if errors:
        yield Row("steps foretold after calibrate", f"off by {100 * median(errors):.0f} %", f"{len(errors)} plans", bar="<= 10 %",
                  held=median(errors) <= 0.1, note="in the median: " + ", ".join(f"{100 * e:.0f}" for e in errors))
    for precision in ("fp32", "bf16"):
        name = f"90 % on cpu, 256x256, {precision} from fp16"
        try:
            resident = Run(home, model_flags(model, device, 256, 7.0, precision))
            run = Run(home, offloaded(model, device, 256, 7.0, 0.9, "cpu", precision))
            yield from list(rows_of(name, run, resident, speeds["pinned"]))[:1]
        except Failed as error:
            yield Row(name, "failed", bar="it runs", held=False, note=str(error)[:300])

    def home_of(share):
        small = Home(options.bin, libraries=libraries)
        small.environment["PYTORCH_CUDA_ALLOC_CONF"] = f"per_process_memory_fraction:{share}"
        return small
    yield from small_card(home_of, model, device)
    yield from out_of_memory_in_a_step(home_of, model, device, Run(home, model_flags(model, device, 512, 7.0, "fp32")))
    yield from somebody_takes_memory(home, model, device, python)
