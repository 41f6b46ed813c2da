"""What others build upon, written down: a change of it is to be meant.

The inventory is `tests/public_names.txt`: the Python API with signatures and fields, the keys of a record,
errors with their exit codes, commands with their options, and architectures with their arguments. What is added is a
line more; what is changed or gone breaks somebody's script. Whoever means it rewrites the file:

    python -m tests.test_public_names
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import restorer
from restorer import errors
from restorer.cli.commands import COMMANDS
from restorer.cli.signatures import functions, parameters
from restorer.models import REGISTRY
from restorer.record import FaceRecord, Record

INVENTORY = Path(__file__).with_name("public_names.txt")
COMMAND = "python -m tests.test_public_names"


def signature(function: Any) -> str:
    """Return the parameters of a function with their defaults, without their types, as one line."""
    found = []
    star = False
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            star = True
            found.append("*")
        star |= parameter.kind is parameter.VAR_POSITIONAL
        default = "" if parameter.default is parameter.empty else f"={shown(parameter.default)}"
        prefix = "*" * ((parameter.kind is parameter.VAR_POSITIONAL) + 2 * (parameter.kind is parameter.VAR_KEYWORD))
        found.append(f"{prefix}{parameter.name}{default}")
    return f"({', '.join(found)})"


def default_of(field: Any) -> str:
    """Return the default of a dataclass's field as it is written behind its type."""
    if field.default_factory is not dataclasses.MISSING:
        return " = ..."
    return "" if field.default is dataclasses.MISSING else f" = {shown(field.default)}"


def shown(value: object) -> str:
    """Return a default as it is written, or `...` for what has no form of its own."""
    text = repr(value)
    return "..." if text.startswith("<") else text


def api() -> Iterator[str]:
    """Yield the names of `restorer`, with the public attributes of its classes."""
    for name in sorted(restorer.__all__):
        value = getattr(restorer, name)
        if not inspect.isclass(value):
            yield f"restorer.{name}{signature(value) if callable(value) else ''}"
            continue
        own = fields(value)
        yield f"restorer.{name}{signature(value) if not own else ''}"
        for attribute, field in own.items():
            yield f"restorer.{name}.{attribute}: {field.type}{default_of(field)}"
        for attribute, member in sorted(inspect.getmembers(value)):
            if not attribute.startswith("_") and attribute not in own:
                yield f"restorer.{name}.{attribute}{signature(member) if inspect.isroutine(member) else ''}"


def fields(kind: Any) -> dict[str, Any]:
    """Return the fields of a dataclass, sorted; none for another class."""
    return {field.name: field for field in sorted(_fields(kind), key=lambda field: field.name)}


def _fields(kind: Any) -> tuple[Any, ...]:
    return dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()


def record() -> Iterator[str]:
    """Yield the keys of a record and of a face in it."""
    face = FaceRecord((0.0, 0.0, 1.0, 1.0), (), 1.0)
    for key in Record("a.jpg").as_dict():
        yield f"record.{key}"
    for key in face.as_dict():
        yield f"record.faces.{key}"


def error_classes() -> Iterator[str]:
    """Yield the errors with what they derive from, their exit code and what else they are made with."""
    for name, kind in sorted(vars(errors).items()):
        if inspect.isclass(kind) and issubclass(kind, errors.RestorerError):
            yield f"errors.{name}({kind.__mro__[1].__name__}), exit code {kind.exit_code}: {signature(kind)}"


def commands() -> Iterator[str]:
    """Yield the commands with their arguments and options."""
    for command in ("photos", *sorted(COMMANDS)):
        found = functions(command)
        for own, function in sorted(found.items()):
            words = ["restore", *([command] if command != "photos" else []), *([own] if len(found) > 1 else [])]
            for parameter in parameters(function):
                flags = ", ".join((*parameter.flags, *parameter.negative))
                yield f"{' '.join(words)} {flags or parameter.name.upper()}"


def architectures() -> Iterator[str]:
    """Yield the architectures with their roles and arguments."""
    for name, architecture in sorted(REGISTRY.items()):
        arguments = ", ".join(f"{key}={shown(value)}" for key, value in architecture.defaults.items())
        yield f"architecture {name} ({architecture.role}): {arguments}"


def inventory() -> str:
    """Return all of it, a line each."""
    parts = (api, record, error_classes, commands, architectures)
    return "".join(f"{line}\n" for part in parts for line in part())


def test_public_names_change_only_when_that_is_meant() -> None:
    written, found = INVENTORY.read_text("utf-8").splitlines(), inventory().splitlines()
    changed = "\n".join(difflib.unified_diff(written, found, "tests/public_names.txt", "the code", lineterm="", n=0))
    assert not changed, f"{changed}\n\nWhere that is meant, say so in CHANGELOG.md and type: {COMMAND}"


def test_the_inventory_holds_what_it_should() -> None:
    """One of each kind, so that an inventory that lists nothing is noticed."""
    text = INVENTORY.read_text("utf-8")
    for line in (
        "restorer.load_network(name, device='cpu', *, offline=False)",
        "restorer.Options.scale: float = 2.0",
        "record.faces.likeness",
        "errors.HashMismatchError(WeightsError), exit code 3",
        "restore models pull ",
        "restore --scale\n",
        "architecture gfpgan (face restorer): ",
    ):
        assert line in text


if __name__ == "__main__":
    INVENTORY.write_text(inventory(), "utf-8")
