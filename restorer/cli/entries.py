"""What a help page tells of a command's options and arguments: the manual page and `--help` read it here."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.models import OptionInfo, ParameterInfo
from typer.utils import get_params_from_function

from restorer.cli.signatures import Parameter, parameters

METAVARS: dict[type, str] = {Path: "FILE", int: "NUMBER", float: "NUMBER"}
"""What stands for a value whose option does not say it."""


@dataclass(frozen=True)
class Entry:
    """An option or argument with what a page tells of it beyond `Parameter`: its group, value and limits."""

    parameter: Parameter
    panel: str
    value: str
    limits: str

    @property
    def flags(self) -> list[str]:
        """What is typed, the short form first, as people read it; empty for an argument."""
        return [*sorted(self.parameter.flags, key=len), *self.parameter.negative]

    @property
    def default(self) -> str:
        """Its default as it is typed; "" where it is nothing, or a switch that is off."""
        parameter, value = self.parameter, self.parameter.default
        if value in (None, ()) or not parameter.flags:
            return ""
        if parameter.kind is bool:
            return (parameter.flags[0] if value else parameter.negative[0]) if parameter.negative else ""
        return f"{value:g}" if isinstance(value, float) else str(value)


def entries(function: Callable[..., Any]) -> list[Entry]:
    """Return what a command takes, in the order of its signature; what its help page hides is left out."""
    infos = {name: given.default for name, given in get_params_from_function(inspect.unwrap(function)).items()}
    return [
        _entry(each, infos[each.name] if isinstance(infos[each.name], ParameterInfo) else None)
        for each in parameters(function)
        if not each.hidden
    ]


def groups(found: Iterable[Entry]) -> dict[str, list[Entry]]:
    """Return options by their group, in the order in which groups first appear; arguments are no options."""
    made: dict[str, list[Entry]] = {}
    for each in found:
        if each.parameter.flags:
            made.setdefault(each.panel, []).append(each)
    return made


def _entry(parameter: Parameter, info: ParameterInfo | None) -> Entry:
    plain = METAVARS.get(parameter.kind, parameter.long.upper().replace("-", "_"))
    value = (info.metavar if info else None) or plain
    limits = ""
    if info is not None and (info.min is not None or info.max is not None):
        limits = f"From {info.min:g}" if info.min is not None else ""
        limits += f"{' to' if limits else 'Up to'} {info.max:g}" if info.max is not None else " on"
    panel = getattr(info, "rich_help_panel", None) if isinstance(info, OptionInfo) else None
    return Entry(parameter, panel or "Options", value, limits)
