"""How long photos took in earlier runs on this machine, by what did the work: a guess that was measured."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restorer.batch.estimate import Rates, Sums
from restorer.storage.atomic import write_atomic
from restorer.storage.folders import cache_folder

if TYPE_CHECKING:
    from restorer.pipeline.restorer import Restorer

_log = logging.getLogger(__name__)
MOST_WAYS = 100
"""Ways of working that are remembered; those not used for longest are forgotten."""
MOST_PHOTOS = 200
"""Photos beyond which what is remembered is halved, so that a machine may change."""
FEWEST = 3
"""Photos of one run from which on their rates are worth something to another."""
NEAR = 3.0
"""How many times larger or smaller than those before a single photo may be for its time to be told."""


@dataclass
class Remembered:
    """What earlier runs of one way of working took.

    Attributes:
        first: sums over the first photo of each run, which also loaded the networks.
        others: sums over the others.
    """

    first: Sums
    others: Sums

    def rates(self, photos: int, megapixels: float) -> Rates | None:
        """Return the rates to go by until photos are done; None where too little is known.

        Args:
            photos: of the run.
            megapixels: of their results.
        """
        sums = self.first if photos == 1 else self.others
        if photos == 1 and not self._is_near(megapixels):
            return None
        if sums.photos < (1 if photos == 1 else FEWEST):
            return None
        photo, megapixel = sums.line()
        both = self.first + self.others
        face = both.by_face / both.faces if both.faces else 0.0
        return Rates(photo, megapixel, face, both.faces / both.photos)

    def _is_near(self, megapixels: float) -> bool:
        mean = self.first.megapixels / self.first.photos if self.first.photos else 0.0
        return mean / NEAR <= megapixels <= mean * NEAR

    def add(self, first: Sums | None, others: Sums) -> None:
        """Take in what a run took."""
        self.first = _faded(self.first) + (first or Sums())
        self.others = _faded(self.others) + others


def _faded(sums: Sums) -> Sums:
    if sums.photos <= MOST_PHOTOS:
        return sums
    half = {name: value / 2 for name, value in asdict(sums).items()}
    return Sums(**{**half, "photos": int(half["photos"]), "faces": int(half["faces"])})


def way_of(restorer: Restorer, threads: int | None = None, at_once: int = 1) -> str:
    """Return a name for what does the work of a run, and with what; runs of one name take about the same."""
    options = restorer.options
    parts = [restorer.note("").settings, options.device, options.precision, options.batch_size, options.tile, threads]
    parts += [f"{at_once} at once"] if at_once > 1 else []
    parts += ["low memory"] if options.low_memory else []
    return " ".join(map(str, parts))


def recall(way: str) -> Remembered:
    """Return what is remembered of a way of working."""
    return _read(_all().get(way))


def keep(way: str, first: Sums | None, others: Sums) -> None:
    """Remember what a run took; where the cache cannot be written, nothing is."""
    if first is None:
        return
    known = _all()
    found = _read(known.pop(way, None))
    found.add(first, others)
    known[way] = asdict(found)  # the last one of the file is the one used last
    for name in list(known)[:-MOST_WAYS]:
        del known[name]
    try:
        write_atomic(_file(), json.dumps(known, indent=1), durable=False)
    except OSError as error:
        _log.info("What the run took cannot be remembered: %s", error)


def _file() -> Path:
    return cache_folder() / "times.json"


def _all() -> dict[str, Any]:
    try:
        found = json.loads(_file().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        _log.info("What earlier runs took cannot be read: %s", error)
        return {}
    return found if isinstance(found, dict) else {}


def _read(told: Any) -> Remembered:
    """Return what a file tells of one way; nothing where it makes no sense, which only costs a guess."""
    try:
        return Remembered(_sums(told["first"]), _sums(told["others"]))
    except (KeyError, TypeError, ValueError):
        return Remembered(Sums(), Sums())


def _sums(told: Mapping[str, Any]) -> Sums:
    values: dict[str, Any] = {each.name: float(told[each.name]) for each in fields(Sums)}
    if not all(0 <= value < 1e12 for value in values.values()):
        raise ValueError("sums of times are numbers from 0 on")
    return Sums(**{**values, "photos": int(values["photos"]), "faces": int(values["faces"])})
