"""restore.toml: options that hold for every run in a folder, or for every run of a user.

The file of the working folder wins over the one in the user's settings folder, and the command line over both. Keys
are the long names of the options of `restore PHOTO`, at the top of the file:

    model = "gfpgan-1.4"
    min-face = 40
    match-color = false

The working folder may be somebody else's: an archive that was unpacked, a memory card. Its file may say how photos are
restored, and nothing that is written may leave the folder by what it says.
"""

from __future__ import annotations

import difflib
import stat
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from restorer.errors import UsageError
from restorer.storage.folders import config_folder

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE = "restore.toml"
_LARGEST = 2**15  # bytes

_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", Path: "a path as a text"}
_EXAMPLES = {bool: "true", int: "4", float: "2.5", str: '"..."', Path: '"folder/name"'}


@dataclass(frozen=True)
class Option:
    """An option that a file may set.

    Attributes:
        name: the long name, without its dashes.
        kind: bool, int, float, str or Path.
        many: whether it may be given several times; the file then holds a list.
        words: texts that are values too, where it is a number.
        written: whether it names a file or folder that is written.
        own: whether only the user's own file may set it.
    """

    name: str
    kind: type
    many: bool = False
    words: tuple[str, ...] = ()
    written: bool = False
    own: bool = False


@dataclass(frozen=True)
class Setting:
    """What a file says about one option: the value in the option's own type, and the file."""

    value: Any
    origin: Path


def places(folder: Path | None = None) -> list[Path]:
    """Return the files that count, whether they are there or not; a later one wins.

    Args:
        folder: the working folder; None = the current one.
    """
    own, here = config_folder() / FILE, (folder or Path.cwd()) / FILE
    return [here] if own.absolute() == here.absolute() else [own, here]


def load(options: Iterable[Option], folder: Path | None = None) -> dict[str, Setting]:
    """Return what the files say, by option name, each with the file that it comes from.

    Args:
        options: those that there are.
        folder: the working folder; None = the current one.

    Raises:
        UsageError: a file cannot be read, or has a key that is no option, or a value of another type; or the working
            folder's file names a place outside of it that would be written, or sets what only the user's own may.
            File and key are named.
    """
    known = list(options)
    settings: dict[str, Setting] = {}
    for path in places(folder):
        found = read(path, known)
        if path.parent.absolute() != config_folder().absolute():
            for option in known:
                if option.written and option.name in found:
                    _stay_inside(path, option.name, found[option.name].value)
                elif option.kind is Path and option.name in found:
                    _be_a_file(path, option.name, found[option.name].value)
                if option.own and option.name in found:
                    raise _not_here(path, option.name, found[option.name].value)
        settings |= found
    return settings


def read(path: Path, options: Iterable[Option]) -> dict[str, Setting]:
    """Return what one file says, by option name; nothing when it is not there. Raises `UsageError` as `load` does."""
    known = {option.name: option for option in options}
    settings = {}
    for key, value in _read(path).items():
        if key not in known:
            raise _unknown(path, key, value, known)
        settings[key] = Setting(_converted(path, known[key], value), path)
    return settings


def _stay_inside(path: Path, name: str, value: Path) -> None:
    """Raise `UsageError` where a place lies outside of the folder of the file that names it, also by way of links."""
    folder = path.parent.resolve()
    try:
        inside = (folder / value).resolve().is_relative_to(folder)
    except (RuntimeError, OSError):  # links that lead in a circle, which cannot be told from any others
        inside = False
    if not inside:
        raise UsageError(
            f"{path} sets {name} to {value}, which is outside of its folder.",
            f"A folder's file may come from anybody, so it names places in its folder only. Type --{name} {value}, or "
            f"write it into {config_folder() / FILE}.",
        )


def _be_a_file(path: Path, name: str, value: Path) -> None:
    """Raise `UsageError` where a file that is to be read is a pipe or a device, which would be waited for."""
    place = path.parent / value
    if place.exists() and not place.is_file():
        raise UsageError(f"{path} sets {name} to {value}, which is no file.", f"Name a file, or type --{name} {value}.")


def _not_here(path: Path, name: str, value: Any) -> UsageError:
    """Return the error for an option that a folder's file must not set."""
    typed = f"--{name}" if isinstance(value, bool) else f"--{name} {value}"
    return UsageError(
        f"{path} sets {name}, which a folder's file must not: it may come from anybody.",
        f"Take {name} out of it. Type {typed} where you want it, or write it into {config_folder() / FILE}.",
    )


def _read(path: Path) -> dict[str, Any]:
    """Return what stands in a file; nothing when it is not there."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            raise UsageError(f"{path} is no file: a pipe, or a device, has no end.", "Remove it.")
        if status.st_size > _LARGEST:  # what takes the parser minutes is none of anybody's settings
            raise UsageError(f"{path} is larger than any settings are.", "Look at what it holds.")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8: {error.reason}.", "Save it as UTF-8.") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.", "Repair it, or remove it.") from error
    except (ValueError, RecursionError) as error:  # also numbers, and lists in lists, without end
        raise UsageError(
            f"{path} is not valid TOML: {error}.", "A line looks like: scale = 4; texts stand in quotes."
        ) from error


def _unknown(path: Path, key: str, value: Any, known: Iterable[str]) -> UsageError:
    """Return the error about a key that is no option."""
    if isinstance(value, dict):
        return UsageError(
            f"{path} has a section [{key}], and restore.toml has none.", "Let all options stand at the top of the file."
        )
    near = difflib.get_close_matches(key.strip("-").replace("_", "-").lower(), known, n=2, cutoff=0.6)
    hint = f"Did you mean {' or '.join(near)}? " if near else ""
    return UsageError(
        f"{path} sets {key!r}, which is no option.",
        f"{hint}Keys are the long options of `restore --help` without their dashes; `restore config` lists them.",
    )


def _converted(path: Path, option: Option, value: Any) -> Any:
    """Return a value in its option's type; raises `UsageError` where that would be a guess."""
    if option.many:
        if isinstance(value, list):
            return [_single(path, option, item) for item in value]
        return [_single(path, option, value)]
    return _single(path, option, value)


def _place(path: Path, name: str, value: str) -> Path:
    """Return a place with the home folder in it; raises `UsageError` where nothing can be called so."""
    try:
        if "\0" in value:
            raise RuntimeError("No name holds a zero byte")
        return Path(value).expanduser()
    except RuntimeError as error:  # ~ of somebody who is not here
        raise UsageError(
            f"{path} sets {name} to {value!r}, which is no place: {error}.".replace("..", "."), "Write another one."
        ) from error


def _single(path: Path, option: Option, value: Any) -> Any:
    kind = option.kind
    if kind is float and type(value) is int:
        return float(value)
    if kind is Path and isinstance(value, str):
        return _place(path, option.name, value)
    if type(value) is kind or (isinstance(value, str) and value in option.words):
        return value
    shown = {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)
    raise UsageError(
        f"{path}: {option.name} must be {_WORDS[kind]}, not {shown}.",
        f"Write it as: {option.name} = {_example(option, value)}",
    )


def _example(option: Option, value: Any) -> str:
    """Return how a value should have been written: what was meant, where that can be told."""
    if option.kind is str and isinstance(value, (int, float)) and not isinstance(value, bool):
        return f'"{value}"'
    if isinstance(value, str):
        text = value.strip()
        if option.kind is bool and text.lower() in ("true", "false"):
            return text.lower()
        if option.kind in (int, float):
            try:
                return str(option.kind(text))
            except ValueError:
                pass
    return _EXAMPLES[option.kind]
