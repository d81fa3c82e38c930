"""SD1.5 in fp32 with nine tenths of its network on the disk: beside itself all resident, the disk, and the peers."""
from contextlib import ExitStack
from statistics import median

from generation import take_turns
from home import Failed
from offload_sides import (MIB, OFFLOADED, Disk, Ours, Scene, Theirs, calibrated_home, network_bytes, offload_flags, one_line,
                           wait_without_engine)
from pagecache import become
from session import unmeasured
from table import Bar, Figure

ACCELERATE, GROUP = "accelerate-disk", "group-disk"
# Steps of a picture of 64x64 for each that is asked of 512x512.
SMALL_STEPS = 4
# Size, guidance, and share of the network on the disk.
PLANS = [(64, 1, 0.05), (64, 1, 0.35), (64, 1, 0.65), (64, 1, 0.95), (64, 7, 0.5), (128, 1, 0.8), (256, 1, 0.2), (256, 1, 0.9),
         (256, 7, 0.6), (512, 1, 0.9)]
# Above this size a step takes seconds, and few tell.
LARGE = 256


def row(what, ours, unit, peer=None, peer_name="", bar=None, note=(), sides=(), also=()):
    """A figure with what its sides say below it; where one of them failed, something could not be run, and nothing is held.
    `also` are sides that the figure is of, and that have spoken below another one."""
    problems = [side.problem for side in (*sides, *also) if side.problem]
    said = [text for text in (*note, *(side.said() for side in sides), *problems) if text]
    figure = Figure(what, ours, unit, peer, peer_name, bar, note="; ".join(said))
    if problems:
        figure.held = None
    figure.failed = bool(problems) or ours is None or (bar is not None and figure.held is None)
    return figure


def steps_text(bench):
    return f"median of the steps after the first, {bench.rounds} round{'s' * (bench.rounds != 1)}"


def two_of_us(bench, scene, weights, home=None):
    """Ours all resident, and offloaded in a home where that is given."""
    return (Ours("all resident", scene, bench, weights), Ours("offloaded", scene, bench, weights, offload_flags(weights, OFFLOADED), home))


def large(bench):
    """512x512 with guidance: computing hides the disk, and memory is what is won. Ours is planned after `calibrate`."""
    weights, scene = bench.weights(wide=True), Scene(512, 7, bench.steps, cold=True)
    with ExitStack() as stack:
        resident, offloaded = two_of_us(bench, scene, weights, stack.enter_context(calibrated_home(bench, weights)))
        theirs = Theirs(ACCELERATE, scene, bench, weights, stack)
        take_turns([resident, offloaded, theirs], bench.rounds)
    name, note = f"offload {scene.text()}: seconds per step", [
        f"CFG 7, fp32, {bench.threads} threads, {100 * OFFLOADED:.0f} % of the network on the disk, after `calibrate`, "
        f"{steps_text(bench)}; all resident with its file in the page cache", *sorted(offloaded.warnings)]
    yield row(name, offloaded.step, "s", resident.step, "ours, all resident", Bar(1.03, of_peer=True), note, [offloaded, resident])
    yield row("the same, beside accelerate", offloaded.step, "s", theirs.step, ACCELERATE, sides=[theirs], also=[offloaded])
    yield held_in_memory(weights, resident, offloaded)
    gb, both = lambda count: count / 1e9 if count else None, [offloaded, theirs]
    yield row("offload: peak anonymous memory", gb(offloaded.whole), "GB", gb(theirs.whole), ACCELERATE, Bar(0.6, of_peer=True),
              ["RssAnon every 20 ms over the whole run, encoding and decoding in it; the peer's from its start on"],
              also=both)
    yield row("the same, until the last step", gb(offloaded.sampling), "GB", gb(theirs.sampling), ACCELERATE, note=["no bar; without decoding"],
              also=both)
    yield row("the same, VmHWM", gb(offloaded.high), "GB", gb(theirs.high), ACCELERATE, note=["no bar; mapped files in it"], also=both)


def held_in_memory(weights, resident, offloaded):
    """Weights of the network in memory, staging among them, as a share of all of them."""
    what, all_of_it = "offload: resident weights and staging", network_bytes(weights)
    rest, held, staging = resident.on_device("cpu"), offloaded.on_device("cpu"), offloaded.reported("staging")
    if None in (rest, held, staging):
        return unmeasured(what, "; ".join(filter(None, [offloaded.problem, resident.problem])) or "the run's report has no staging")
    # What the resident run holds beyond the network, text encoder and decoder, the offloaded one holds too.
    network = held - (rest - all_of_it)
    return row(what, 100 * (network + staging) / all_of_it, "% of the network", bar=Bar(15),
               note=[f"{network / MIB:.0f} MiB resident and {staging / MIB:.0f} MiB staging of {all_of_it / MIB:.0f} MiB"])


