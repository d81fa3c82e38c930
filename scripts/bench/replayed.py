"""What a day's traffic leaves in the dashboard's memory: a recording of 24 hours, made up from a short real one, played at full speed.

What is heard each second are readings of four GPUs and the host, and as a busy box has them: a job that runs, steps and ends every
twenty seconds, a line of the log for each, a notice now and then, and each hour everything anew.
"""
import gzip
import json
import math
import time
from datetime import datetime, timedelta, timezone

import ledger
from bench import say
from machine import status_bytes
from table import Bar, Figure
from terminal import Screen, Terminal
from weights import tiny

HOURS = 24
SPEED = 1024
JOB_S = 20
STEPS = 18


def template(bench, stub, home):
    """(header, snapshot, a change of devices, a view of a job): what a real recording has of each."""
    model = tiny(home.folder)
    home.start()
    ledger.submits(home, model, 1)
    path = home.folder / "short.rec"
    home.run("record", path, "--seconds", "4")
    lines = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    changes = [line["what"]["changed"] for line in lines[1:] if isinstance(line["what"], dict) and "changed" in line["what"]]
    of = lambda kind: next(change[kind] for change in changes if kind in change)
    snapshot = of("snapshot")
    return lines[0], snapshot, of("devices"), snapshot["queue"]["jobs"][0]


def stamp(moment):
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def waved(devices, second):
    """The same readings as they would be a while later."""
    for place, device in enumerate(devices):
        if device["utilization"] is not None:
            wave = 0.5 + 0.45 * math.sin((second + 5 * place) / 13)
            device["utilization"] = round(wave, 3)
            device["memory"]["used"] = int(device["memory"]["total"] * wave)
            device["memory"]["free"] = device["memory"]["total"] - device["memory"]["used"]
            for name, most in (("power_w", 430), ("temperature_c", 84)):
                if device[name] is not None:
                    device[name] = round(most * wave, 1)
    return devices


def write(path, header, snapshot, devices, job):
    """Writes the recording; returns how many moments are in it."""
    begun = datetime(2026, 1, 1, tzinfo=timezone.utc)
    header["begun"] = stamp(begun)
    count = 0
    with open(path, "wb") as out:
        packed = gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1)
        packed.write(json.dumps(header).encode() + b"\n")

        def put(second, what):
            nonlocal count
            moment = begun + timedelta(seconds=second)
            packed.write(json.dumps({"at": stamp(moment), "what": what}).encode() + b"\n")
            count += 1
        put(0, "up")
        for second in range(HOURS * 3600):
            if second % 3600 == 0:
                if second:
                    packed.close()
                    packed = gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1)
                snapshot["time"] = stamp(begun + timedelta(seconds=second))
                put(second, {"changed": {"snapshot": snapshot}})
            devices["devices"] = waved(devices["devices"], second)
            put(second, {"changed": {"devices": devices}})
            number, into = divmod(second, JOB_S)
            at = stamp(begun + timedelta(seconds=second))
            if into == 0:
                view = {**job, "job": 100 + number, "state": "running", "created": at, "attempts": 1}
                put(second, {"changed": {"job": view}})
                put(second, {"changed": {"log": {"time": at, "level": "INFO", "source": "daemon", "text": f"job {100 + number} begins"}}})
            elif into == JOB_S - 1:
                put(second, {"changed": {"job": {**job, "job": 100 + number, "state": "done", "created": at, "attempts": 1}}})
            else:
                progress = {"phase": "sampling", "step": into, "steps": STEPS, "step_s": 1.0}
                put(second, {"changed": {"progress": {"job": 100 + number, "progress": progress}}})
            if second % 600 == 1:
                put(second, {"changed": {"notice": {"time": at, "level": "warn", "text": f"something at {at}", "job": None}}})
        put(HOURS * 3600, "end")
        packed.close()
    return count


def replayed(bench):
    with bench.stub(4) as stub, bench.home(nvml=stub.library) as home:
        stub.set(0.0)
        header, snapshot, devices, job = template(bench, stub, home)
        home.stop()
        path = home.folder / "day.rec"
        say(f"a recording of {HOURS} hours is written")
        count = write(path, header, snapshot, devices, job)
        size = path.stat().st_size / 1e6
        say(f"it is played, {HOURS * 3600 / SPEED:.0f} s")
        with Terminal(home.command("replay", path, "--speed", SPEED), home.environment) as terminal:
            screen, began, early = Screen(), time.perf_counter(), None
            limit, last = HOURS * 3600 / SPEED + 60, f"{HOURS}:00:00 of {HOURS}:00:00"
            while time.perf_counter() - began < limit and last not in screen.text():
                if read := terminal.read(0.5):
                    screen.feed(read[1])
                if early is None and time.perf_counter() - began > 10:
                    early = status_bytes(terminal.pid, "VmRSS") / 1e6
            took = time.perf_counter() - began
            memory = status_bytes(terminal.pid, "VmRSS") / 1e6
            peak = status_bytes(terminal.pid, "VmHWM") / 1e6
            terminal.quit()
    if last not in screen.text() or "cuda:3" not in screen.text():
        raise RuntimeError("the recording was not at its end in time:\n" + screen.text())
    note = f"{count} moments of four GPUs and {HOURS * 3600 // JOB_S} jobs, {size:.0f} MB, at {SPEED}x in {took:.0f} s; after ten seconds {early:.1f} MB, peak {peak:.1f} MB"
    yield Figure("the dashboard after a replayed day: resident", memory, "MB", bar=Bar(30), note=note)
