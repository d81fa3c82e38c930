"""Draws the screen of a terminal as a picture: text in a monospace font, frames and blocks by hand so that they join."""
import subprocess
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

CELL = (9, 18)
SIZE = 15
INK, PAPER = "#c9d1d9", "#0d1117"
# The sixteen colours as a dark terminal has them.
NAMED = {
    "black": "#484f58", "red": "#ff7b72", "green": "#3fb950", "brown": "#d29922", "blue": "#58a6ff", "magenta": "#bc8cff",
    "cyan": "#39c5cf", "white": "#b1bac4", "brightblack": "#6e7681", "brightred": "#ffa198", "brightgreen": "#56d364",
    "brightbrown": "#e3b341", "brightblue": "#79c0ff", "brightmagenta": "#d2a8ff", "brightcyan": "#56d4dd", "brightwhite": "#f0f6fc",
}
# The same sixteen by their numbers, as pyte tells those.
NAMED.update(zip(("000000", "cd0000", "00cd00", "cdcd00", "0000ee", "cd00cd", "00cdcd", "e5e5e5", "7f7f7f", "ff0000", "00ff00", "ffff00",
                  "5c5cff", "ff00ff", "00ffff", "ffffff"), list(NAMED.values())))
# Which halves of a cell's cross a frame's glyph has: left, right, up, down.
FRAMES = {
    "─": "lr", "│": "ud", "┌": "rd", "┐": "ld", "└": "ru", "┘": "lu", "├": "udr", "┤": "udl", "┬": "lrd", "┴": "lru", "┼": "lrud",
    "╭": "rd", "╮": "ld", "╰": "ru", "╯": "lu", "━": "lr", "┃": "ud",
}
# Part of a cell from its top or left, in eighths: top, bottom, left, right.
BLOCKS = {"█": (0, 8, 0, 8), "▀": (0, 4, 0, 8), "▄": (4, 8, 0, 8), "▌": (0, 8, 0, 4), "▐": (0, 8, 4, 8)}
BLOCKS.update({glyph: (8 - n, 8, 0, 8) for n, glyph in enumerate("▁▂▃▄▅▆▇", 1)})
BLOCKS.update({glyph: (0, 8, 0, 8 - n) for n, glyph in enumerate("▉▊▋▌▍▎▏", 1)})
SHADES = {"░": 0.45, "▒": 0.65, "▓": 0.8}
# What a picture may take; one with more is drawn in fewer colours.
LARGEST = 60_000
COLOURS = 256


def font(bold):
    """A monospace font of this system."""
    style = "bold" if bold else "book"
    asked = subprocess.run(["fc-match", "-f", "%{file}", f"monospace:style={style}"], capture_output=True, text=True)
    path = asked.stdout.strip()
    if not path or not Path(path).exists():
        raise SystemExit("no monospace font was found; on Debian: apt install fontconfig fonts-dejavu-core")
    return ImageFont.truetype(path, SIZE)


def rgb(name, otherwise):
    if name == "default":
        name = otherwise
    name = NAMED.get(name, name)
    name = name.lstrip("#")
    return tuple(int(name[at:at + 2], 16) for at in (0, 2, 4))


def colours(cell):
    """Ink and paper of a cell."""
    ink, paper = rgb(cell.fg, INK), rgb(cell.bg, PAPER)
    return (paper, ink) if cell.reverse else (ink, paper)


def mixed(ink, paper, share):
    return tuple(round(i * share + p * (1 - share)) for i, p in zip(ink, paper))


class Painter:
    def __init__(self):
        self.plain, self.bold = font(False), font(True)

    def draw(self, screen, path):
        """Draws all cells into a file; returns its size in bytes."""
        (width, height) = CELL
        picture = Image.new("RGB", (screen.columns * width, screen.lines * height), rgb("default", PAPER))
        pen = ImageDraw.Draw(picture)
        # All paper before all ink: what hangs below its line is not painted over by the next.
        cells = [(x, y) for y in range(screen.lines) for x in range(screen.columns)]
        for draw in (self.paper, self.ink):
            for x, y in cells:
                draw(pen, x * width, y * height, screen.buffer[y][x])
        picture.save(path, optimize=True)
        if path.stat().st_size > LARGEST:
            picture.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(path, optimize=True)
        return path.stat().st_size

    def paper(self, pen, x, y, cell):
        (width, height) = CELL
        pen.rectangle((x, y, x + width - 1, y + height - 1), fill=colours(cell)[1])

    def ink(self, pen, x, y, cell):
        (width, height) = CELL
        ink, paper = colours(cell)
        glyph = cell.data
        if glyph in BLOCKS:
            top, bottom, left, right = BLOCKS[glyph]
            box = (x + left * width // 8, y + top * height // 8, x + right * width // 8 - 1, y + bottom * height // 8 - 1)
            if box[2] >= box[0] and box[3] >= box[1]:
                pen.rectangle(box, fill=ink)
        elif glyph in SHADES:
            pen.rectangle((x, y, x + width - 1, y + height - 1), fill=mixed(ink, paper, SHADES[glyph]))
        elif glyph in FRAMES:
            self.frame(pen, x, y, FRAMES[glyph], ink)
        elif glyph.strip():
            pen.text((x, y + 1), glyph, font=self.bold if cell.bold else self.plain, fill=ink)

    def frame(self, pen, x, y, arms, ink):
        (width, height) = CELL
        middle = (x + width // 2, y + height // 2)
        ends = {"l": (x, middle[1]), "r": (x + width - 1, middle[1]), "u": (middle[0], y), "d": (middle[0], y + height - 1)}
        for arm in arms:
            pen.line((middle, ends[arm]), fill=ink)
