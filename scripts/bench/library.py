"""What the library takes: listing hundreds of checkpoints for the first time and again, and looking into one of 24 GB."""
import json
import time

import headers
import pagecache
from bench import milliseconds, say, spread
from conversion import LOOKUPS, SETTLES, empty, run
from table import Bar, Figure

# What lies in the folders: so many of each.
FOLDERS = (
    ("checkpoints/sd15", 140, headers.sd15, "F16"), ("checkpoints/sdxl", 130, headers.sdxl, "F16"),
    ("diffusion_models/flux-dev", 40, lambda: headers.flux(True), "BF16"),
    ("diffusion_models/flux-schnell", 10, lambda: headers.flux(False), "BF16"),
    ("diffusion_models/z-image", 20, headers.z_image, "BF16"), ("vae/sd", 8, lambda: headers.vae(4, True), "F32"),
    ("vae/flux", 4, lambda: headers.vae(16, False), "F32"), ("text_encoders/clip_l", 3, headers.clip_l, "F16"),
    ("text_encoders/t5", 3, headers.t5_xxl, "F16"),
)
FILES = sum(count for _, count, _, _ in FOLDERS)
LISTS, COLD = 21, 5


def fill(home):
    """Makes the files; returns their names with the family that each must be found to be."""
    models = home.folder / "models"
    for folder, count, tensors, kind in FOLDERS:
        made = headers.header(tensors(), kind)
        for number in range(count):
            headers.write(models / f"{folder}-{number}.safetensors", made)
    total = sum(f.stat().st_size for f in models.rglob("*.safetensors"))
    say(f"{FILES} sparse files of {total / 1e12:.2f} TB")
    time.sleep(SETTLES)


def checked(told):
    """The models of a listing; an error where one was not recognised."""
    models = [m for m in json.loads(told)["models"] if m["folder"] != "embedded"]
    if len(models) != FILES:
        raise RuntimeError(f"{len(models)} of {FILES} were listed")
    for model in models:
        name = model["path"].rsplit("/", 1)[1]
        family = {"sd15": "sd15", "sdxl": "sdxl", "flux-dev": "flux", "flux-schnell": "flux", "z-image": "z-image"}.get(name.rsplit("-", 1)[0])
        is_network = "checkpoints" in model["path"] or "diffusion_models" in model["path"]
        if (is_network and model["family"] != family) or not model["components"]:
            raise RuntimeError(f"{name} was listed as {model['family']} with {model['components']}: {model['problem']}")
    return models


def listing(bench):
    """`models list` without an index and with one; as long as a file's header alone tells what it is."""
    words = ("models", "list", "--json")
    with bench.home() as home:
        fill(home)
        index = home.folder / "cache/library.json"
        first, second = [], []
        for times, is_cold in ((first, True), (second, False)):
            for _ in range(COLD):
                index.unlink(missing_ok=True)
                if is_cold:
                    pagecache.drop(home.folder / "models")
                told, took = run(home, *words)
                checked(told)
                times.append(took)
        if not index.is_file():
            raise RuntimeError("the listing left no index")
        times = []
        for _ in range(LISTS):
            again, took = run(home, *words)
            if again != told:
                raise RuntimeError("the index tells something else than the headers")
            times.append(took)
    yield Figure(f"models list, {FILES} files, without an index", milliseconds(first), "ms", bar=Bar(1000),
                 note="headers out of the page cache; median; " + spread(first))
    yield Figure("the same, headers in the page cache", milliseconds(second), "ms", note="median; " + spread(second))
    yield Figure("the same, with the index", milliseconds(times), "ms", bar=Bar(50), note="with the program's start; median; " + spread(times))


def inspection(bench):
    """`models inspect` of Flux.1 dev at its size, 23.8 GB."""
    with bench.home() as home:
        path = home.folder / "models/diffusion_models/flux-dev.safetensors"
        headers.write(path, headers.header(headers.flux(True), "BF16"))
        times = []
        for _ in range(LOOKUPS):
            told, took = run(home, "models", "inspect", str(path), "--json")
            if json.loads(told)["family"] != "flux":
                raise RuntimeError(f"not known: {told}")
            times.append(took)
        start = milliseconds(empty(home))
        size = path.stat().st_size
    yield Figure(f"models inspect, {size / 1e9:.1f} GB", milliseconds(times), "ms", bar=Bar(20),
                 note=f"with the program's start, {start:.1f} ms; median; " + spread(times))
