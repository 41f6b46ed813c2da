"""Who has which photo in hand: what tells, when a process dies, which photo it died of, and what it had done by then.

One ledger a run, kept by an actor beside the driver. A worker asks it before each photo and tells it what became of the
one before, so that the driver hears of each photo at once, a block that is handed out again begins where it stopped,
and whoever is to stop is told so before the next photo.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

LIMIT = 2.0
"""Deaths that a photo must have had a hand in to be left alone from then on."""
WITH_ITS_NODE = 0.5
"""What counts for a process that died with its machine, which a photo seldom brings down."""

Outcome = tuple[int, bytes]
"""The number of a photo in the run, and its record, pickled."""


@dataclass(frozen=True)
class Begun:
    """What a worker is told when it begins with a block.

    Attributes:
        done: photos that another worker had finished when it died, with their records.
        deaths: photos that were in hand when processes died, with what that counts for.
    """

    done: dict[int, bytes] = field(default_factory=dict)
    deaths: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class News:
    """What has happened since the driver last asked.

    Attributes:
        outcomes: of photos.
        failure: the pickled error that ends the run; None = there is none.
        in_hand: blocks that workers are at.
        nodes: the machines that workers have been on.
    """

    outcomes: list[Outcome]
    failure: bytes | None
    in_hand: int
    nodes: frozenset[str]


class Book(Protocol):
    """What a worker asks and tells; see `Ledger`, whose methods these are."""

    def start(self, block: int, worker: str, node: str) -> Begun: ...

    def begin(self, block: int, worker: str, number: int, done: Outcome | None) -> bool: ...

    def end(self, block: int, worker: str, done: Outcome | None) -> None: ...

    def fail(self, error: bytes) -> None: ...


@dataclass
class _Course:
    """How far a block is."""

    worker: str
    node: str
    done: dict[int, bytes] = field(default_factory=dict)
    in_hand: int | None = None


class Ledger:
    """Keeps what workers tell.

    Args:
        is_alive: tells whether a machine is; None = all are.
    """

    def __init__(self, is_alive: Callable[[str], bool] | None = None) -> None:
        self._is_alive = is_alive or (lambda _node: True)
        self._courses: dict[int, _Course] = {}
        self._deaths: dict[int, float] = {}
        self._outcomes: list[Outcome] = []
        self._failure: bytes | None = None
        self._stopped = False
        self._nodes: set[str] = set()

    # ----------------------------------------------------------------------------------------------- what workers say

    def start(self, block: int, worker: str, node: str) -> Begun:
        """Hear that a worker begins with a block; one that had it before has died, or is taken for dead."""
        self._nodes.add(node)
        before = self._courses.get(block)
        if before is not None and before.in_hand is not None:
            weight = 1.0 if self._is_alive(before.node) else WITH_ITS_NODE
            self._deaths[before.in_hand] = self._deaths.get(before.in_hand, 0.0) + weight
        done = {} if before is None else before.done
        self._courses[block] = _Course(worker, node, done)
        return Begun(dict(done), dict(self._deaths))

    def begin(self, block: int, worker: str, number: int, done: Outcome | None) -> bool:
        """Hear that a worker is about to take a photo; return whether it shall.

        Args:
            block: its block.
            worker: its name.
            number: of the photo.
            done: what became of the one before.
        """
        course = self._take(block, worker, done)
        if course is None or self._stopped:
            return False
        course.in_hand = number
        return True

    def end(self, block: int, worker: str, done: Outcome | None) -> None:
        """Hear that a worker is through with a block."""
        if self._take(block, worker, done) is not None:
            del self._courses[block]

    def fail(self, error: bytes) -> None:
        """Hear of an error after which no other photo would fare better."""
        self._failure = self._failure or error
        self._stopped = True

    def _take(self, block: int, worker: str, done: Outcome | None) -> _Course | None:
        """Take in an outcome; return the block's course, None where another worker has it by now."""
        course = self._courses.get(block)
        if course is None or course.worker != worker:
            return None
        course.in_hand = None
        if done is not None:
            course.done[done[0]] = done[1]
            self._outcomes.append(done)
        return course

    # -------------------------------------------------------------------------------------------- what the driver asks

    def stop(self) -> None:
        """Let no worker take another photo."""
        self._stopped = True

    def news(self) -> News:
        """Return what has happened since this was last asked."""
        outcomes, self._outcomes = self._outcomes, []
        in_hand = sum(course.in_hand is not None for course in self._courses.values())
        return News(outcomes, self._failure, in_hand, frozenset(self._nodes))
