"""The options of a photo as a page and a program meet them: described as data, read from texts, typed as a command."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping
from typing import Any

from restorer import weights
from restorer.errors import UnknownOptionError, UsageError
from restorer.formatting import nearest
from restorer.models import REGISTRY
from restorer.models.base import FaceArchitecture
from restorer.options import Option, Options, declared
from restorer.photo import format_requests, requested_format
from restorer.pipeline import printed

PICTURE_FORMATS = "picture format"
"""The role whose names are no tables of weights."""
CLEANERS = "cleaner"
"""The role of those upscalers that enlarge nothing."""
PLACES = frozenset({"FILE", "FOLDER", "PATH"})
"""What stands for the value of an option that names a place on the disk."""
MORE_FILES = frozenset({"variants", "save_mask"})
"""Options that make more files than one of a photo, which no answer of a server holds."""
ITS_OWN = frozenset({"engine"})
"""Options that are the server's although they decide: a network that is new to an engine takes minutes and disk."""


def offered() -> Mapping[str, Option]:
    """Return the options that a request may set, by name.

    Those that say how the work is done, not what comes of it, are the server's; and none may name a file of the machine
    that it runs on.
    """
    return {
        name: option
        for name, option in declared(Options).items()
        if option.decides and option.metavar not in PLACES and name not in MORE_FILES | ITS_OWN
    }


def described(base: Options) -> list[dict[str, Any]]:
    """Return the options as data, from which a page makes its switches.

    Args:
        base: what holds where a request says nothing.
    """
    return [_described(option, getattr(base, name)) for name, option in offered().items()]


def _described(option: Option, value: Any) -> dict[str, Any]:
    names = names_of(option)
    kind = {bool: "switch", int: "whole number", float: "number"}.get(option.kind, "text")
    if (option.values or names) and option.kind is str:
        kind = "choice" if option.others is None else "text"
    return {
        "name": option.name,
        "flag": f"--{option.long}",
        "kind": kind,
        "group": option.panel,
        "help": option.help.replace("{names}", ", ".join(names)),
        "default": value,
        "optional": option.optional,
        "least": option.least if option.above is None else option.above,
        "above": option.above is not None,
        "most": option.most,
        "values": list(option.values) or [*(word for word, _meaning in option.words), *names],
        "controls": {name: list(_controls(name)) for name in names} if option.role == "face restorer" else {},
    }


def names_of(option: Option) -> list[str]:
    """Return the names that an option's role has here; none where it has no role."""
    if option.role is None:
        return []
    if option.role == PICTURE_FORMATS:
        return list(format_requests())
    found = (table for table in weights.tables().values() if table.sources)
    if option.role == CLEANERS:
        return [table.name for table in found if REGISTRY.enlarges_nothing(table) and not table.builtin]
    return [table.name for table in found if REGISTRY.architecture_of(table).role in _roles(option)]


def _controls(name: str) -> tuple[str, ...]:
    architecture = REGISTRY.architecture_of(weights.tables()[name])
    return architecture.controls if isinstance(architecture, FaceArchitecture) else ()


def models_at_hand() -> list[str]:
    """Return the face restorers that can be tried without a download."""
    from restorer.report import trial

    return trial.at_hand()


def offered_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of some options that a request may set."""
    return {name: value for name, value in values.items() if name in offered()}


# ----------------------------------------------------------------------------------------------------------- reading


def read(base: Options, given: Mapping[str, Any]) -> Options:
    """Return the options of a request.

    Args:
        base: what holds where it says nothing.
        given: values by option, as texts ("2,5", "true") or as JSON has them; dashes count as underscores, and an empty
            text leaves an option as it is.

    Raises:
        UnknownOptionError: there is no such option, or none that a request may set.
        UsageError: a value is none of that option, or names a file.
    """
    values: dict[str, Any] = {}
    for key, value in given.items():
        name = key.replace("-", "_")
        if name not in offered():
            raise _unknown(key)
        if value is not None and value != "":
            values[name] = _value(offered()[name], value)
        elif value is None and offered()[name].optional:
            values[name] = None
    return Options.of(**{**base.values(), **values})


def _unknown(key: str) -> UnknownOptionError:
    near = nearest(key.replace("-", "_"), offered())
    remedy = f"Did you mean {near[0]}?" if near else f"Use one of {', '.join(offered())}."
    if key.replace("-", "_") in declared(Options):
        remedy = "Whoever starts the server sets it, or it names a file, which a request cannot."
    return UnknownOptionError(key, f"A request cannot set {key!r}.", remedy)


def _value(option: Option, value: Any) -> Any:
    if option.many:
        several = value.split(";") if isinstance(value, str) else list(value)
        return option.checked(tuple(_typed(option, each) if isinstance(each, str) else each for each in several))
    if isinstance(value, str):
        value = value.strip()
        if option.kind is not str:
            value = _typed(option, value)
    if option.kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)  # as the command line has it, so that results say the same of how they were made
    if (option.files or option.role not in (None, PICTURE_FORMATS)) and isinstance(value, str):
        known = {*(word for word, _meaning in option.words), *names_of(option), *_aliases(option)}
        named = [part.strip() for part in value.split(",")] if option.role == printed.FINDER else [value]
        unknown = [part for part in named if part not in known]
        if unknown:
            near = nearest(unknown[0], known)
            remedy = f"Did you mean {near[0]}?" if near else f"Use one of {', '.join(sorted(known))}."
            raise UsageError(f"--{option.long} {value} is no name that is known here.", remedy)
    if option.role == PICTURE_FORMATS and isinstance(value, str):
        requested_format(value)  # an unknown one is refused here, not by the photo
    return option.checked(value)


def _typed(option: Option, text: str) -> Any:
    """Return the value that a text stands for; texts that stand for none are refused by `Option.checked`."""
    from restorer.formatting import meant_by

    if option.parse is not None:
        return option.parse(text)
    meant = meant_by(text, option.kind)
    return text if meant is None else meant


def _roles(option: Option) -> tuple[str | None, ...]:
    """Return the roles whose names an option takes: what mends prints has two."""
    return (printed.FINDER, printed.FILLER) if option.role == printed.FINDER else (option.role,)


def _aliases(option: Option) -> list[str]:
    found = (table for table in weights.tables().values() if REGISTRY.architecture_of(table).role in _roles(option))
    return [alias for table in found for alias in table.aliases]


# ------------------------------------------------------------------------------------------------------------ typing


def command(name: str, options: Options, base: Options) -> str:
    """Return the command line that does the same to a photo: `restore a.jpg --scale 4`.

    Args:
        name: of the photo's file.
        options: what is done to it.
        base: what holds on this machine where nothing is typed, as far as that is known.
    """
    words = ["restore", name if not name.startswith("-") else f"./{name}"]
    for field, option in declared(Options).items():
        value = getattr(options, field)
        if field == "damage" and value is not None:
            value = os.path.basename(value)  # noqa: PTH119 - whoever types it has the drawing beside the photo
        if value == option.default and value == getattr(base, field):
            continue
        if value is None:
            continue
        if option.many:
            words += [word for each in value for word in (f"--{option.long}", str(each))]
        elif isinstance(value, bool):
            words.append(f"--{option.long}" if value else f"--no-{option.long}")
        else:
            words += [f"--{option.long}", f"{value:g}" if isinstance(value, float) else str(value)]
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)
