"""The queue: how soon a submitted job is on disk and answered, and how soon 100,000 jobs are listed."""
import json
import os
import sqlite3
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median

from bench import percentile, say
from machine import file_system
from table import Bar, Figure
from weights import CHECKOUT, tiny

LISTED = 100_000
LISTINGS = 5
IN_MEMORY = ("tmpfs", "ramfs", "overlay-in-memory")


def disk_folder(bench):
    """A folder on a real disk: in memory everything is durable at once, and nothing is."""
    for folder in (bench.scratch, Path(tempfile.gettempdir()), CHECKOUT / "target", Path.home()):
        if folder and folder.is_dir() and os.access(folder, os.W_OK) and file_system(folder) not in IN_MEMORY:
            return folder
    return Path(tempfile.gettempdir())


def draft(model, number):
    return {"model": str(model), "prompt": f"a moon over the sea, number {number}", "steps": 20, "size": {"width": 512, "height": 512},
            "seed": number, "compute_device": "cpu", "held": True, "owner": "bench"}


def bare_disk(folder, count):
    """Milliseconds of a page's way to the disk, written at the end of a file: what no ledger can undercut."""
    path, page, times = Path(folder) / "bare", os.urandom(4096), []
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        for _ in range(count):
            began = time.perf_counter()
            os.write(file, page)
            os.fdatasync(file)
            times.append(1000 * (time.perf_counter() - began))
    finally:
        os.close(file)
        path.unlink()
    return times


def submits(home, model, count):
    """Milliseconds of each of so many submits, one after another on one connection."""
    times = []
    with home.talk() as daemon:
        for number in range(count):
            request = {"submit": draft(model, number)}
            began = time.perf_counter()
            daemon.call(request)
            times.append(1000 * (time.perf_counter() - began))
    return times


def fill(home, job, count):
    """Copies one finished job until the ledger holds so many. The daemon must not run."""
    database = sqlite3.connect(home.folder / "state/ledger.sqlite")
    try:
        (have,) = database.execute("SELECT count(*) FROM jobs").fetchone()
        for table, key in (("jobs", "id"), ("details", "job")):
            columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})") if row[1] != key]
            values = ", ".join(f"{c} + n" if c in ("created", "finished") else c for c in columns)
            database.execute(
                f"WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?) "
                f"INSERT INTO {table} ({key}, {', '.join(columns)}) SELECT ? + n, {values} FROM {table}, numbers WHERE {key} = ?",
                (count - have, have, job))
        database.commit()
        (have,) = database.execute("SELECT count(*) FROM jobs").fetchone()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        database.close()
    if have != count:
        raise RuntimeError(f"the ledger holds {have} jobs instead of {count}")


def listing(home, *flags):
    """Seconds of each of some listings."""
    times = []
    for _ in range(LISTINGS + 1):
        began = time.perf_counter()
        subprocess.run(home.command("queue", "list", *flags), env=home.environment, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - began)
    return times[1:]


def plain_select(home):
    """Seconds that Python's sqlite3 takes for the same rows from the same file, as JSON."""
    began = time.perf_counter()
    database = sqlite3.connect(f"file:{home.folder}/state/ledger.sqlite?mode=ro", uri=True)
    names = ("job", "state", "priority", "model", "prompt", "owner", "created", "finished")
    rows = database.execute("SELECT id, state, -urgency, model, prompt, owner, created, finished FROM jobs ORDER BY finished DESC, id DESC")
    with open(os.devnull, "w") as out:
        for row in rows:
            out.write(json.dumps(dict(zip(names, row))))
    database.close()
    return time.perf_counter() - began


def ledger(bench):
    folder = disk_folder(bench)
    with bench.home(parent=folder) as home:
        model = tiny(home.folder)
        home.start()
        submits(home, model, 20)
        bare = bare_disk(home.folder, bench.jobs)
        times = submits(home, model, bench.jobs)
        note = f"{bench.jobs} in a row on one connection, on {file_system(folder)}; peer: write and fdatasync of a page, no database"
        yield Figure("submit -> durable reply, p50", percentile(times, 50), "ms", percentile(bare, 50), "bare disk")
        yield Figure("submit -> durable reply, p99", percentile(times, 99), "ms", percentile(bare, 99), "bare disk", Bar(10), note=note)

        say(f"a ledger of {LISTED} jobs")
        finished = 1
        home.run("queue", "cancel", finished)
        home.stop()
        fill(home, finished, LISTED)
        home.start()
        listed = len(json.loads(home.run("queue", "list", "--json"))["jobs"])
        if listed != LISTED:
            raise RuntimeError(f"queue list lists {listed} of {LISTED} jobs")
        peer = 1000 * median(plain_select(home) for _ in range(3))
        for flags in (["--json"], []):
            took = 1000 * median(listing(home, *flags))
            yield Figure(" ".join(["queue list of 100,000 jobs", *flags]), took, "ms", peer, "Python sqlite3 -> JSON", Bar(200))
