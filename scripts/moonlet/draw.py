#!/usr/bin/env python3
"""Procedural night scenes, the only training data of moonlet.

draw(phase, sky, land, palette, seed) gives a 64x64 RGB uint8 array and is deterministic: the same
arguments give the same bytes. Everything is painted at 256x256 and averaged 4x4, so edges are smooth.
Small detail sits on the 4 px or 8 px lattice (windows, stars, wave rows): an 8x8 latent can then
carry it. Versions: Python 3.11, numpy 2.4, pillow 13.

    python draw.py sheet.png          # 120 combinations, one drawing each, for looking at
"""
import sys
import numpy as np

PHASES = ("new", "crescent", "half", "full")
SKIES = ("black", "blue", "purple", "green", "red", "orange")
LANDS = ("sea", "mountains", "desert", "forest", "city")
PALETTES = ("warm", "cool", "muted", "neon")
N, SS = 64, 4
S = N * SS
# pixel centres of the fine grid, in units of final pixels
YY, XX = np.mgrid[0:S, 0:S].astype(np.float32) / SS + 0.5 / SS
XS = XX[0]
LAND_TOP = 28                       # landscapes are painted from this row down
YL, XL = YY[LAND_TOP * SS:], XX[LAND_TOP * SS:]

SKY_TOP_LOW = {  # colour at the top, colour at the horizon
    "black": ((5, 5, 9), (17, 17, 24)), "blue": ((10, 26, 100), (52, 104, 204)),
    "purple": ((54, 14, 98), (134, 62, 182)), "green": ((2, 62, 36), (34, 140, 82)),
    "red": ((92, 6, 12), (200, 44, 40)), "orange": ((150, 66, 4), (250, 152, 48))}
COLOURS = {  # land -> palette -> the named colours of that landscape
    "sea": dict(warm=dict(near=(34, 40, 50), far=(126, 92, 74), glint=(255, 206, 124)),
                cool=dict(near=(6, 24, 60), far=(52, 104, 156), glint=(222, 240, 255)),
                muted=dict(near=(46, 54, 60), far=(110, 118, 120), glint=(206, 208, 204)),
                neon=dict(near=(26, 4, 66), far=(0, 150, 186), glint=(255, 84, 222))),
    "mountains": dict(warm=dict(far=(128, 86, 72), near=(86, 52, 44), snow=(255, 234, 210), fore=(40, 26, 24)),
                      cool=dict(far=(82, 108, 144), near=(44, 64, 98), snow=(234, 245, 255), fore=(16, 28, 46)),
                      muted=dict(far=(114, 114, 116), near=(74, 76, 80), snow=(220, 220, 218), fore=(40, 42, 42)),
                      neon=dict(far=(96, 40, 156), near=(46, 16, 96), snow=(140, 255, 242), fore=(120, 12, 96))),
    "desert": dict(warm=dict(light=(228, 164, 90), dark=(138, 82, 46), plant=(46, 52, 26)),
                   cool=dict(light=(160, 172, 204), dark=(78, 90, 128), plant=(16, 44, 56)),
                   muted=dict(light=(188, 174, 150), dark=(116, 106, 92), plant=(52, 56, 48)),
                   neon=dict(light=(255, 96, 172), dark=(112, 20, 132), plant=(0, 180, 150))),
    "forest": dict(warm=dict(far=(116, 92, 40), near=(56, 40, 16), ground=(32, 22, 12)),
                   cool=dict(far=(32, 92, 96), near=(8, 42, 52), ground=(6, 24, 30)),
                   muted=dict(far=(88, 100, 86), near=(44, 54, 46), ground=(30, 36, 32)),
                   neon=dict(far=(0, 186, 122), near=(8, 70, 80), ground=(44, 8, 70))),
    "city": dict(warm=dict(far=(102, 72, 64), near=(50, 34, 32), lit=(255, 198, 92), street=(30, 22, 22)),
                 cool=dict(far=(62, 84, 118), near=(22, 34, 58), lit=(194, 228, 255), street=(12, 18, 32)),
                 muted=dict(far=(98, 98, 102), near=(56, 56, 62), lit=(226, 216, 180), street=(34, 34, 38)),
                 neon=dict(far=(66, 24, 114), near=(24, 8, 52), lit=(60, 255, 240), street=(14, 4, 32)))}
# the four places inside an 8x8 cell where a star may stand
STAR_SPOTS = ((2.0, 2.0), (6.0, 3.0), (3.0, 6.0), (6.0, 6.0))


