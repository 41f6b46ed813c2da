"""A cluster that is none: the blocks of a run are worked on in the test's own process, by what a worker runs."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from restorer.cluster.blocks import rank
from restorer.cluster.ledger import Ledger, Outcome
from restorer.cluster.order import Order
from restorer.cluster.session import Ready
from restorer.cluster.worker import RestorePhotos, Wish
from restorer.errors import ClusterError


class HereLink:
    """A link to nothing: `hear` works on one block each time it is called.

    Attributes:
        workers: how many there are said to be.
        on_block: called before each block.
        blocks: numbers of the photos of each block that was handed out.
        ended: whether the run left as it should.
    """

    workers = 2
    on_block: ClassVar[Callable[[HereLink], None]] = staticmethod(lambda _link: None)

    def __init__(self, order: Order) -> None:
        self.order = order
        self.ledger = Ledger()
        self.blocks: list[list[int]] = []
        self.ended = self.interrupted = False
        self.left: list[Any] = []

    def join(self) -> Ready:
        return Ready(self.workers, 1)

    def hand_out(self, wish: Wish, tables: Iterable[tuple[Any, float]]) -> None:
        self.wish: Wish = pickle.loads(pickle.dumps(wish))  # noqa: S301 - as it travels
        found = sorted(tables, key=lambda each: rank(each[0].num_rows, each[1]))
        self.left = [table for table, _ in found]
        self.blocks = [table["number"].to_pylist() for table in self.left]
        self._worker = RestorePhotos(self.wish, self.ledger)

    def hear(self) -> list[Outcome] | None:
        if not self.left:
            return None
        type(self).on_block(self)
        self._worker(self.left.pop(0))
        news = self.ledger.news()
        if news.failure is not None:
            raise pickle.loads(news.failure)  # noqa: S301 - our own
        return news.outcomes

    def stop(self) -> None:
        self.ledger.stop()

    def end(self) -> None:
        self.ended = True

    def kill(self) -> None:
        self.left = []


class LostLink(HereLink):
    """A cluster whose head dies after the first block."""

    def hear(self) -> list[Outcome] | None:
        if len(self.left) < len(self.blocks):
            self.left = []
            raise ClusterError("The cluster at 10.0.0.1:6379 was lost: its head does not answer any more.", "Again.")
        return super().hear()
