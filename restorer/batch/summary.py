"""How a run ended: counts, and the photos that failed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from restorer.batch.reading import DONE, KEPT
from restorer.record import NEEDS_NOTHING, Record, moved_away

MOST_FAILURES = 1000
"""Records of failed photos that are kept, where not all records are; the others are counted."""


@dataclass
class Summary:
    """How a run ended, photo by photo or in numbers.

    Attributes:
        keep: whether `records` is filled, which takes memory by the photo.
        records: one for each photo that was looked at, in order.
        failed: the records of the photos that failed; at most `MOST_FAILURES` where records are not kept.
        faces: how many were restored.
        moved: the records of photos with faces that moved away from their references; at most `MOST_FAILURES`.
        fine: how many faces needed nothing.
        known: how many photos failed in an earlier run and were not tried again.
        done: how many results were there.
        kept: how many results were there and made otherwise than asked for.
        tried: how many a dry run would restore.
        seconds: from beginning to end.
        interrupted: whether the user ended it early.
        abandoned: whether the user did so twice: threads may still be at work, and what they were writing was removed.
        out_of_time: whether it ended since its time was up.
    """

    keep: bool = True
    records: list[Record] = field(default_factory=list)
    failed: list[Record] = field(default_factory=list)
    moved: list[Record] = field(default_factory=list)
    faces: int = 0
    fine: int = 0
    known: int = 0
    done: int = 0
    kept: int = 0
    tried: int = 0
    seconds: float = 0.0
    interrupted: bool = False
    abandoned: bool = False
    out_of_time: bool = False
    _counts: Counter[str] = field(default_factory=Counter)

    def add(self, record: Record) -> None:
        """Take in how a photo ended."""
        self._counts[record.status] += 1
        if self.keep:
            self.records.append(record)
        if record.status == "ok":
            self.faces += sum(face.restored for face in record.faces)
            if moved_away(record) and len(self.moved) < MOST_FAILURES:
                self.moved.append(record)
            self.fine += sum(face.reason == NEEDS_NOTHING for face in record.faces)
        elif record.status == "failed":
            self.known += record.failed_before
            if self.keep or len(self.failed) < MOST_FAILURES:
                self.failed.append(record)
        else:
            self.done += record.reason == DONE
            self.kept += (record.reason or "").startswith(KEPT)
            self.tried += record.reason == "dry run"

    def count(self, status: str | None = None) -> int:
        """Return how many photos ended with a status, or in any way."""
        return self._counts.total() if status is None else self._counts[status]
