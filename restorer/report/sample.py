"""`--report-sample`: which photos of a very long run a person looks at: some by lot, those that changed most, failures.

Only so many records are kept as the page will show, whatever the length of the run. The lot is drawn by the hash of a
photo's name and the seed: the same photos each time, and no other ones because the run was cut into parts.
"""

from __future__ import annotations

import hashlib
import heapq
import math
import os
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from restorer.record import Record
from restorer.report.writer import Report

MOST_BY_LOT, MOST_CHANGED, MOST_FAILED = 300, 100, 200
"""Photos of each kind that a page shows."""
FEWEST_CHANGED = 10


@dataclass(order=True)
class _Held:
    """A record and what it is ordered by."""

    rank: float
    number: int
    record: Record = field(compare=False)


class Sample:
    """Photos of a run, chosen while it works.

    Args:
        share: of its photos that are drawn by lot, above 0.
        count: its photos.
        seed: of the lot.
    """

    def __init__(self, share: float, count: int, seed: int = 0) -> None:
        self._seed = seed
        self._drawn = min(max(math.ceil(share * count - 1e-9), 1), MOST_BY_LOT)
        self._changed = min(max(self._drawn, FEWEST_CHANGED), MOST_CHANGED)
        self._lot: list[_Held] = []
        self._most: list[_Held] = []
        self._failed: list[_Held] = []
        self._seen = 0
        self._failures = 0

    def add(self, record: Record) -> None:
        """Take in what became of a photo."""
        self._seen += 1
        if record.status == "failed":
            self._failures += 1
            _hold(self._failed, _Held(-record.failed_before, -self._seen, record), MOST_FAILED)  # news first
        elif record.output is not None and record.reason != "dry run":
            _hold(self._lot, _Held(-self._lots(record), -self._seen, record), self._drawn)
            change = record.change if record.earlier is None else record.earlier.get("change")
            if change:
                _hold(self._most, _Held(float(change), -self._seen, record), self._changed)

    def _lots(self, record: Record) -> float:
        """Return a number from 0 to 1 by which a photo is drawn: the smallest ones are."""
        name = os.fsencode(f"{self._seed}:{record.input}:{record.page or ''}")
        return int.from_bytes(hashlib.blake2b(name, digest_size=7).digest(), "big") / 2**56

    def chosen(self) -> list[tuple[Record, str]]:
        """Return the photos of the page, each with why it is there: failures, most changed, by lot."""
        reasons: dict[int, tuple[Record, list[str]]] = {}

        def note(record: Record, why: str) -> None:
            reasons.setdefault(id(record), (record, []))[1].append(why)

        for held in sorted(self._failed, reverse=True):
            note(held.record, "it failed in an earlier run" if held.record.failed_before else "it failed")
        for place, held in enumerate(sorted(self._most, reverse=True), 1):
            note(held.record, f"number {place} of those that changed most ({held.rank:.1f} of 255 levels)")
        for held in sorted(self._lot, reverse=True):
            note(held.record, "by lot")
        return [(record, "; ".join(why)) for record, why in reasons.values()]

    def words(self) -> str:
        """Return what the page says of the choice."""
        of = f" of {self._failures:,}" if self._failures > len(self._failed) else ""
        failed, changed, lot = len(self._failed), len(self._most), len(self._lot)
        return (
            f"A sample of {self._seen:,} photos: {failed}{of} that failed, the {changed} whose result is least like "
            f"the photo, and {lot} by lot (seed {self._seed})."
        )


def _hold(heap: list[_Held], held: _Held, most: int) -> None:
    """Keep the largest of what was offered to a heap."""
    if len(heap) < most:
        heapq.heappush(heap, held)
    else:
        heapq.heappushpop(heap, held)


class SampledReport:
    """A report of a sample, which is drawn while the run works; its pictures are read when it is written.

    Args:
        path: the file.
        share: of the photos that are drawn by lot.
        count: photos of the run.
        seed: of the lot.
        overwrite: replace a file that is no report.
        told: lines about the run, which stand once on the page.

    Raises:
        OutputExistsError: the file is there and is no report.
    """

    def __init__(
        self,
        path: Path,
        share: float,
        count: int,
        *,
        seed: int = 0,
        overwrite: bool = False,
        told: Collection[str] = (),
    ) -> None:
        Report(path, overwrite=overwrite)  # what is in its place is found out before the work
        self._made = partial(Report, path, overwrite=overwrite, told=told)
        self._sample = Sample(share, count, seed)

    def add(self, record: Record) -> None:
        """Take in what became of a photo."""
        self._sample.add(record)

    def write(self) -> Path:
        """Write the page, and return its file; raises `UnwritableOutputError`."""
        chosen = self._sample.chosen()
        report = self._made(len(chosen), intro=self._sample.words())
        for record, why in chosen:
            report.add({**record.as_dict(), "why": why})
        return report.write()
