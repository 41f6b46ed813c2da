"""What the pages and docstrings name is there: modules, functions, files; and each package is in the table."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.test_layout import FLOORS, WORDS, modules

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
HISTORY = frozenset({"CHANGELOG.md"})
"""Tells how things were; what it names need not be there any more."""
SOURCES = sorted([*(ROOT / "restorer").rglob("*.py"), *(ROOT / "tests").rglob("*.py")])

SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
DOTTED = re.compile(r"(?<![\w./-])restorer(?:\.[A-Za-z_]\w*)+")
FILE = re.compile(r"(?<![\w./~-])(?:restorer|tests|docs|\.ci|\.github)/[\w./-]*\w/?")


def named(path: Path, pattern: re.Pattern[str]) -> Iterator[str]:
    """Yield what the backticked words of a file name."""
    for span in SPAN.findall(path.read_text(encoding="utf-8")):
        yield from pattern.findall(span)


def there(dotted: str) -> bool:
    """Tell whether a dotted name is a module, or something in one."""
    parts = dotted.split(".")
    for count in range(len(parts), 0, -1):
        name = ".".join(parts[:count])
        try:
            if importlib.util.find_spec(name) is None:
                continue
        except ModuleNotFoundError:
            continue
        found: Any = importlib.import_module(name)
        for attribute in parts[count:]:
            if attribute in getattr(found, "__annotations__", {}):  # a field without a default
                return True
            if not hasattr(found, attribute):
                return False
            found = getattr(found, attribute)
        return True
    return False


def short(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", [*(page for page in PAGES if page.name not in HISTORY), *SOURCES], ids=short)
def test_what_is_named_in_code_is_there(path: Path) -> None:
    missing = {name for name in named(path, DOTTED) if not there(name)}
    assert not missing
    assert not {name for name in named(path, FILE) if not (ROOT / name).exists()}


def test_a_wrong_name_is_noticed() -> None:
    assert there("restorer.options.Options.scale")
    assert there("restorer.cli.diagnosis.base.Check.name")
    assert not there("restorer.options.Options.scal")
    assert not there("restorer.nothing")


def table() -> dict[str, tuple[str, str]]:
    """Return floor and question of each package of docs/how-it-works.md, by its path."""
    text = (ROOT / "docs/how-it-works.md").read_text(encoding="utf-8")
    found: dict[str, tuple[str, str]] = {}
    floor = ""
    for line in re.findall(r"^\|(.*)\|$", text[text.index("| floor |") :], re.MULTILINE)[2:]:
        cells = [cell.strip() for cell in line.split("|")]
        floor = cells[0] or floor
        for name in SPAN.findall(cells[1]):
            found[name] = floor, cells[2]
    return found


def test_every_package_is_in_the_table_on_its_floor_with_its_own_question() -> None:
    rows = table()
    packages = {path.parent.name for path in (ROOT / "restorer").glob("*/__init__.py")}
    words = {f"{name}.py" for name in WORDS if not name.startswith("_")}
    assert set(rows) == {f"{name}/" for name in packages} | words
    for name, (floor, question) in rows.items():
        module = name.rstrip("/").removesuffix(".py")
        assert float(floor) == FLOORS[module], name
        if name.endswith("/"):
            docstring = modules()[module].body[0].value.value  # type: ignore[attr-defined]
            assert question == docstring.partition("?")[0] + "?", name
