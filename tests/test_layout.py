"""The layout of the code: who may import whom, and how large a thing may grow.

Every file of the package is parsed, nothing is imported. All imports count: at the top, in functions, and those that
only the type checker sees. A package may import what stands on a lower floor, never what stands beside or above it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Set
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "restorer"
FLOORS: dict[str, float] = {
    "errors": 0, "options": 0, "record": 0, "formatting": 0, "version": 0,
    "imaging": 1, "storage": 1,
    "networks": 2, "weights": 2, "photo": 2,
    "models": 3,
    "engine": 4,
    "inversion": 5, "faces": 5, "upscaling": 5, "repairing": 5,
    "pipeline": 6,
    "training": 7, "report": 7,
    "batch": 8, "evaluation": 8,
    "server": 9, "cluster": 9,
    "": 9.5,  # `restorer` itself, which offers the others by name
    "cli": 10,
    "bench": 11,
    "__main__": 12,
}  # fmt: skip
WORDS = frozenset({"errors", "record", "formatting", "version", "__init__", "__main__"})
"""All modules that may stand at the top; those of floor 0 may use each other."""
LONGEST_FILE, LONGEST_CLASS = 400, 250
LONG_FILES = frozenset({"networks/stylegan2.py", "networks/glean.py"})

# What does not keep to the rules yet. An entry that is no longer needed fails the tests too: the lists only shrink.
KNOWN_ARROWS: frozenset[str] = frozenset()
KNOWN_CIRCLES: frozenset[str] = frozenset()
KNOWN_LONG_FILES: frozenset[str] = frozenset()
KNOWN_LONG_CLASSES: frozenset[str] = frozenset()


@cache
def modules() -> dict[str, ast.Module]:
    """Return every module of the package by its dotted name without `restorer.`, parsed; the package itself is ""."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text("utf-8"))
    return found


def is_package(module: str) -> bool:
    return (ROOT / module.replace(".", "/") / "__init__.py").is_file()


def imported(module: str, tree: ast.Module) -> Iterator[str]:
    """Yield the modules of this package that a module imports, wherever it does so."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from inside(alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                here = module.split(".") if module else []
                up = here if is_package(module) else here[:-1]
                up = up[: len(up) - (node.level - 1)]
                base = ".".join(["restorer", *up, *([base] if base else [])])
            for alias in node.names:
                deeper = f"{base}.{alias.name}".removeprefix("restorer.")
                yield from inside(f"{base}.{alias.name}" if deeper in modules() else base)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            for argument in node.args[:1]:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield from inside(argument.value)


def inside(name: str) -> Iterator[str]:
    """Yield the name without `restorer.` where it is one of this package's."""
    if name == "restorer":
        yield ""
    elif name.startswith("restorer."):
        yield name.removeprefix("restorer.")


def arrows() -> Iterator[tuple[str, str]]:
    """Yield (importing, imported) for all modules of the package."""
    for module, tree in modules().items():
        for target in set(imported(module, tree)):
            if target != module:
                yield module, target


def package(module: str) -> str:
    return module.split(".")[0]


def forbidden(module: str, target: str) -> bool:
    """Tell whether an arrow points upwards or sideways, from one package to another."""
    here, there = package(module), package(target)
    if here == there:
        return False
    if FLOORS[here] == FLOORS[there] == 0:
        return False
    return FLOORS[there] >= FLOORS[here]


def circles() -> list[str]:
    """Return the sets of modules that import each other, directly or by others, as text."""
    edges: dict[str, set[str]] = {module: set() for module in modules()}
    for module, target in arrows():
        edges[module].add(target)

    def reach(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = list(edges[start])
        while waiting:
            module = waiting.pop()
            if module not in seen:
                seen.add(module)
                waiting += edges.get(module, ())
        return seen

    reached = {module: reach(module) for module in edges}
    found = {
        frozenset(other for other in reached[module] if module in reached.get(other, ()))
        for module in edges
        if module in reached[module]
    }
    return sorted(" <-> ".join(sorted(names)) for names in found)


def check(found: set[str], known: Set[str], rule: str) -> None:
    """Compare what breaks a rule with what is known to break it."""
    more, less = sorted(found - known), sorted(known - found)
    assert not more, f"{rule}:\n  " + "\n  ".join(more)
    assert not less, "No longer needed in the list of what is known, take it out:\n  " + "\n  ".join(less)


def test_imports_point_downwards() -> None:
    found = {
        f"{module or 'restorer'} -> {target or 'restorer'}" for module, target in arrows() if forbidden(module, target)
    }
    check(found, KNOWN_ARROWS, "These imports point sideways or upwards")


def test_no_modules_import_each_other() -> None:
    check(set(circles()), KNOWN_CIRCLES, "These modules import each other")


def test_only_the_words_that_all_speak_stand_at_the_top() -> None:
    assert {path.stem for path in ROOT.glob("*.py")} == WORDS


def test_every_package_has_a_floor() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages <= set(FLOORS)


def test_every_package_says_which_question_it_answers() -> None:
    packages = {name for name in modules() if name and "." not in name and is_package(name)}
    assert {name for name in packages if "?" not in (ast.get_docstring(modules()[name]) or "").split("\n")[0]} == set()


def test_no_file_is_too_long() -> None:
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text("utf-8").splitlines()) for path in ROOT.rglob("*.py")
    }
    found = {name for name, lines in lengths.items() if lines > LONGEST_FILE} - LONG_FILES
    check(found, KNOWN_LONG_FILES, f"These files have more than {LONGEST_FILE} lines")


def test_no_class_is_too_long() -> None:
    found = {
        f"{module}.{node.name}"
        for module, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and (node.end_lineno or 0) - node.lineno + 1 > LONGEST_CLASS
    }
    check(found, KNOWN_LONG_CLASSES, f"These classes have more than {LONGEST_CLASS} lines")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("import restorer.batch.run", {"batch.run"}),
        ("from restorer.batch import run", {"batch.run"}),
        ("from restorer import batch", {"batch"}),
        ("from restorer import Restorer", {""}),
        ("def f():\n    from restorer.batch.run import Batch", {"batch.run"}),
        (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from restorer.batch.run import Batch",
            {"batch.run"},
        ),
        ("from . import choice", {"pipeline.choice"}),
        ("from ..batch.run import Batch", {"batch.run"}),
        ("import importlib\nimportlib.import_module('restorer.batch.run')", {"batch.run"}),
        ("import numpy, restorerish", set()),
    ],
)
def test_every_way_to_import_is_seen(text: str, wanted: set[str]) -> None:
    assert set(imported("pipeline.restorer", ast.parse(text))) == wanted


def test_directions() -> None:
    assert forbidden("pipeline.choice", "batch.results")
    assert forbidden("faces.detect", "upscaling.tiles")
    assert forbidden("batch.run", "cli.run")
    assert forbidden("errors", "storage")
    assert forbidden("pipeline.choice", "")
    assert not forbidden("options", "errors")
    assert not forbidden("cli.run", "batch.run")
    assert not forbidden("batch.run", "pipeline.lanes")
