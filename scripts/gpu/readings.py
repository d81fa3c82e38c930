"""What `perilune devices` reads, beside what nvidia-smi reads just before and just after."""
import csv
import io
import subprocess

from rows import Row

MIB = 1 << 20
ABSENT = ("[n/a]", "n/a", "[not supported]", "[unknown error]", "")


class Field:
    """A value under both of its names; `share` and `least` are how far they may be apart."""

    def __init__(self, smi, path, unit="", scale=1.0, least=0.0, share=0.0):
        self.smi, self.path, self.unit, self.scale, self.least, self.share = smi, path.split("."), unit, scale, least, share

    def of(self, reading):
        for key in self.path:
            reading = reading.get(key) if reading is not None else None
        return reading * self.scale if isinstance(reading, (int, float)) else reading


# nvidia-smi rounds memory to MiB. Power, clocks and use move between two readings even on an idle GPU.
FIELDS = [
    Field("uuid", "uuid"), Field("name", "name"),
    Field("memory.total", "memory.total", "MiB", 1 / MIB, 1), Field("memory.used", "memory.used", "MiB", 1 / MIB, 16),
    Field("power.draw", "power_w", "W", 1, 10, 0.15), Field("enforced.power.limit", "power_limit_w", "W", 1, 1),
    Field("temperature.gpu", "temperature_c", "C", 1, 3), Field("clocks.sm", "clocks.sm_mhz", "MHz", 1, 100, 0.15),
    Field("clocks.mem", "clocks.mem_mhz", "MHz", 1, 50, 0.05), Field("utilization.gpu", "utilization", "%", 100, 15),
    Field("fan.speed", "fan", "%", 100, 5), Field("pcie.link.gen.current", "pcie.generation"),
    Field("pcie.link.width.current", "pcie.width"),
]
# At work these differ from one moment to the next by anything.
AT_WORK = ("memory.used", "power.draw", "temperature.gpu", "clocks.sm", "utilization.gpu")


def smi():
    """What nvidia-smi says: its table as text."""
    query = "--query-gpu=" + ",".join(f.smi for f in FIELDS)
    asked = subprocess.run(["nvidia-smi", query, "--format=csv,noheader,nounits"], capture_output=True, text=True, timeout=60)
    if asked.returncode:
        raise RuntimeError("nvidia-smi: " + (asked.stdout + asked.stderr).strip()[:200])
    return asked.stdout


def parsed(text):
    """{uuid: {name of the field: text, or None where there is no value}}."""
    rows = [dict(zip((f.smi for f in FIELDS), (cell.strip() for cell in line))) for line in csv.reader(io.StringIO(text)) if line]
    return {row["uuid"]: {k: None if v.lower() in ABSENT else v for k, v in row.items()} for row in rows}


def apart(field, value, before, after):
    """How far ours is outside of what the two readings span, and how far it may be."""
    low, high = sorted((float(before), float(after)))
    return max(low - value, value - high, 0.0), max(field.least, field.share * high)


def compare(field, ours, before, after, why):
    row = Row("", held=False)
    is_text = isinstance(ours, str)
    shown = lambda v: "-" if v is None else v if isinstance(v, str) else f"{v:.6g} {field.unit}".rstrip()
    row.ours, row.beside = shown(ours), shown(before) if before == after else f"{before} to {after}"
    if not is_text and before is not None:
        row.beside += f" {field.unit}".rstrip()
    if ours is None or before is None or after is None:
        row.held = ours is None and before is None
        row.note = "both say nothing" if row.held else why or "only one of them says something"
    elif is_text:
        row.bar, row.held = "the same", ours == before
    else:
        distance, allowed = apart(field, ours, before, after)
        row.difference, row.bar, row.held = f"{distance:.4g} {field.unit}".rstrip(), f"<= {allowed:.4g} {field.unit}".rstrip(), distance <= allowed
    return row


def check(home, ask_smi, when, names=None, label=""):
    """A row for each value of each GPU. `names` are the fields to compare; all when left out."""
    before = parsed(ask_smi())
    devices = {d["uuid"]: d for d in home.json("devices")["devices"] if d["kind"] == "cuda" and not d.get("parent")}
    after = parsed(ask_smi())
    if not before:
        yield Row(f"readings, {when}", held=False, note="nvidia-smi lists no GPU")
    for uuid, theirs in before.items():
        ours = devices.get(uuid)
        if ours is None:
            yield Row(f"readings, {when}", beside=uuid, held=False, note="perilune does not list this GPU")
            continue
        for field in FIELDS:
            if names is None or field.smi in names:
                why = ours["why"].get(".".join(field.path)) or ours["why"].get(field.path[0]) or ""
                row = compare(field, field.of(ours), theirs[field.smi], after.get(uuid, {}).get(field.smi), why)
                row.what = f"{label}{ours['id']} {field.smi}, {when}"
                yield row
    for uuid in devices.keys() - before.keys():
        yield Row(f"readings, {when}", devices[uuid]["id"], held=False, note="nvidia-smi does not list this GPU")
