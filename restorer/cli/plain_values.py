"""Values of options that need no reading: typer reads them by pydantic, which takes longer to load than all the rest.

Since typer 0.29 a parameter reads its value by an object that it makes when it is first needed. What stands here takes
its place for values that are what they should be already, and for numbers, which people write in more ways than typer
reads; all others are left to typer. Older versions have no such place, and nothing changes there.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from restorer.errors import UsageError
from restorer.formatting import number


class _PlainValue:
    """Reads the values of one parameter.

    Args:
        kind: bool, int, float, str or Path.
        many: whether there may be several.
        parse: makes the value of a text, where the type alone does not.
        least, most: the smallest and the largest number; None where there is no such end.
    """

    def __init__(
        self,
        kind: type,
        many: bool,
        parse: Callable[[str], Any] | None,
        least: float | None = None,
        most: float | None = None,
    ) -> None:
        self._kind, self._many, self._parse = kind, many, parse
        self._least, self._most = least, most

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return a value as the command takes it; see `typer._coercion.RuntimeParam`."""
        if value is None:
            return () if self._many else None
        if self._many:
            if isinstance(value, (list, tuple)) and all(type(each) is self._kind for each in value):
                return list(value)
        elif self._parse is not None and (isinstance(value, str) or self._kind in (int, float)):
            return self._parse(value)
        elif self._kind in (int, float) and isinstance(value, (str, int, float)):
            flag = max(param.opts, key=len)
            return self._within(flag, number(value, flag, whole=self._kind is int) if isinstance(value, str) else value)
        elif type(value) is self._kind:
            return value
        param._runtime_param = None
        return param.get_runtime_param().coerce(value, param=param, ctx=ctx)

    def _within(self, flag: str, value: float) -> float:
        """Return a number that is neither too small nor too large; raises `UsageError`."""
        least, most = self._least, self._most
        if (least is None or value >= least) and (most is None or value <= most):  # not what is no number
            return value
        to = f"{least:g} to {most:g}" if least is not None and most is not None else None
        raise UsageError(
            f"{flag} {value:g} is outside its range.",
            f"Use {to or (f'at least {least:g}' if least is not None else f'at most {most:g}')}.",
        )


def read_plainly(params: Iterable[Any]) -> None:
    """Let parameters of a command take plain values without pydantic, where nothing but a type is asked of them."""
    for param in params:
        descriptor = getattr(param, "type_descriptor", None)
        if descriptor is None or getattr(param, "_runtime_param", "") is not None:
            continue  # another version of typer
        info, (kind, many) = descriptor.parameter_info, _kind(descriptor.annotation)
        special = any(getattr(info, name, None) is not None for name in ("formats", "click_type"))
        limits = [getattr(info, name, None) for name in ("min", "max")]
        if not special and (info.parser is not None or kind in (bool, int, float, str, Path)):
            param._runtime_param = _PlainValue(kind, many, info.parser, *limits)


def _kind(hint: Any) -> tuple[Any, bool]:
    """Return the type in "X", "X | None" and "list[X]", and whether it is a list."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        inner = [each for each in typing.get_args(hint) if each is not types.NoneType]
        return _kind(inner[0]) if len(inner) == 1 else (None, False)
    if typing.get_origin(hint) is list:
        return typing.get_args(hint)[0], True
    return hint, False
