"""Parts of a run that several machines share: which photos are whose, by nothing but their names."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

from restorer.errors import UsageError


@dataclass(frozen=True)
class Part:
    """The I-th of N parts.

    Attributes:
        number: I, from 1.
        count: N.
    """

    number: int
    count: int

    @classmethod
    def read(cls, text: str) -> Part:
        """Return the part that "I/N" means; raises `UsageError` where a text is not of that form."""
        first, slash, count = text.partition("/")
        if not (slash and first.isdecimal() and count.isdecimal() and 1 <= int(first) <= int(count)):
            remedy = "Use I/N with I from 1 to N, for example --shard 1/4."
            raise UsageError(f"--shard {text} is not understood.", remedy)
        return cls(int(first), int(count))

    @property
    def worker(self) -> str:
        """What this part's own journal is called by: "2-of-8"."""
        return f"{self.number}-of-{self.count}"

    def has(self, digest: str) -> bool:
        """Return whether what has this `digest_of` belongs to this part; whatever is no digest may."""
        try:
            return int(digest, 16) % self.count == self.number - 1
        except ValueError:
            return True


def digest_of(place: str) -> str:
    """Return eight digits by which a path is shared out: the same on every machine."""
    return hashlib.sha256(os.fsencode(place)).hexdigest()[:8]
