#!/usr/bin/env python3
"""Captions for the drawings, the held-out combinations and the 60 score prompts of moonlet.

caption(attributes, rng) words one drawing in one of many ways; it may leave attributes out, because
people write short prompts. HELD_OUT never occurs in training, neither as picture nor as caption.

    python captions.py                # prints the held-out combinations and the score prompts
"""
import itertools
import random
from draw import LANDS, PALETTES, PHASES, SKIES

WORDS = {
    "full": ("full moon", "bright full moon", "round full moon", "full moon", "big full moon"),
    "new": ("new moon", "dark new moon", "new moon", "dark moon"),
    "half": ("half moon", "half moon", "half-moon", "quarter moon", "bright half moon"),
    "crescent": ("crescent moon", "crescent moon", "crescent", "thin crescent moon", "sickle moon"),
    "black": ("black", "black", "pitch black", "jet black", "deep black"),
    "blue": ("blue", "blue", "deep blue", "azure", "navy blue"),
    "purple": ("purple", "purple", "violet", "deep purple", "lilac"),
    "green": ("green", "green", "emerald", "deep green", "emerald green"),
    "red": ("red", "red", "crimson", "deep red", "scarlet"),
    "orange": ("orange", "orange", "amber", "bright orange", "deep orange"),
    "sea": ("sea", "sea", "ocean", "calm sea", "waves", "ocean waves", "dark water"),
    "mountains": ("mountains", "mountains", "snowy mountains", "mountain peaks", "mountain range", "snowy peaks", "mountain"),
    "desert": ("desert", "desert", "sand dunes", "dunes", "desert dunes", "sandy desert"),
    "forest": ("forest", "forest", "pine forest", "woods", "trees", "fir trees", "dark forest"),
    "city": ("city", "city", "city skyline", "skyline", "buildings", "town", "skyscrapers", "city lights"),
    "warm": ("warm colours", "warm colors", "warm tones", "warm palette", "warm"),
    "cool": ("cool colours", "cool colors", "cool tones", "cool palette", "cold colours"),
    "muted": ("muted colours", "muted colors", "muted tones", "muted palette", "soft muted tones"),
    "neon": ("neon colours", "neon colors", "neon", "neon palette", "neon lights")}
STARTS = ("", "", "", "", "", "a picture of ", "a painting of ", "a drawing of ", "an image of ", "night scene, ", "a photo of ",
          "night landscape, ", "a night scene with ", "an illustration of ", "beautiful ", "landscape, ")
ENDS = ("", "", "", "", "", " at night", ", night", ", starry night", ", with stars", ", stars", ", highly detailed", ", beautiful",
        ", masterpiece, best quality", ", digital art", ", 8k", ", night sky", ", peaceful")
PLURAL = ("skies", "mountains", "waves", "peaks", "dunes", "woods", "trees", "buildings", "skyscrapers", "lights", "water")


def _held_out():
    """20 of the 120 combinations: 5 per phase, 4 per landscape, 3 or 4 per sky colour."""
    every = list(itertools.product(PHASES, SKIES, LANDS))
    rng = random.Random(20)
    while True:
        rng.shuffle(every)
        picked = every[:20]
        count = lambda i, names: [sum(c[i] == n for c in picked) for n in names]
        if count(0, PHASES) == [5] * 4 and count(2, LANDS) == [4] * 5 and min(count(1, SKIES)) == 3:
            return tuple(sorted(picked))


HELD_OUT = _held_out()
TRAINED = tuple(c for c in itertools.product(PHASES, SKIES, LANDS) if c not in HELD_OUT)


def _article(words, rng):
    if words.split()[-1] in PLURAL:
        return rng.choice(("", "", "the ")) + words
    return rng.choice(("", "the ", "an " if words[0] in "aeiou" else "a ", "an " if words[0] in "aeiou" else "a ")) + words


def caption(phase, sky, land, palette, rng, complete=False):
    """Word the attributes; None leaves one out. Unless complete, some are left out at random."""
    if not complete and rng.random() < 0.25:
        dropped = rng.sample(range(3), rng.choice((1, 1, 2)))
        phase, sky, land = (None if i in dropped else a for i, a in enumerate((phase, sky, land)))
    if not complete and rng.random() < 0.5:
        palette = None
    pick = lambda a: rng.choice(WORDS[a])
    sky_words = sky and pick(sky) + rng.choice((" sky", " sky", " sky", " night sky", " skies", " night"))
    parts = [(k, w) for k, w in (("p", phase and pick(phase)), ("s", sky_words), ("l", land and pick(land))) if w]
    rng.shuffle(parts)
    tags = rng.random() < 0.35
    tone = palette and pick(palette)
    if tags:
        words = [w for _, w in parts]
        if tone:
            words.insert(rng.randint(0, len(words)), tone)
        if rng.random() < 0.25:
            words.insert(rng.randint(0, len(words)), rng.choice(("night", "stars", "moonlight", "landscape", "night scene")))
        return ", ".join(words)
    text, last = "", None
    for kind, w in parts:
        w = _article(w, rng)
        if last is None:
            text = w
        else:
            joins = {"pl": (" over ", " over ", " above "), "lp": (" under ", " under ", " beneath ", " with "),
                     "ps": (" in ", " on "), "ls": (" under ", " with "), "sp": (" with ", " and "), "sl": (" over ", " above ")}
            text += rng.choice(joins[last + kind] + (", ", ", ", " and ")) + w
        last = kind
    if tone:
        text = rng.choice((tone + ", " + text, text + ", " + tone, text + " in " + tone, text + ", " + tone))
    return (rng.choice(STARTS) + text + rng.choice(ENDS)).strip()


def score_prompts():
    """Three wordings for each held-out combination: [(prompt, phase, sky, land, palette or None)]."""
    rng, out = random.Random(60), []
    for phase, sky, land in HELD_OUT:
        for palette in (None, rng.choice(PALETTES), None):
            out.append((caption(phase, sky, land, palette, rng, complete=True), phase, sky, land, palette))
    return out


def every_word():
    """All text a caption can contain, for the list of token ids that training can meet."""
    return " ".join([w for ws in WORDS.values() for w in ws] + list(STARTS) + list(ENDS) +
                    ["sky night skies a an the over above under beneath with in on and , landscape moonlight stars scene"])


if __name__ == "__main__":
    for c in HELD_OUT:
        print("held out:", *c)
    for p in score_prompts():
        print(p)
    r = random.Random(1)
    for i in range(20):
        print("training:", caption(*r.choice(TRAINED), r.choice(PALETTES), r))
