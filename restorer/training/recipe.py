"""Recipes: TOML files that hold every number of a training.

A recipe's first line says what it trains (`recipe = "prior"`); the trainer of that kind owns the tables and their
defaults, and a key that it does not know is an error, so that a slip of the pen never trains the wrong thing.
"""

from __future__ import annotations

import copy
import difflib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from restorer.errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Values = dict[str, Any]


@dataclass(frozen=True)
class Recipe:
    """A recipe as written.

    Attributes:
        kind: what it trains: prior, glean, ...
        name: name of the result.
        seed: everything random in the training follows from it.
        values: the tables, not yet completed by the trainer's defaults.
        folder: paths in the recipe are relative to it.
        text: the file's text, kept beside the result.
    """

    kind: str
    name: str
    seed: int
    values: Values
    folder: Path
    text: str

    def path(self, value: str) -> Path:
        """Return a path of the recipe, relative ones below the recipe's own folder."""
        return (self.folder / Path(value).expanduser()).resolve()

    def complete(self, defaults: Mapping[str, Any]) -> Values:
        """Return the values with the defaults where the recipe is silent.

        Raises:
            UsageError: a key is unknown, or its value is not of the default's kind.
        """
        return _merge(defaults, self.values, self.name, "")


def recipe_names() -> list[str]:
    """Return the names of the recipes inside the package."""
    folder = resources.files("restorer.training") / "recipes"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_recipe(recipe: str | Path) -> Recipe:
    """Read a recipe by its path, or by the name of one inside the package.

    Raises:
        UsageError: there is no such file, it is no TOML, or it does not say what it trains.
    """
    path = Path(recipe).expanduser()
    if path.is_file():
        text, folder = path.read_text(encoding="utf-8"), path.resolve().parent
    elif str(recipe) in recipe_names():
        text = (resources.files("restorer.training") / "recipes" / f"{recipe}.toml").read_text(encoding="utf-8")
        folder = Path.cwd()
    else:
        near = difflib.get_close_matches(str(recipe), recipe_names(), 1)
        raise UsageError(
            f"There is no recipe {str(recipe)!r}: neither a file nor one inside the package.",
            f"Did you mean {near[0]!r}?" if near else f"Give a TOML file, or one of: {', '.join(recipe_names())}.",
        )
    return parse_recipe(text, folder, str(recipe))


def parse_recipe(text: str, folder: Path, label: str) -> Recipe:
    """Parse a recipe's text; `label` names it in errors. Raises `UsageError` as `load_recipe` does."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"The recipe {label} is no TOML: {error}.", "Correct that line.") from error
    kind, name, seed = values.pop("recipe", None), values.pop("name", None), values.pop("seed", 0)
    if not isinstance(kind, str) or not isinstance(name, str) or not isinstance(seed, int):
        raise UsageError(
            f"The recipe {label} lacks its head.",
            'Begin it with recipe = "prior" (or another kind), name = "..." and seed = 0.',
        )
    return Recipe(kind, name, seed, values, folder, text)


def _merge(defaults: Mapping[str, Any], given: Mapping[str, Any], recipe: str, above: str) -> Values:
    merged = copy.deepcopy(dict(defaults))
    for key, value in given.items():
        where = f"{above}{key}"
        if key not in defaults:
            near = difflib.get_close_matches(key, defaults, 1)
            raise UsageError(
                f"The recipe {recipe!r} sets {where}, which is unknown.",
                f"Did you mean {above}{near[0]}?" if near else f"Known here: {', '.join(defaults)}.",
            )
        default = defaults[key]
        if isinstance(default, Mapping):
            if not isinstance(value, Mapping):
                raise UsageError(f"The recipe {recipe!r} gives {where} as {value!r}.", "It has to be a table.")
            # An empty default table is free in its keys: the arguments of a network.
            merged[key] = _merge(default, value, recipe, f"{where}.") if default else dict(value)
        elif default is not None and not _fits(value, default):
            kind = type(default).__name__
            raise UsageError(f"The recipe {recipe!r} gives {where} as {value!r}.", f"It has to be of kind {kind}.")
        else:
            merged[key] = float(value) if isinstance(default, float) else value
    return merged


def _fits(value: object, default: object) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, float):
        return isinstance(value, (int, float))
    return isinstance(value, type(default))
