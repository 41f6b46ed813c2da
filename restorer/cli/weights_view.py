"""Weights as people look at them: a list that fits on a screen, and all that is known of one."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from restorer.cli.console import plain
from restorer.weights.progress import megabytes

OWN_FILE = "own file"
"""What stands in the place of a size where no source can be verified, so that the user brings the file."""
KEY = 13
"""Columns of a fact's name."""
ONE = {"sources": "source", "aliases": "alias"}
"""What a line is called that holds one of several values."""
FIRST = ("face restorer", "upscaler", "face detector")
"""Roles that people choose among; the others follow."""


@dataclass(frozen=True)
class Row:
    """One table of weights in the list.

    Attributes:
        name: of the table.
        role: "face restorer", "upscaler", ...
        here: whether its file is on this machine.
        yours: whether a table of the user's own took the place of a shipped one.
        size: bytes; None = not known.
        at_least: of a size that is not known.
        sourced: whether there is a source to download it from.
        sizes: in and out, "512 → 512".
        license: its name.
        purpose: what it is for.
        brief: whether it is one of many of its kind, named in a line with the others where the screen is short.
    """

    name: str
    role: str
    here: bool
    yours: bool
    size: int | None
    at_least: int | None
    sourced: bool
    sizes: str
    license: str
    purpose: str
    brief: bool = False

    @property
    def download(self) -> str:
        """How large it is, in few letters: "349 MB", "676+ MB", "own file"."""
        if self.size is None and self.at_least is not None:
            return megabytes(self.at_least).replace(" ", "+ ")
        if self.size is None:
            return "?" if self.sourced else OWN_FILE
        return megabytes(self.size)


def by_role(role: str) -> tuple[int, str]:
    """Return what roles are sorted by in the list."""
    return (FIRST.index(role) if role in FIRST else len(FIRST), role)


def listing(rows: Sequence[Row], width: int, *, every: bool = False) -> Iterator[Text]:
    """Yield the list for a terminal: names by role with their sizes, in as many columns as it has room for.

    To fit a screen, what nobody chooses among and the brief ones that are not here are named in a sentence below, and
    those that must be brought along are counted, unless `every` one is wanted.
    """
    own = [row for row in rows if row.download == OWN_FILE and not row.here]
    rows = [row for row in rows if row not in own]
    brief = [] if every else [row for row in rows if row.brief and not row.here]
    others = [] if every else [row for row in rows if row.role not in FIRST and not row.yours]
    lines = [row for row in rows if row not in brief and row not in others]
    yield from _table_of(lines, width)
    legend = []
    if brief:
        sizes = sorted((row.size, row.download) for row in brief if row.size is not None)
        span = f", {sizes[0][1]} to {sizes[-1][1]}" if sizes else ""
        legend.append(f"More upscalers{span}: {', '.join(plain(row.name) for row in brief)}.")
    if others:
        named = (f"{plain(row.name)} {'here' if row.here else row.download}" for row in others)
        legend.append(f"Also: {', '.join(named)}.")
    if own and every:
        names = ", ".join(plain(row.name) for row in own)
        legend.append(f"Bring your own file, by `restore models import FILE`: {names}.")
    elif own:
        legend.append(f"For {len(own)} more you bring your own file.")
    if not every and (own or brief or others):
        legend[-1] += " `restore models list --all` has every name and size."
    if any(row.size is None and row.at_least for row in lines):
        legend.append("+: nobody says how large it is; the network alone is so much.")
    if any(row.yours for row in lines):
        legend.append("*: yours, a weights.toml of your own holds this table, in the place of the shipped one.")
    legend.append("`restore models show NAME` says what it is for, its licence and its sources.")
    for sentence in legend:
        yield from map(Text, textwrap.wrap(sentence, width, subsequent_indent="  ", break_on_hyphens=False))


def _table_of(rows: Sequence[Row], width: int) -> Iterator[Text]:
    """Yield the lines of rows under their roles."""
    role = ""
    cells: list[Row | str] = []
    for row in rows:
        if not cells or row.role != role:
            role = row.role
            cells.append(role)
        cells.append(row)
    columns = next(
        found
        for count in range(max(width // 30, 1), 0, -1)
        if (found := _columns(cells, count))
        and (count == 1 or sum(column[0].cell_len + 1 for column in found) - 1 <= width)
    )
    for number in range(len(columns[0])):
        line = Text(" ").join(column[number] for column in columns if number < len(column))
        line.rstrip()
        yield line


def _columns(cells: Sequence[Row | str], count: int) -> list[list[Text]]:
    """Return roles and rows in so many columns, each as wide as it needs, none with a role alone at its end."""
    height = -(-len(cells) // count)
    while count > 1 and any(isinstance(cells[end - 1], str) for end in range(height, len(cells), height)):
        height += 1
    return [_column(cells[start : start + height]) for start in range(0, len(cells), height)]


def _column(cells: Sequence[Row | str]) -> list[Text]:
    """Return one column's lines, all of one width."""
    names = {id(cell): plain(cell.name) + (" *" if cell.yours else "") for cell in cells if isinstance(cell, Row)}
    longest = max(map(len, names.values()))
    lines = []
    for cell in cells:
        if isinstance(cell, str):
            line = Text(plain(cell[:1].upper() + cell[1:]), style="bold")
        else:
            line = Text(f" {names[id(cell)]:<{longest}} {cell.download:>8} ")
            line.append("here" if cell.here else "    ", style="green")
        lines.append(line)
    width = max(line.cell_len for line in lines)
    return [line.append(" " * (width - line.cell_len)) for line in lines]


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the list for a pipe: one line a table with everything, in columns."""
    heads = ("Name", "Role", "Here", "Download", "In → out", "Licence", "What it is for")
    lines = [heads]
    for row in rows:
        name = plain(row.name) + (" (yours)" if row.yours else "")
        here = "yes" if row.here else "no"
        facts = (name, plain(row.role), here, row.download, row.sizes or "-", plain(row.license), plain(row.purpose))
        lines.append(facts)
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    for line in lines:
        yield "  ".join(cell.ljust(wide) for cell, wide in zip(line, widths, strict=True)).rstrip()


def facts(known: Mapping[str, Any], width: int | None) -> Iterator[Text]:
    """Yield all that is known of one table, a fact a line; what has several values has as many lines.

    Args:
        known: by name.
        width: of the terminal, to which lines are broken at words; None = they are not broken.
    """
    for key, value in known.items():
        if key == "size" and value:
            value = f"{value:,} bytes ({megabytes(value)})"
        elif key == "at_least" and value:
            value = f"{value:,} bytes; how many more nobody says"
        elif isinstance(value, dict):
            value = ", ".join(f"{argument} = {setting}" for argument, setting in value.items())
        if isinstance(value, list):
            key = ONE.get(key, key)
        for each in value if isinstance(value, list) else [value]:
            if each in (None, "", False):
                continue
            text = "yes" if each is True else plain(each)
            room = max((width or 0) - KEY - 2, 20)
            lines = (
                [text] if width is None else textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)
            )
            for number, line in enumerate(lines):
                head = "" if number else plain(key.replace("_", " "))
                yield Text.assemble((f"{head:<{KEY}}  ", "bold"), line)
