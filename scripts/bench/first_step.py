"""From the command to the first step, files in the page cache; beside diffusers from the start of its process."""
from statistics import median

from bench import say, spread
from pagecache import warm
from peer import NEGATIVE, PROMPT, NoPeer, Peer, folder_of
from table import Bar, Figure

ROUNDS = 3
SAMPLING = "sampling"


def flags(bench, weights, steps, size, cfg=7):
    return ["--model", weights, "--prompt", PROMPT, "--negative", NEGATIVE, "--steps", steps, "--cfg", cfg, "--sampler", "euler",
            "--schedule", "normal", "--seed", 1, "--size", f"{size}x{size}", "--compute-device", "cpu"]


def ours(bench, home, weights):
    """(seconds until the first step begins, until it has ended)."""
    home.start()
    following = home.follow(*flags(bench, weights, 20, bench.size))
    begins = ends = None
    for moment, line in following:
        if begins is None and (line.get("phase") == SAMPLING or line.get("step")):
            begins = moment - following.began
        if line.get("step"):
            ends = moment - following.began
        if ends:
            following.interrupt()
            break
    home.stop()
    return begins, ends


def theirs(bench, folder):
    peer = Peer(bench.python, folder, threads=bench.threads)
    try:
        peer.order(seed=1, steps=20, cfg=7.0, size=bench.size)
        begins = ends = None
        while not ends:
            moment, value = peer.line()
            if value.get("event") == SAMPLING:
                begins = moment - peer.began
            if value.get("event") == "step":
                ends = moment - peer.began
        return begins, ends
    finally:
        peer.kill()


def first_step(bench):
    weights = bench.weights()
    problem, folder = "", None
    try:
        folder = folder_of(bench.python, weights, "real", bench.cache)
    except NoPeer as error:
        problem = f"; no peer: {error}"
    mine, other = [], []
    with bench.home(config=f"engine_threads: {bench.threads}\n") as home:
        for n in range(ROUNDS):
            say(f"command to first step, round {n + 1} of {ROUNDS}")
            turns = [lambda: mine.append(ours(bench, home, weights))]
            if folder:
                turns.append(lambda: other.append(theirs(bench, folder)))
            for turn in turns if n % 2 == 0 else reversed(turns):
                warm(weights)
                turn()
    for moment, (what, bar) in enumerate([("begins", Bar(2)), ("done", None)]):
        of = lambda sides: [side[moment] for side in sides]
        peer = {"peer": median(of(other)), "peer_name": "diffusers"} if other else {"peer_name": "diffusers"}
        note = "daemon up, no engine yet; median; " + spread(of(mine), "s", 1) + problem
        if what == "begins":
            note += "; the network is read and expanded within the first step, block by block; the next figure has all of it"
        yield Figure(f"command -> first step {what}", median(of(mine)), "s", bar=bar, **peer, note=note)
