"""A download that is tried in a process of its own: the file comes as it should be, or an error says why not."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from restorer.bench.survive.badhub import CONTENT, SHA256
from restorer.errors import RestorerError
from restorer.weights import Table, fetch, mirror

_OF_PROXIES = tuple(
    name for word in ("http", "https", "all", "no") for name in (f"{word}_proxy", f"{word.upper()}_PROXY")
)
HUB = "hf://owner/repo/thing.pth@main"


@dataclass(frozen=True)
class Case:
    """A download that is tried.

    Attributes:
        kind: what is tried, for the count.
        name: of the case.
        source: what a table names.
        environment: variables of its process.
        before: what is done in its process first; gets the folder of the case.
        wanted: "fetched" or "refused" where only that is right, "" where both are.
        never: words that no message may hold.
        size: of the file, where the table tells it.
    """

    kind: str
    name: str
    source: str
    environment: Mapping[str, str] = field(default_factory=dict)
    before: Callable[[Path], object] | None = None
    wanted: str = ""
    never: tuple[str, ...] = ()
    size: int | None = None


def ask(case: Case, folder: Path) -> str:
    """Fetch a file in this process, which is a forked one, and return how it went.

    Raises:
        AssertionError: as it must not.
    """
    for name in (*_OF_PROXIES, "HF_HUB_OFFLINE"):
        os.environ.pop(name, None)
    os.environ |= {
        "RESTORER_CACHE": str(folder / "cache"), "HF_HOME": str(folder / "hub"),
        "RESTORER_CONFIG": str(folder / "config"), "HF_HUB_DISABLE_TELEMETRY": "1", **case.environment,
    }  # fmt: skip
    known = sys.modules.get("huggingface_hub.constants")
    if known is not None:  # it was imported before, and would read the token of whoever began this run
        known.HF_TOKEN_PATH = str(folder / "hub" / "token")  # type: ignore[attr-defined]
    mirror._PAUSE = 0.01  # between tries, which are as many as ever
    if case.before is not None:
        case.before(folder)
    outcome, words = _fetched(case, folder)
    if case.wanted and not outcome.startswith(case.wanted):
        raise AssertionError(f"{outcome}, and it should be {case.wanted}: {words}")
    return outcome


def _fetched(case: Case, folder: Path) -> tuple[str, str]:
    """Return how it went, and in which words."""
    table = Table("thing", "srvggnet", sources=(case.source,), sha256=SHA256, size=case.size)
    try:
        path = fetch(table)
    except RestorerError as error:
        if not error.message or not error.remedy:
            raise AssertionError(f"an error without words or remedy: {error!r}") from error
        if told := [word for word in case.never if word in f"{error.message} {error.remedy}"]:
            raise AssertionError(f"the error tells {told}: {error.message}") from error
        if found := _unverified(folder):
            raise AssertionError(f"something unverified stayed in the cache: {found}") from error
        return f"refused ({error.kind})", f"{error!r}, {error.__cause__!r}"
    if path.read_bytes() != CONTENT:
        raise AssertionError("another file was taken for the right one")
    return "fetched", ""


def _unverified(folder: Path) -> list[Path]:
    """Return files below a folder that could be taken for a download of ours, and are not what was asked for."""
    found = []
    for place, _, names in os.walk(folder):
        for path in (Path(place, name) for name in names):
            if path.name.endswith((".part", ".json", ".lock")) or "incomplete" in path.name:
                continue
            try:
                if path.is_file() and path.stat().st_uid == os.geteuid() and path.stat().st_size > 5000:
                    found += [path] if _digest(path) != SHA256 else []
            except OSError:  # a circle, or what is closed to us
                continue
    return found


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