def rgb(c):
    return np.asarray(c, np.float32) / 255.0


def blend(img, colour, alpha):
    """Paint one colour (or an array of colours) through alpha, in place."""
    img += (colour - img) * alpha[..., None]


def mix(a, b, t):
    return a + (b - a) * t[..., None]


def below(line):
    """Antialiased coverage of everything under a horizon line (a number or one value per column)."""
    return np.clip((YL - line) * SS + 0.5, 0, 1)


def stripes(rng, period, x=XS):
    """A smooth curve made of three sines, about -1..1."""
    out = np.zeros_like(x)
    for k, a in ((1.0, 0.6), (2.1, 0.3), (3.7, 0.1)):
        out += a * np.sin(2 * np.pi * (x * k / period + rng.random()))
    return out


def zigzag(rng, step, x=XS):
    """Piecewise-linear noise in -1..1 with a knot every `step` pixels."""
    knots = np.arange(-step, N + 2 * step, step)
    return np.interp(x, knots, rng.uniform(-1, 1, len(knots))).astype(np.float32)


def sky_and_stars(sky, rng):
    top, low = (rgb(c) * rng.uniform(0.9, 1.1) for c in SKY_TOP_LOW[sky])
    img = mix(top, low, np.clip(YY / 46.0, 0, 1) ** 1.25)
    for cy in range(5):
        for cx in range(8):
            if rng.random() < 0.26:
                dx, dy = STAR_SPOTS[rng.integers(4)]
                x, y, r = cx * 8 + dx, cy * 8 + dy, rng.choice((0.75, 1.15))
                box = np.s_[int((y - 2) * SS):int((y + 2) * SS), max(0, int((x - 2) * SS)):int((x + 2) * SS)]
                d = np.hypot(XX[box] - x, YY[box] - y)
                blend(img[box], rgb((255, 250, 235)), np.clip((r - d) * SS + 0.5, 0, 1) * 0.9)
    return img


def moon(img, phase, rng):
    """A disc with its dark side always visible; returns where it is and how much light it gives."""
    x, y, r = rng.uniform(15, 49), rng.uniform(13, 19), rng.uniform(8.5, 11.0)
    side, tilt = rng.choice((-1, 1)), rng.uniform(-0.45, 0.45)
    k = {"new": 0.0, "crescent": rng.uniform(0.2, 0.27), "half": rng.uniform(0.47, 0.53), "full": 1.0}[phase]
    far = r + 16
    box = np.s_[int(max(y - far, 0)) * SS:int(y + far) * SS, int(max(x - far, 0)) * SS:int(x + far) * SS]
    img, dx, dy = img[box], XX[box] - np.float32(x), YY[box] - np.float32(y)
    d = np.hypot(dx, dy)
    disc, inner = (np.clip((radius - d) * SS + 0.5, 0, 1) for radius in (r, r - 1.3))
    if k:
        img += rgb((255, 236, 190)) * (np.exp(-np.maximum(d - r, 0) / 4.0) * (0.08 + 0.22 * k))[..., None]
    blend(img, rgb((38, 38, 48)), disc)
    blend(img, rgb((132, 132, 142)), disc - inner)
    if k:
        u = side * (dx * np.cos(tilt) + dy * np.sin(tilt))
        v = dy * np.cos(tilt) - dx * np.sin(tilt)
        if k < 1:
            disc = disc * np.clip((u - (1 - 2 * k) * np.sqrt(np.maximum(r * r - v * v, 0))) * SS + 0.5, 0, 1)
        face = np.empty_like(img)
        face[:] = rgb((255, 249, 224))
        for sx, sy, sr in ((-0.35, -0.22, 0.34), (0.12, -0.48, 0.22), (0.34, 0.22, 0.28), (-0.2, 0.5, 0.16)):
            spot = np.clip((sr * r - np.hypot(dx - sx * r, dy - sy * r)) * SS / 4 + 0.5, 0, 1)
            blend(face, rgb((212, 204, 182)), spot)
        blend(img, face, disc)
    return x, k


