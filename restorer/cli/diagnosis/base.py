"""What one look at the machine finds, and what looks."""

from __future__ import annotations

import importlib.metadata
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

Status = Literal["ok", "note", "broken", "skipped"]


@dataclass(frozen=True)
class Check:
    """What one look found.

    Attributes:
        group: "Versions", "Devices", "Folders", "Weights", "Network", "Settings" or "Engines".
        name: what was looked at.
        status: "ok", "note" (works, but worth to know), "broken" or "skipped".
        detail: what was found.
        remedy: what to type or do; None where nothing is to be done.
        facts: the same for programs.
    """

    group: str
    name: str
    status: Status
    detail: str
    remedy: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)


class Examination(ABC):
    """Looks at one side of the machine; `group` is the heading of what it finds."""

    group: ClassVar[str]

    @abstractmethod
    def look(self) -> Iterator[Check]:
        """Yield what is found, as it is found; what is broken is a check, and raises nothing."""

    def found(
        self, name: str, status: Status, detail: str, remedy: str | None = None, facts: dict[str, Any] | None = None
    ) -> Check:
        """Return a check of this group."""
        return Check(self.group, name, status, detail, remedy, facts or {})


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its class where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def installed(name: str) -> str | None:
    """Return the version of an installed distribution, None where there is none."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
