"""What options and arguments a command has, read from the signature of its function.

The commands that Typer makes of the functions know it too, but their attributes change from version to version.
"""

from __future__ import annotations

import importlib
import inspect
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from typer.models import ArgumentInfo, OptionInfo, ParameterInfo
from typer.utils import get_params_from_function


@dataclass(frozen=True)
class Parameter:
    """An option or an argument of a command.

    Attributes:
        name: of the function's parameter.
        flags: what switches it on or sets it, "-o" and "--out"; empty for an argument.
        negative: what switches it off: "--no-match-color".
        kind: bool, int, float, str or Path.
        many: whether it takes several values.
        default: None also where there is none.
        help: its line on the help page.
        hidden: whether the help page leaves it out.
        instant: whether it acts at once and sets nothing, as --version does.
    """

    name: str
    flags: tuple[str, ...]
    negative: tuple[str, ...]
    kind: type
    many: bool
    default: Any
    help: str
    hidden: bool
    instant: bool

    @property
    def long(self) -> str:
        """The long name of an option without its dashes, or the name of an argument."""
        return next((flag[2:] for flag in self.flags if flag.startswith("--")), self.name)

    @property
    def takes_value(self) -> bool:
        """Whether a word follows the flag."""
        return bool(self.flags) and self.kind is not bool


def parameters(function: Callable[..., Any]) -> list[Parameter]:
    """Return the options and arguments of a command's function, in their order."""
    found = []
    for name, given in get_params_from_function(inspect.unwrap(function)).items():
        if isinstance(given.annotation, type) and issubclass(given.annotation, typer.Context):
            continue
        info, default = given.default, None
        if not isinstance(info, ParameterInfo):  # as Typer takes a plain parameter: with a default it is an option
            info, default = (ArgumentInfo(), None) if info is given.empty else (OptionInfo(), info)
        elif info.default is not ...:
            default = info.default
        kind, many = _kind(given.annotation)
        flags, negative = _flags(name, kind, info)
        found.append(
            Parameter(
                name=name,
                flags=flags,
                negative=negative,
                kind=kind,
                many=many,
                default=default,
                help=info.help or "",
                hidden=bool(info.hidden),
                instant=bool(info.is_eager),
            )
        )
    return found


def functions(command: str) -> dict[str, Callable[..., Any]]:
    """Return the functions of a command's module by the name of their subcommand."""
    app: typer.Typer = importlib.import_module(f"restorer.cli.{command}").app
    found = {}
    for info in app.registered_commands:
        assert info.callback is not None
        found[info.name or info.callback.__name__.replace("_", "-")] = info.callback
    return found


def _kind(hint: Any) -> tuple[type, bool]:
    """Return the plain type of a parameter, and whether it takes several values."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return _kind(next(each for each in typing.get_args(hint) if each is not types.NoneType))
    if origin is list:
        return _kind(typing.get_args(hint)[0])[0], True
    return (hint if hint in (bool, int, float, Path) else str), False


def _flags(name: str, kind: type, info: ParameterInfo) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the flags of an option, as Typer makes them where none are written down."""
    if isinstance(info, ArgumentInfo):
        return (), ()
    assert isinstance(info, OptionInfo)
    written = [each for each in info.param_decls or () if each.startswith("-")]
    if not written:
        plain = "--" + name.replace("_", "-")
        return (plain,), ((f"--no-{plain[2:]}",) if kind is bool else ())
    flags = [each.partition("/")[0].strip() for each in written]
    negative = [each.partition("/")[2].strip() for each in written]
    return tuple(flag for flag in flags if flag), tuple(flag for flag in negative if flag)
