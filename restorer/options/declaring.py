"""What an option says about itself, and how a field of a dataclass says it."""

from __future__ import annotations

import math
import numbers
import types
import typing
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Any, TypeVar

from restorer.errors import OptionTypeError, OptionValueError
from restorer.formatting import either, meant_by

T = TypeVar("T")

_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


@dataclass(frozen=True)
class Option:
    """What one field says about itself.

    Attributes:
        help: its line on the help page; "{names}" stands for the names of its role, or of the models with its control.
        panel: the group that it is shown in.
        name: of the field.
        kind: bool, int, float, str, or another type of which nothing is checked, such as Path.
        optional: whether None is a value.
        default: what it is when nobody says anything.
        least, most: the smallest and the largest number; None where there is no such end.
        above: a number that it must be larger than.
        values: the words that it takes; empty where any text will do. A number may be such a word too.
        others: tells of any other text whether it is a value too; None = no other is, where there are `values`.
        advice: what to say of a text that is none; "" = the values.
        role: what its names are names of ("face restorer", "picture format", ...); who knows them looks them up.
        control: what a model must have for it; where none has it, it stands on no help page.
        words: values beside those names, each with what it means.
        files: whether a file of one's own is a value.
        metavar: what stands for its value on the help page; None = its type.
        parse: makes its value of what was typed, where that says more than the type; None = as its type does.
        convert: makes its value of what else Python may give; None = only its own type will do.
        many: whether it takes several values, a tuple of `kind`; it is typed once for each, and a list in restore.toml.
        flags: how it is typed where that is not the name with dashes: "-o" and "--out".
        decides: whether it decides what the result is, not only how it is made; then it is part of the fingerprint.
        by_weights: whether the fingerprint holds it by the weights, files or engine that it stands for, in place of its
            value.
    """

    help: str
    panel: str
    name: str = ""
    kind: type = str
    optional: bool = False
    default: Any = None
    least: float | None = None
    most: float | None = None
    above: float | None = None
    values: tuple[str, ...] = ()
    others: Callable[[str], bool] | None = None
    advice: str = ""
    role: str | None = None
    control: str | None = None
    words: tuple[tuple[str, str], ...] = ()
    files: bool = False
    metavar: str | None = None
    parse: Callable[[str], Any] | None = None
    convert: Callable[[Any], Any] | None = None
    many: bool = False
    flags: tuple[str, ...] = ()
    decides: bool = True
    by_weights: bool = False

    @property
    def long(self) -> str:
        """The long name as it is typed, without its dashes."""
        return next((flag[2:] for flag in self.flags if flag.startswith("--")), self.name.replace("_", "-"))

    def checked(self, value: Any) -> Any:
        """Return a value in the option's own type, with numbers of other libraries as plain ones.

        Raises:
            UsageError: it is of another type, out of range, or none of the words; the option is named as it is typed.
        """
        if value is None and self.optional:
            return None
        if self.convert is not None:
            value = self.convert(value)
        if self.many:
            if not isinstance(value, (list, tuple)):
                raise self._mistyped(value)
            return tuple(replace(self, many=False, convert=None).checked(each) for each in value)
        if self.kind in (int, float):
            if isinstance(value, str) and value in self.values:
                return value
            return self._number(value)
        if self.kind in _KINDS and not isinstance(value, self.kind):
            raise self._mistyped(value)
        if self.values and value not in self.values and not (self.others is not None and self.others(value)):
            raise self._wrong(f"{value} is not understood", self.advice or f"Use {either(self.values)}.")
        return value

    def _number(self, given: Any) -> float:
        allowed: Any = numbers.Integral if self.kind is int else numbers.Real
        if isinstance(given, bool) or not isinstance(given, allowed):
            raise self._mistyped(given)
        value: float = given if isinstance(given, (int, float)) else self.kind(given)
        shown = f"{value:g}" if isinstance(value, float) else str(value)
        if isinstance(value, float) and not math.isfinite(value):
            raise self._wrong(f"{shown} is no number that can be used", self._range())
        if self.least is not None and self.most is not None and not self.least <= value <= self.most:
            raise self._wrong(f"{shown} is outside its range", self._range())
        if (self.least is not None and value < self.least) or (self.above is not None and value <= self.above):
            raise self._wrong(f"{shown} is too small", self._range())
        if self.most is not None and value > self.most:
            raise self._wrong(f"{shown} is too large", self._range())
        return value

    def _range(self) -> str:
        """Return which numbers are possible, as advice; "" where all are."""
        if self.above is not None:
            return f"Use a number above {self.above:g}, for example --{self.long} {self.default:g}."
        if self.least is not None and self.most is not None:
            return f"Use {self.least} to {self.most}."
        if self.least is not None:
            return f"Use at least {self.least}."
        return f"Use at most {self.most}." if self.most is not None else ""

    def _wrong(self, what: str, advice: str) -> OptionValueError:
        return OptionValueError(self.name, f"--{self.long} {what}.", advice or None)

    def _mistyped(self, value: Any) -> OptionTypeError:
        """Return the error about a value of another type, which says how to write it where that can be told."""
        advice = self.advice if self.values and self.kind is str else self._range()
        with suppress(OptionValueError):
            if (meant := meant_by(value, self.kind)) is not None:
                advice = f"Write it as {self.name}={self.checked(meant)!r}."
        return OptionTypeError(self.name, f"--{self.long} must be {_KINDS[self.kind]}, not {value!r}.", advice or None)


def option(default: T, *, help: str, panel: str, **more: Any) -> T:
    """Declare a field of a dataclass as an option.

    Args:
        default: its value when nobody says anything; a switch that is on by default gets a `--no-` form.
        help: its line on the help page.
        panel: the group that it is shown in.
        more: other attributes of `Option`.
    """
    return field(default=default, metadata={"option": Option(help, panel, default=default, **more)})


def declared(owner: type) -> Mapping[str, Option]:
    """Return the options that a dataclass declares, by field, in their order."""
    return _declared(typing.cast(Any, owner))


@cache
def _declared(owner: type) -> Mapping[str, Option]:
    hints = typing.get_type_hints(owner)
    found = {}
    for each in fields(owner):
        if "option" in each.metadata:
            kind, optional, many = _plain(hints[each.name])
            said = {"name": each.name, "kind": kind, "optional": optional, "many": many}
            found[each.name] = replace(each.metadata["option"], **said)
    return types.MappingProxyType(found)


def _plain(hint: Any) -> tuple[type, bool, bool]:
    """Return the type behind "X", "X | None" or "tuple[X, ...]", whether None is allowed, and whether it is a tuple."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        inner = [each for each in typing.get_args(hint) if each is not types.NoneType]
        return inner[0], True, False
    if typing.get_origin(hint) is tuple:
        return typing.get_args(hint)[0], False, True
    return hint, False, False
