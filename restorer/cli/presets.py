"""`--preset NAME`: a named set of options in a file, shipped with the program or a user's own.

A preset is written like restore.toml. One of the user's, `presets/NAME.toml` in the settings folder, takes the place of
a shipped one of the same name. What is typed wins over a preset. One that is typed wins over restore.toml; one that
restore.toml names fills what that file leaves open.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path

from restorer.cli import restore_toml as config
from restorer.cli.restore_toml import Option, Setting
from restorer.errors import UsageError
from restorer.formatting import either, nearest
from restorer.storage.folders import config_folder

KEY = "preset"


def folders() -> list[Path]:
    """Return the folders of presets; a later one wins."""
    return [Path(str(resources.files("restorer").joinpath("data", "presets"))), config_folder() / "presets"]


def names() -> list[str]:
    """Return the names of all presets, sorted."""
    return sorted({path.stem for folder in folders() for path in folder.glob("*.toml")})


def load(name: str, options: Iterable[Option]) -> dict[str, Setting]:
    """Return what a preset sets, by the long names of options.

    Args:
        name: of the preset.
        options: those that there are.

    Raises:
        UsageError: there is no preset of that name, or its file is wrong.
    """
    path = next((folder / f"{name}.toml" for folder in reversed(folders()) if name in _stems(folder)), None)
    if path is None:
        near = nearest(name, names())
        hint = f"Did you mean {near[0]}?" if near else f"Use {either(names())}"
        raise UsageError(
            f"--preset {name}: there is no preset of that name.", f"{hint} Your own stand in {folders()[-1]}."
        )
    return config.read(path, [option for option in options if option.name != KEY])


def under(settings: Mapping[str, Setting], options: Sequence[Option], typed: Sequence[str]) -> dict[str, Setting]:
    """Return the settings of a run with its preset's among them.

    Args:
        settings: those of restore.toml.
        options: all that there are.
        typed: the arguments of the command.

    Raises:
        UsageError: there is no preset of that name, or its file is wrong.
    """
    name = _typed(typed)
    if name is not None:
        return {**settings, **load(name, options)}
    if KEY in settings:
        return {**load(settings[KEY].value, options), **settings}
    return dict(settings)


def _stems(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("*.toml")}


def _typed(arguments: Sequence[str]) -> str | None:
    """Return the preset that was typed last; None where none was."""
    found = None
    for i, argument in enumerate(arguments):
        if argument == "--":
            break
        if argument.startswith(f"--{KEY}="):
            found = argument.partition("=")[2]
        elif argument == f"--{KEY}" and i + 1 < len(arguments):
            found = arguments[i + 1]
    return found
