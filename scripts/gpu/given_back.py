"""Whether a GPU's memory is as it was, to the byte, once the engine has ended."""
import subprocess

from home import Failed
from machine import poll
from rows import Row

CYCLES = 2
MIB = 1 << 20


def strangers():
    """Processes of others that compute on a GPU now."""
    try:
        asked = subprocess.run(["nvidia-smi", "--query-compute-apps=pid", "--format=csv,noheader"], capture_output=True, text=True)
    except OSError:
        return 0
    return len(asked.stdout.split()) if asked.returncode == 0 else 0


def check(home, nvml, uuid, flags):
    """Starts daemon and engine, paints, ends them; twice, for what a GPU's first user leaves behind is the driver's."""
    for cycle in range(1, CYCLES + 1):
        row = Row(f"memory given back, engine {cycle} of {CYCLES}", bar="0 bytes")
        others = strangers()
        before = nvml.used(uuid)
        try:
            home.start()
            home.paint(*flags)
            during = nvml.used(uuid)
        except Failed as error:
            row.held, row.note = False, str(error)
            yield row
            continue
        finally:
            home.stop()
        try:
            poll("the memory", lambda: nvml.used(uuid) == before, 10)
        except TimeoutError:
            pass
        after = nvml.used(uuid)
        row.ours, row.beside = f"{(during - before) / MIB:.0f} MiB taken", f"{before} bytes before, {after} after"
        row.difference, row.held = f"{after - before} bytes", after == before
        row.note = f"{others} other processes compute on the GPUs of this machine" if others else ""
        yield row
