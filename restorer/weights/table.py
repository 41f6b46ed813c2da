"""weights.toml: which checkpoints there are. Data only; nothing here reaches for a file's content or the network."""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from restorer.errors import InvalidTableError, UnknownTableError
from restorer.storage.folders import config_folder
from restorer.weights import native_file
from restorer.weights.sources import Source
from restorer.weights.sources import parse as parse_source

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CHECKPOINT_SUFFIXES = frozenset({".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".pkl"})
_TEXTS = ("license", "trained_for", "acknowledge", "prior", "mapping")


@dataclass(frozen=True)
class Table:
    """One checkpoint: what it is, where it comes from, and how it is told from every other file.

    Attributes:
        name: as `--model`, `--detector` and `restore models` take it.
        architecture: an entry of `restorer.models.registry`.
        arguments: the architecture's arguments that differ from the official ones.
        sources: tried in order, as texts; all must match the hash. Empty where only the user can supply the file.
        sha256: of the file, 64 digits; None where only a prefix is known.
        sha256_prefix: the first digits, where upstream publishes no more.
        payload_sha256: of a file of our own (`restorer.weights.native_file`), which carries the hash of its tensors.
        size: bytes of the file.
        at_least: where that is not known, the bytes of the network alone, than which the file is not smaller.
        license: as stated by whoever publishes the file.
        commercial: whether that allows commercial use without doubt; None = nobody has said so.
        trained_for: what it is good for, in a few words.
        aliases: other names for it.
        acknowledge: a sentence that the user must accept before a download, where no licence grants the use.
        builtin: whether the file is part of the package, and takes the place of what "auto" cannot have.
        auto: when "auto" takes it for its role: `from_scale`, `below_scale`, `above_scale`, `up_to_scale`, and
            `device`, "cpu" or "gpu", and `license`, "commercial" = only where that is asked for; {} = always, None =
            never.
        mask: of a face restorer, which mask goes with it: "landmarks", or None for a face parser's.
        tasks: of a face restorer, what it was trained for beside or instead of restoring, as `--task` names it.
        prior: of a search, the table of the prior that it searches; sources, hash and size are then that table's.
        mapping: of a StyleGAN1, the table of its mapping network.
        origin: the weights.toml that holds the table, or the file itself.
        replaces_shipped: whether a user's table took the place of a shipped one.
    """

    name: str
    architecture: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    sha256: str | None = None
    sha256_prefix: str | None = None
    payload_sha256: str | None = None
    size: int | None = None
    at_least: int | None = None
    license: str | None = None
    commercial: bool | None = None
    trained_for: str | None = None
    aliases: tuple[str, ...] = ()
    acknowledge: str | None = None
    builtin: bool = False
    auto: Mapping[str, Any] | None = None
    mask: str | None = None
    tasks: tuple[str, ...] = ()
    prior: str | None = None
    mapping: str | None = None
    origin: Path = Path()
    replaces_shipped: bool = False

    @property
    def wanted_hash(self) -> str:
        """The hash, or the part of it that is known; empty for a table whose file only the user can supply."""
        return self.sha256 or self.sha256_prefix or self.payload_sha256 or ""

    def parsed_sources(self) -> tuple[Source, ...]:
        """Return the sources as objects; relative files count from the toml's folder."""
        return tuple(parse_source(text, self.origin.parent) for text in self.sources)


def shipped_file() -> Path:
    """Return the shipped weights.toml: inside the installed package, or at the top of the repository."""
    package = Path(__file__).parents[1]
    packaged = package / "weights.toml"
    return packaged if packaged.is_file() else package.parent / "weights.toml"


def user_file() -> Path:
    """Return the weights.toml of the user's settings folder, which need not exist."""
    return config_folder() / "weights.toml"


def tables() -> dict[str, Table]:
    """Return all tables by name: the shipped ones, then the settings folder's, then `$RESTORER_WEIGHTS`'s.

    A later table of the same name takes the earlier one's place, and its aliases, `auto`, `mask`, `tasks` and `mapping`
    unless it has its own.

    Raises:
        InvalidTableError: a file cannot be read, or a table in it lacks something or holds something wrong.
    """
    found = read_tables(shipped_file())
    shipped = dict(found)
    users = [user_file()] if user_file().is_file() else []
    if named := os.environ.get("RESTORER_WEIGHTS"):
        users.append(Path(named).expanduser())
    for path in users:
        for name, table in read_tables(path).items():
            before = found.get(name, table)
            found[name] = replace(
                table,
                aliases=table.aliases or before.aliases,
                auto=before.auto if table.auto is None else table.auto,
                mask=table.mask or before.mask,
                tasks=table.tasks or before.tasks,
                mapping=table.mapping or before.mapping,
                replaces_shipped=name in shipped,
            )
    return {name: _with_file(table, found) for name, table in found.items()}


def _with_file(table: Table, known: Mapping[str, Table]) -> Table:
    """Return a table with the file of its prior, where it has one; an unknown prior is an error when it is used."""
    prior = known.get(table.prior or "")
    return table if prior is None else searching(table, prior)


def searching(table: Table, prior: Table) -> Table:
    """Return the table of a search with another prior, whose file, hash and licence it takes.

    Args:
        table: of the search.
        prior: of the prior, also of a file of one's own.
    """
    return replace(
        table,
        prior=prior.name if prior.payload_sha256 is None else str(prior.origin),
        mapping=prior.mapping,
        sources=prior.sources,
        sha256=prior.sha256,
        sha256_prefix=prior.sha256_prefix,
        payload_sha256=prior.payload_sha256,
        size=prior.size,
        at_least=prior.at_least,
        license=prior.license,
        commercial=prior.commercial,
        acknowledge=prior.acknowledge,
        origin=prior.origin,
    )


def resolve(name_or_path: str) -> Table:
    """Return the table of a name, an alias, or a file that `restore models import` or `restore train` wrote.

    Raises:
        UnknownTableError: there is none; with the nearest names. Also for a checkpoint that is not one of our own.
        InvalidTableError: a weights.toml is broken.
    """
    known = tables()
    if name_or_path in known:
        return known[name_or_path]
    aliases = {alias: table for table in known.values() for alias in table.aliases}
    if name_or_path in aliases:
        return aliases[name_or_path]
    path = Path(name_or_path).expanduser()
    if path.is_file():
        return table_of_file(path)
    if len(path.parts) > 1 or path.suffix.lower() in CHECKPOINT_SUFFIXES:
        raise UnknownTableError(
            name_or_path,
            f"There is no file {name_or_path}.",
            "`restore models list` shows the names that need no file.",
        )
    near = difflib.get_close_matches(name_or_path.lower(), [*known, *aliases], n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}? " if near else ""
    raise UnknownTableError(
        name_or_path,
        f"There are no weights called {name_or_path!r}.",
        f"{hint}`restore models list` shows all names.",
        suggestions=near,
    )


def table_of_file(path: Path) -> Table:
    """Return the table that a file of our own describes itself; raises `UnknownTableError` when it is none."""
    about = native_file.read(path)
    if about is None:
        raise UnknownTableError(
            str(path),
            f"{path} was not written by this tool, so nothing says which architecture it is.",
            f"Type `restore models import {path}` to turn it into a file that can be named here.",
        )
    return Table(
        name=path.stem,
        architecture=about.architecture,
        arguments=dict(about.arguments),
        sources=(f"file:{path.resolve()}",),
        payload_sha256=about.payload_sha256,
        size=path.stat().st_size,
        license=about.license,
        commercial=about.commercial,
        trained_for=about.trained_for,
        origin=path.resolve(),
    )


# ------------------------------------------------------------------------------------------------------- reading


def read_tables(path: Path) -> dict[str, Table]:
    """Return the tables of one weights.toml; raises `InvalidTableError` with the file, the table and the reason.

    A file is read once a process, and again when it has changed.
    """
    try:
        found = path.stat()
        return dict(_read_tables(path, (found.st_ino, found.st_size, found.st_mtime_ns)))
    except OSError as error:
        raise _unreadable(path, error) from error


@lru_cache(maxsize=16)
def _read_tables(path: Path, _state: tuple[int, ...]) -> Mapping[str, Table]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _unreadable(path, error) from error
    return {name: _read(name, fields, path) for name, fields in content.items()}


def _unreadable(path: Path, error: Exception) -> InvalidTableError:
    return InvalidTableError(
        str(path),
        f"{path} cannot be read: {error}.",
        "Correct the file; docs/models.md shows what a table looks like.",
    )


def _read(name: str, fields: Any, path: Path) -> Table:
    """Return one table, every field checked."""

    def wrong(why: str) -> InvalidTableError:
        return InvalidTableError(
            name, f"The table {name!r} in {path} {why}.", "Correct it; docs/models.md shows what a table looks like."
        )

    if not isinstance(fields, dict):
        raise wrong('is no table; names with dots are quoted: ["gfpgan-1.4"]')
    known = (
        "architecture",
        "arguments",
        "sources",
        "sha256",
        "sha256_prefix",
        "size",
        "at_least",
        "aliases",
        *_TEXTS,
        "commercial",
        "builtin",
        "auto",
        "mask",
        "tasks",
    )
    for key in fields:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            raise wrong(f"has an unknown field {key!r}" + (f" (did you mean {near[0]!r}?)" if near else ""))
    for key in ("architecture",) if "prior" in fields else ("architecture", "sources"):
        if key not in fields:
            raise wrong(f"lacks {key!r}")
    for key in ("architecture", *_TEXTS):
        if not isinstance(fields.get(key, ""), str):
            raise wrong(f"has a field {key!r} that is no text")
    for key in ("sources", "aliases", "tasks"):
        value = fields.get(key, [])
        if not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
            raise wrong(f"has a field {key!r} that is no list of texts")
    if not isinstance(fields.get("arguments", {}), dict):
        raise wrong("has 'arguments' that are no table")
    for key in ("builtin", "commercial"):
        if not isinstance(fields.get(key, False), bool):
            raise wrong(f"has a {key!r} that is neither true nor false")
    if fields.get("mask", "landmarks") != "landmarks":
        raise wrong("has a 'mask' other than \"landmarks\"")
    _check_auto(fields.get("auto", {}), wrong)
    for key in ("size", "at_least"):
        value = fields.get(key)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value <= 0):
            raise wrong(f"has a {key!r} that is no number of bytes")
    sources = fields.get("sources", [])
    if "prior" in fields and {"sources", "sha256", "sha256_prefix", "size"} & set(fields):
        raise wrong("has a 'prior', whose file it takes, and a file of its own")
    for text in sources:
        try:
            parse_source(text, path.parent)
        except ValueError as error:
            raise wrong(f"has a source {text!r} that cannot be used: {error}") from error
    sha256, prefix = (_digits(fields.get(key), key, wrong) for key in ("sha256", "sha256_prefix"))
    if sources and not (sha256 or prefix):
        raise wrong("has sources but neither 'sha256' nor 'sha256_prefix'; nothing is loaded that cannot be verified")
    if sha256 and prefix and not sha256.startswith(prefix):
        raise wrong("has a 'sha256' that does not begin with its 'sha256_prefix'")
    return Table(
        name=name,
        architecture=fields["architecture"],
        arguments=dict(fields.get("arguments", {})),
        sources=tuple(sources),
        sha256=sha256,
        sha256_prefix=prefix,
        size=fields.get("size"),
        at_least=fields.get("at_least"),
        aliases=tuple(fields.get("aliases", ())),
        origin=path.resolve(),
        license=fields.get("license"),
        commercial=fields.get("commercial"),
        trained_for=fields.get("trained_for"),
        acknowledge=fields.get("acknowledge"),
        builtin=fields.get("builtin", False),
        auto=fields.get("auto"),
        mask=fields.get("mask"),
        tasks=tuple(fields.get("tasks", ())),
        prior=fields.get("prior"),
        mapping=fields.get("mapping"),
    )


def _check_auto(rule: Any, wrong: Any) -> None:
    """Raise when a table's `auto` is none that `restorer.pipeline.choice` understands."""
    scales = ("from_scale", "below_scale", "above_scale", "up_to_scale")
    if not isinstance(rule, dict):
        raise wrong("has an 'auto' that is no table")
    for key, value in rule.items():
        if (key == "device" and value in ("cpu", "gpu")) or (key == "license" and value == "commercial"):
            continue
        if key not in scales or isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong(f"has an 'auto' with {key!r} that is not understood")


def _digits(value: Any, key: str, wrong: Any) -> str | None:
    """Return a hash in small letters; a prefix must have at least the eight digits that upstream projects publish."""
    if value is None:
        return None
    least, most = (64, 64) if key == "sha256" else (8, 63)
    if not isinstance(value, str) or not re.fullmatch(rf"[0-9a-fA-F]{{{least},{most}}}", value):
        raise wrong(f"has a {key!r} that is not {'64' if least == most else '8 or more'} hexadecimal digits")
    return value.lower()
