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


def ours(bench, home, weights, to_the_end):
    """(seconds until the first step begins, until it has ended or None)."""
    home.start()
    following = home.follow(*flags(bench, weights, 20, bench.size))
    begins = ends = None
    for moment, line in following:
        if begins is None and (line.get("phase") == SAMPLING or line.get("step")):
            begins = moment - following.began
        if line.get("step"):
            ends = moment - following.began
        if ends or (begins and not to_the_end):
            following.interrupt()
            break
    home.stop()
    return begins, ends


def theirs(bench, folder, to_the_end):
    peer = Peer(bench.python, folder, threads=bench.threads)
    try:
        peer.order(seed=1, steps=20, cfg=7.0, size=bench.size)
        begins = ends = None
        while not (ends or (begins and not to_the_end)):
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
            turns = [lambda: mine.append(ours(bench, home, weights, n == 0))]
            if folder:
                turns.append(lambda: other.append(theirs(bench, folder, n == 0)))
            for turn in turns if n % 2 == 0 else reversed(turns):
                warm(weights)
                turn()
    begins = [m[0] for m in mine]
    peer = {"peer": median(o[0] for o in other), "peer_name": "diffusers"} if other else {"peer_name": "diffusers"}
    yield Figure("command -> first step begins", median(begins), "s", bar=Bar(2), **peer,
                 note="daemon up, no engine yet; median; " + spread(begins, "s", 1) + problem)
    yield Figure("command -> first step done", mine[0][1], "s", other[0][1] if other else None, "diffusers", note="once")
