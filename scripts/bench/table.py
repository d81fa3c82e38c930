"""Figures in a table: ours beside the peer's, their ratio, and the bar that is to be held.

A figure that could not be taken is a dash with a reason in the notes, never a number. A peer's figure that was
not measured in this run, but is quoted, says so and why, and makes no ratio.
"""
from dataclasses import dataclass, field


@dataclass
class Bar:
    """What is asked of a figure: at most or at least a limit, absolute or as a multiple of the peer's."""
    limit: float
    at_least: bool = False
    of_peer: bool = False

    def holds(self, ours, peer):
        """Whether the bar is held; None where that cannot be told."""
        if ours is None or (self.of_peer and not peer):
            return None
        value = ours / peer if self.of_peer else ours
        return value >= self.limit if self.at_least else value <= self.limit

    def text(self, unit):
        sign = ">=" if self.at_least else "<="
        return f"{sign} {self.limit:.2f} x peer" if self.of_peer else f"{sign} {number(self.limit)} {unit}".rstrip()


@dataclass
class Figure:
    """One line of the table. `quoted` says why the peer's figure was not measured here, where it was not."""
    what: str
    ours: object = None
    unit: str = ""
    peer: object = None
    peer_name: str = ""
    bar: Bar | None = None
    quoted: str = ""
    note: str = ""
    busy: bool = False
    held: bool | None = field(default=None)

    def __post_init__(self):
        if self.held is None and self.bar and not isinstance(self.ours, str):
            self.held = self.bar.holds(self.ours, None if self.quoted else self.peer)

    def cells(self):
        is_number = lambda value: isinstance(value, (int, float)) and not isinstance(value, bool)
        ratio = "-"
        if is_number(self.ours) and is_number(self.peer) and self.peer and not self.quoted:
            ratio = f"{self.ours / self.peer:.2f}"
        peer = "-" if self.peer is None else f"{value_text(self.peer, self.unit)} {self.peer_name}".rstrip()
        if self.quoted and self.peer is not None:
            peer += f" (quoted: {self.quoted})"
        verdict = {None: "-", True: "yes", False: "NO"}[self.held]
        return [self.what, value_text(self.ours, self.unit) + ("*" if self.busy else ""), peer, ratio,
                self.bar.text(self.unit) if self.bar else "-", verdict]


def number(value):
    """Three significant digits without an exponent; whole numbers from 100 up."""
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:.0f}"
    if value == 0:
        return "0"
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.5f}"


def value_text(value, unit):
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{number(value)} {unit}".rstrip()


HEADS = ["figure", "ours", "peer", "ratio", "bar", "held"]


def render(rows, heads=None):
    """Lists of cells as lines with aligned columns."""
    rows = [heads, *rows] if heads else rows
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    if heads:
        lines.insert(1, "  ".join("-" * width for width in widths))
    return lines


def report(figures):
    """The table and, below it, a note for each figure that has one."""
    lines = render([f.cells() for f in figures], HEADS)
    notes = [f"{f.what}: {f.note}" for f in figures if f.note]
    if any(f.busy for f in figures):
        notes.append("* other processes were using this machine's processors meanwhile; times are worth little")
    return lines + ([""] + notes if notes else [])