def small(cold):
    """64x64 in one pass: the way from the disk is what takes the time."""
    def measure(bench):
        weights, scene = bench.weights(wide=True), Scene(64, 1, SMALL_STEPS * bench.steps, cold)
        with ExitStack() as stack:
            resident, offloaded = two_of_us(bench, scene, weights)
            disk, peers = Disk(scene, weights), [Theirs(mode, scene, bench, weights, stack) for mode in (ACCELERATE, GROUP)]
            take_turns([resident, disk, offloaded, *peers], bench.rounds)
        streamed = offloaded.reported("streamed_bytes_per_step") or 0
        least, least_name = None, "resident or disk"
        if resident.step and disk.speeds and streamed:
            reading = streamed / median(disk.speeds)
            least, least_name = max((resident.step, "ours, all resident"), (reading, disk.name))
        note = [f"CFG 1, fp32, {bench.threads} threads, {steps_text(bench)}",
                f"{streamed / 1e9:.2f} GB streamed per step" if streamed else "no streamed bytes in the run's report",
                *sorted(offloaded.warnings)]
        yield row(f"offload {scene.text()}: seconds per step", offloaded.step, "s", least, least_name, Bar(1.10, of_peer=True), note,
                  [offloaded, resident, disk])
        better = min((p for p in peers if p.step), key=lambda p: p.step, default=None)
        yield row("the same, beside the better peer", offloaded.step, "s", better.step if better else None,
                  better.name if better else "no peer", Bar(0.7, of_peer=True), sides=peers,
                  also=[offloaded])
    return measure


def devices(bench):
    """What each device was to hold, and what it held."""
    weights = bench.weights(wide=True)
    side = Ours("offloaded", Scene(64, 1, 1, cold=False), bench, weights, offload_flags(weights, OFFLOADED))
    side.round()
    asked, measured = side.reported("asked"), side.reported("measured")
    if not asked or not measured:
        yield unmeasured("measured against asked", side.problem or "the run's report has no bytes per device")
        return
    for device in sorted({share["device"] for share in (*asked, *measured)}):
        wanted, held = side.on_device(device, "asked"), side.on_device(device)
        yield row(f"{device}: measured against asked", abs(held - wanted) / MIB, "MiB apart", bar=Bar(max(64, 0.01 * wanted / MIB)),
                  note=[f"asked {wanted / MIB:.1f} MiB, measured {held / MIB:.1f} MiB"])


def prediction(bench):
    """What was said that a step will take, beside what it took: ten plans of several budgets and sizes after one calibration,
    in one home, so that each plan knows what those before it have shown."""
    what, weights, errors, plans = "predicted step, median error", bench.weights(wide=True), [], []
    try:
        with calibrated_home(bench, weights) as home:
            for size, cfg, share in PLANS:
                told, took = one_plan(bench, home, weights, (size, cfg, share))
                errors.append(100 * abs(told - took) / took)
                guided = ", CFG" if cfg != 1 else ""
                plans.append(f"{size}x{size}{guided}, {100 * share:.0f} %: {told:.2f} and {took:.2f} s")
    except (Failed, TimeoutError, RuntimeError) as error:
        yield unmeasured(what, f"{one_line(error)}; {len(errors)} of {len(PLANS)} plans measured")
        return
    yield row(what, median(errors), "%", bar=Bar(10), note=[
        f"after `calibrate`, page cache cold; size, on the disk, said and took: {'; '.join(plans)}"])


def one_plan(bench, home, weights, plan):
    """(seconds that `plan` says, median seconds of the steps after the first) for a size, a guidance and a share on the disk."""
    size, cfg, share = plan
    wait_without_engine(home)
    become(weights, True)
    asked = ["--cfg", cfg, "--size", f"{size}x{size}", "--sampler", "euler", "--compute-device", "cpu", "--precision", "fp32",
             *offload_flags(weights, share)]
    told = home.json("plan", weights, *asked)["predicted"]
    if not told["calibrated"]:
        raise Failed(f"the plan for {size}x{size} does not rest on measurements: {told['rests_on']}")
    steps = bench.steps if size > LARGE else SMALL_STEPS * bench.steps
    done = home.paint("--model", weights, "--prompt", "a night", "--steps", steps, "--tiling", "never", *asked)
    return told["step_s"], median(done["timing"]["per_step"][1:])
