"""Commands made from declared options: what `restorer.options.option` says of a field becomes typer's parameter.

    @app.command()
    @from_declarations
    def restore(photos: Annotated[...], *, request: PhotosRequest, options: Options) -> None: ...

A parameter whose type is a dataclass of declared options stands for all of them; the others are typer's as usual.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterable
from functools import cache
from typing import Annotated, Any

import typer
from typer.models import ParameterInfo

from restorer.cli.signatures import Parameter
from restorer.formatting import either
from restorer.options import BACKGROUND, FACES, FILES, PICTURE, PRINT, RUN, Option, Options, declared

PANELS = (FILES, PICTURE, PRINT, FACES, BACKGROUND, RUN)
"""The groups of the help page in their order."""

FORMATS = "picture format"
"""The role whose names are no tables of weights."""
CLEANERS = "cleaner"
"""The role of those upscalers that enlarge nothing."""


# ------------------------------------------------------------------------------------------------ what a field gives


@cache
def names_of(role: str) -> tuple[str, ...]:
    """Return the names that a role has here; no weights are opened for it, and torch is not loaded."""
    if role == FORMATS:
        from restorer.photo import format_requests

        return format_requests()
    from restorer import weights
    from restorer.models import REGISTRY

    # What no source has must be brought along: it is no name that works as it stands.
    known = (table for table in weights.tables().values() if table.sources)
    if role == CLEANERS:
        return tuple(table.name for table in known if REGISTRY.enlarges_nothing(table) and not table.builtin)
    return tuple(table.name for table in known if REGISTRY.architecture_of(table).role == role)


@cache
def names_with(control: str) -> tuple[str, ...]:
    """Return the names of face restorers that have a control; no weights are opened for it."""
    from restorer import weights
    from restorer.models import REGISTRY
    from restorer.models.base import FaceArchitecture

    found = []
    for table in weights.tables().values():
        architecture = REGISTRY.get(table.architecture)
        if isinstance(architecture, FaceArchitecture) and control in architecture.controls:
            found.append(table.name)
    return tuple(found)


def help_of(option: Option) -> str:
    """Return the help line of an option with the names of its role, or of the models that have its control."""
    if "{names}" not in option.help:
        return option.help
    if option.control is not None:
        return option.help.replace("{names}", either(names_with(option.control) or ("models that have it",)))
    return option.help.replace("{names}", ", ".join(names_of(option.role))) if option.role else option.help


def flags_of(option: Option) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what sets an option, and what switches it off: only what is on by default needs that."""
    flags = option.flags or (f"--{option.long}",)
    return flags, (f"--no-{option.long}",) if option.kind is bool and option.default else ()


def parameters(owners: Iterable[type]) -> list[Parameter]:
    """Return the options of some dataclasses in the order of the help page, without looking up any names."""
    found = [each for owner in owners for each in declared(owner).values()]
    found.sort(key=lambda each: PANELS.index(each.panel))
    made = []
    for each in found:
        flags, negative = flags_of(each)
        made.append(
            Parameter(
                each.name, flags, negative, each.kind, each.many, each.default, each.help, hidden=False, instant=False
            )
        )
    return made


def typed(option: Option, help: str | None = None, panel: str | None = None) -> Any:
    """Return what typer wants to know of an option."""
    flags, negative = flags_of(option)
    words = ("/".join((flags[0], *negative)), *flags[1:])
    metavar = option.metavar or ("NAME" if option.role and option.kind is str else None)
    return typer.Option(
        *words,
        help=help or help_of(option),
        metavar=metavar,
        parser=option.parse,
        rich_help_panel=panel,
        hidden=option.control is not None and not names_with(option.control),
    )


def shared(name: str, help: str | None = None) -> Any:
    """Return an option of a restoration for another command, which has no groups.

    Args:
        name: the field of `Options`.
        help: its line there, where that is another.
    """
    return typed(declared(Options)[name], help)


# ---------------------------------------------------------------------------------------------------------- commands


def from_declarations(function: Callable[..., None]) -> Callable[..., None]:
    """Return a function with an option of typer's for each field that the parameters of the given one declare."""
    hints = typing.get_type_hints(function, include_extras=True)
    groups: dict[str, type] = {}
    found: list[tuple[str, inspect.Parameter]] = []
    for name, own in inspect.signature(function).parameters.items():
        if isinstance(hints[name], type) and declares(hints[name]):
            groups[name] = hints[name]
            kinds: dict[str, Any] = typing.get_type_hints(hints[name])
            for field, option in declared(hints[name]).items():
                kind = list[option.kind] | None if option.many else kinds[field]  # type: ignore[name-defined]
                if option.values and option.kind is not str:  # a word in the place of a number, which `parse` reads
                    kind = option.kind | None
                hint: Any = Annotated[kind, typed(option, panel=option.panel)]
                found.append((option.panel, _parameter(field, option.default, hint)))
        else:
            found.append((_panel_of(hints[name]), _parameter(name, own.default, hints[name])))
    found.sort(key=lambda pair: PANELS.index(pair[0]) if pair[0] in PANELS else -1)  # arguments first

    def command(**given: Any) -> None:
        for name, owner in groups.items():
            options = declared(owner)
            taken = {field: given.pop(field) for field in options}
            given[name] = owner(**{each: tuple(at or ()) if options[each].many else at for each, at in taken.items()})
        function(**given)

    made = [parameter for _panel, parameter in found]
    command.__signature__ = inspect.Signature(made)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in made}
    command.__name__, command.__doc__, command.__module__ = function.__name__, function.__doc__, function.__module__
    return command


def declares(owner: type) -> bool:
    """Tell whether a class is a dataclass with declared options."""
    return hasattr(owner, "__dataclass_fields__") and bool(declared(owner))


def _parameter(name: str, default: Any, hint: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)


def _panel_of(hint: Any) -> str:
    """Return the group of a parameter that is written out for typer; "" where it has none."""
    infos = [each for each in getattr(hint, "__metadata__", ()) if isinstance(each, ParameterInfo)]
    return str(getattr(infos[0], "rich_help_panel", None) or "") if infos else ""
