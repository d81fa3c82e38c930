"""The table of a check: what perilune says or does, what stands beside it, and whether both agree."""
from dataclasses import dataclass

from table import render


@dataclass
class Row:
    """`held` is None where there is no bar, or where nothing could be compared; then the note says why."""
    what: str
    ours: str = "-"
    beside: str = "-"
    difference: str = "-"
    bar: str = "-"
    held: bool | None = None
    note: str = ""

    def cells(self):
        return [self.what, self.ours, self.beside, self.difference, self.bar, {None: "-", True: "yes", False: "NO"}[self.held],
                self.note.replace("\n", " ")]


def report(rows, device):
    heads = ["check", f"perilune, {device}", "beside it", "difference", "bar", "held", "note"]
    return render([row.cells() for row in rows], heads)
