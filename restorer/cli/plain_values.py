"""Values of options that need no reading: typer reads them by pydantic, which takes longer to load than all the rest.

Since typer 0.29 a parameter reads its value by an object that it makes when it is first needed. What stands here takes
its place for values that are what they should be already, or are plain numbers; all others, and so every message about
a wrong one, are left to typer. Older versions have no such place, and nothing changes there.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

_NUMBER = {int: re.compile(r"[+-]?[0-9]{1,15}"), float: re.compile(r"[+-]?([0-9]{1,15}(\.[0-9]{0,15})?|\.[0-9]{1,15})")}


class _PlainValue:
    """Reads the values of one parameter.

    Args:
        kind: bool, int, float, str or Path.
        many: whether there may be several.
        parse: makes the value of a text, where the type alone does not.
    """

    def __init__(self, kind: type, many: bool, parse: Callable[[str], Any] | None) -> None:
        self._kind, self._many, self._parse = kind, many, parse

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return a value as the command takes it; see `typer._coercion.RuntimeParam`."""
        if value is None:
            return () if self._many else None
        if self._many:
            if isinstance(value, (list, tuple)) and all(type(each) is self._kind for each in value):
                return list(value)
        elif self._parse is not None:
            if isinstance(value, str):
                return self._parse(value)
        elif type(value) is self._kind:
            return value
        elif isinstance(value, str) and self._kind in _NUMBER and _NUMBER[self._kind].fullmatch(value):
            return self._kind(value)
        param._runtime_param = None
        return param.get_runtime_param().coerce(value, param=param, ctx=ctx)


def read_plainly(params: Iterable[Any]) -> None:
    """Let parameters of a command take plain values without pydantic, where nothing but a type is asked of them."""
    for param in params:
        descriptor = getattr(param, "type_descriptor", None)
        if descriptor is None or getattr(param, "_runtime_param", "") is not None:
            continue  # another version of typer
        info, (kind, many) = descriptor.parameter_info, _kind(descriptor.annotation)
        limited = any(getattr(info, name, None) is not None for name in ("min", "max", "formats", "click_type"))
        if not limited and (info.parser is not None or kind in (bool, int, float, str, Path)):
            param._runtime_param = _PlainValue(kind, many, info.parser)


def _kind(hint: Any) -> tuple[Any, bool]:
    """Return the type in "X", "X | None" and "list[X]", and whether it is a list."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        inner = [each for each in typing.get_args(hint) if each is not types.NoneType]
        return _kind(inner[0]) if len(inner) == 1 else (None, False)
    if typing.get_origin(hint) is list:
        return typing.get_args(hint)[0], True
    return hint, False