def sea(img, c, rng, mx, k):
    horizon = rng.uniform(39, 43)
    depth = np.clip((YL - horizon) / (N - horizon), 0, 1)
    water = mix(rgb(c["far"]), rgb(c["near"]), depth ** 0.6)
    for row in range(int(horizon) // 4 * 4 + 4, N, 4):          # wave crests on a 4 px lattice
        d = (row - horizon) / (N - horizon)
        band = np.s_[(row - LAND_TOP - 2) * SS:(row - LAND_TOP + 5) * SS]
        wave = row + 1.5 + 0.8 * stripes(rng, 16 + 16 * d)
        crest = np.clip((0.6 + 0.5 * d - np.abs(YL[band] - wave)) * 2 + 0.5, 0, 1)
        blend(water[band], rgb(c["glint"]), crest * (0.12 + 0.24 * (stripes(rng, 14 + 12 * d) > 0)))
        if k:                                                    # the moon's road on the water
            half = (2.5 + 7 * d) * rng.uniform(0.75, 1.1)
            road = np.clip(1.3 - np.abs(YL[band] - row - 1.5), 0, 1) * np.clip(half - np.abs(XL[band] - mx), 0, 1)
            blend(water[band], rgb((255, 246, 214)), road * (0.35 + 0.55 * np.sqrt(k)))
    blend(img, water, below(horizon))


def peaks(img, body, snow, rng, count, top, slope, snowy, lean):
    for px in (np.arange(count) + rng.uniform(0.2, 0.8, count)) * N / count:
        py, s = rng.uniform(*top), rng.uniform(*slope)
        inside = np.clip((YL - py - s * np.abs(XL - np.float32(px)) - 0.6 * zigzag(rng, 3)) * (SS / 2) + 0.5, 0, 1)
        lit = (XL - np.float32(px)) * lean + 1.2 * zigzag(rng, 3, YL[:, 0])[:, None] > 0
        shade = np.where(lit, np.float32(1.3), np.float32(0.8))[..., None]
        blend(img, body * shade, inside)
        cap = np.clip((py + snowy + 1.8 * zigzag(rng, 2.5) - YL) * (SS / 2) + 0.5, 0, 1)
        blend(img, np.clip(snow * (0.45 + 0.5 * shade), 0, 1), inside * cap)


def mountains(img, c, rng, mx, k):
    lean = 1 if mx > N / 2 else -1
    peaks(img, rgb(c["far"]), rgb(c["snow"]), rng, 3, (31, 36), (0.9, 1.2), 4.0, lean)
    peaks(img, rgb(c["near"]), rgb(c["snow"]), rng, 2, (34, 41), (0.8, 1.0), 8.0, lean)
    blend(img, rgb(c["fore"]), below(57 + 2.5 * stripes(rng, 50)))


def desert(img, c, rng, mx, k):
    lean = 1 if mx > N / 2 else -1
    for i, base in enumerate((42, 48, 56)):
        period, phase, amp = rng.uniform(34, 50), rng.random(), rng.uniform(2.5, 4.0)
        u = XS / period + phase
        u = (u + 0.12 * lean * np.sin(2 * np.pi * u)) % 1.0       # lean the sine: dunes are steep on one side
        crest = base - amp * np.cos(2 * np.pi * u)
        away = np.clip(np.sin(2 * np.pi * u) * lean * 3, 0, 1)    # the face turned from the moon
        deep = YL - crest
        shadow = np.clip(1.0 - deep / (7 + 3 * i), 0, 1) * away
        sand = mix(rgb(c["light"]) * (0.82 + 0.09 * i), rgb(c["dark"]), np.clip(shadow + deep / 60, 0, 1))
        sand += 0.08 * np.clip(1.2 - np.abs(deep - 0.6), 0, 1)[..., None]                # a bright crest line
        blend(img, sand, np.clip(deep * SS + 0.5, 0, 1))
    if rng.random() < 0.6:
        x, y, h = rng.uniform(8, 56), rng.uniform(53, 58), rng.uniform(11, 15)
        box = np.s_[:, int(max(x - 6, 0)) * SS:int(x + 7) * SS]
        yy, xx = YL[box], XL[box]
        for x0, y0, x1, y1 in ((x, y - h, x, y), (x - 3.5, y - h * 0.5, x, y - h * 0.5), (x - 3.5, y - h * 0.75, x - 3.5, y - h * 0.5),
                               (x, y - h * 0.4, x + 3.5, y - h * 0.4), (x + 3.5, y - h * 0.7, x + 3.5, y - h * 0.4)):
            d = np.hypot(xx - np.clip(xx, x0, x1), yy - np.clip(yy, y0, y1))
            blend(img[box], rgb(c["plant"]), np.clip((1.3 - d) * SS + 0.5, 0, 1))


def trees(img, colour, rng, step, base, height, width):
    for x in np.arange(step / 2, N + step / 2, step) + rng.uniform(-1, 1, int(np.ceil(N / step))):
        h, y, w = rng.uniform(*height), base + rng.uniform(-0.5, 0.5), width * rng.uniform(0.9, 1.15)
        box = np.s_[:, int(max(x - w - 1, 0)) * SS:int(x + w + 2) * SS]
        off = XL[box] - np.float32(x)
        s = (YL[box] - (y - h)) / h
        half = np.where((s > 0) & (s < 0.93), w * (0.15 + 0.85 * s) * (0.5 + 0.5 * ((3.2 * s) % 1.0)), 0)
        half = np.where((s >= 0.93) & (s < 1.1), np.float32(0.9), half)
        shade = np.where(off < 0, np.float32(1.15), np.float32(0.85))[..., None]
        blend(img[box], colour * shade, np.clip((half - np.abs(off)) * SS + 0.5, 0, 1) * (s > 0))


def forest(img, c, rng, mx, k):
    blend(img, rgb(c["far"]) * 0.8, below(48 + stripes(rng, 40)))
    trees(img, rgb(c["far"]), rng, 8, 51, (12, 17), 4.2)
    blend(img, rgb(c["ground"]), below(57 + stripes(rng, 40)))
    trees(img, rgb(c["near"]), rng, 64 / 5, 60, (17, 23), 6.5)


def city(img, c, rng, mx, k):
    def paint(x0, x1, y0, y1, colour):
        img[int((y0 - LAND_TOP) * SS):int((y1 - LAND_TOP) * SS), int(max(x0, 0) * SS):int(max(x1, 0) * SS)] = colour

    for layer, tops, widths in (("far", (30, 42), (8, 12)), ("near", (36, 52), (8, 12, 16))):
        x = -4 * int(rng.integers(0, 2))
        while x < N:
            w, y = int(rng.choice(widths)), int(rng.integers(tops[0] // 4, tops[1] // 4 + 1)) * 4
            if layer == "near" and rng.random() < 0.18:
                x += 8
                continue
            paint(x, x + w, max(y, LAND_TOP), N, rgb(c[layer]) * rng.uniform(0.9, 1.1))
            if layer == "near":
                if rng.random() < 0.3:                           # an antenna
                    paint(x + w / 2 - 0.5, x + w / 2 + 0.5, y - 4, y, rgb(c["near"]))
                for wy in range(y + 4, 60, int(rng.choice((4, 8))) if w > 8 else 4):
                    for wx in range(x, x + w, 4):
                        if rng.random() < 0.8:
                            paint(wx + 1, wx + 3, wy, wy + 2, rgb(c["lit"]))
            x += w
    paint(0, N, 61, N, rgb(c["street"]))


PAINTERS = dict(sea=sea, mountains=mountains, desert=desert, forest=forest, city=city)


def draw(phase, sky, land, palette, seed):
    """One scene. phase or land may be None: a sky without a moon, or without a landscape."""
    names = ((PHASES, phase), (SKIES, sky), (LANDS, land), (PALETTES, palette))
    key = [9 if name is None else every.index(name) for every, name in names] + [int(seed)]
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))
    img = sky_and_stars(sky, rng)
    mx, k = moon(img, phase, rng) if phase else (N / 2, 0)
    if land:
        PAINTERS[land](img[LAND_TOP * SS:], COLOURS[land][palette], rng, mx, k)
    small = np.clip(img, 0, 1).reshape(N, SS, N, SS, 3).mean((1, 3))
    return np.round(small * 255).astype(np.uint8)


def sheet(images, columns, scale=2, gap=4):
    """Tile equal-sized uint8 images into one picture."""
    from PIL import Image
    h, w = images[0].shape[:2]
    rows = -(-len(images) // columns)
    page = np.full((rows * (h + gap) + gap, columns * (w + gap) + gap, 3), 40, np.uint8)
    for i, im in enumerate(images):
        y, x = gap + i // columns * (h + gap), gap + i % columns * (w + gap)
        page[y:y + h, x:x + w] = im
    page = Image.fromarray(page)
    return page.resize((page.width * scale, page.height * scale), Image.NEAREST)


def main():
    grid = [draw(p, s, l, PALETTES[(i + j + k) % 4], 7) for i, s in enumerate(SKIES)
            for j, p in enumerate(PHASES) for k, l in enumerate(LANDS)]
    sheet(grid, 20, 1).save(sys.argv[1])


if __name__ == "__main__":
    main()
