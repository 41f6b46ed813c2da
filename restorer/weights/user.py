"""The user's own weights.toml: adding and removing tables without touching what else is written there."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from restorer.errors import InvalidTableError, UnwritableOutputError, UsageError
from restorer.storage.atomic import write_atomic
from restorer.weights.table import read_tables, user_file

_BEGIN = "# imported: {name}"
_END = "# end of {name}"


def add_table(name: str, fields: Mapping[str, Any]) -> Path:
    """Append a table to the weights.toml of the settings folder; return that file.

    Args:
        name: of the table; a shipped one of that name is replaced by it.
        fields: texts, numbers, lists of texts, and mappings of them; None is left out.

    Raises:
        UsageError: the name cannot be a table's, or the file has such a table already.
        InvalidTableError: the file is broken.
        UnwritableOutputError: it cannot be written.
    """
    check_name(name)
    path = user_file()
    lines = [_BEGIN.format(name=name), f"[{json.dumps(name)}]"]
    lines += [f"{key} = {_value(value)}" for key, value in fields.items() if value is not None]
    lines += [_END.format(name=name), ""]
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    gap = "" if not before else "\n" if before.endswith("\n") else "\n\n"
    _write(path, before + gap + "\n".join(lines))
    return path


def check_name(name: str) -> None:
    """Raise `UsageError` when no table of this name can be added to the user's file."""
    if not re.fullmatch(r"\w[\w.+-]*", name):
        raise UsageError(f"{name!r} cannot be a name.", "Use letters, digits, dots, dashes and underscores.")
    path = user_file()
    if path.is_file() and name in read_tables(path):
        raise UsageError(
            f"{path} has a table {name!r} already.",
            f"Choose another --name, or type `restore models remove {name}` first.",
        )


def has_imported(name: str) -> bool:
    """Tell whether the user's file holds a table that `add_table` wrote."""
    path = user_file()
    return path.is_file() and _BEGIN.format(name=name) in path.read_text(encoding="utf-8").splitlines()


def remove_table(name: str) -> bool:
    """Remove a table that `add_table` wrote from the user's file; False when there is none of that kind."""
    path = user_file()
    if not path.is_file():
        return False
    before = path.read_text(encoding="utf-8")
    begin, end = (re.escape(mark.format(name=name)) for mark in (_BEGIN, _END))
    after = re.sub(rf"\n?^{begin}\n.*?^{end}\n", "", before, count=1, flags=re.MULTILINE | re.DOTALL)
    if after == before:
        return False
    _write(path, after)
    return True


def _value(value: Any) -> str:
    """Return a value as TOML; its texts and numbers are written as JSON's are."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if isinstance(value, str | bool | int | float):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    raise InvalidTableError(str(value), f"A table cannot hold {value!r}.")


def _write(path: Path, text: str) -> None:
    """Replace the file at once; where it is a link, what it points to."""
    try:
        write_atomic(path, text, through_links=True)
    except OSError as error:
        raise UnwritableOutputError(
            path, f"{path} cannot be written: {error}.", "Let RESTORER_CONFIG name a folder that can be written."
        ) from error
