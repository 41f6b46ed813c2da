"""Faces of several photos in one batch, as on a GPU: together in the network, apart in everything else.

There is no GPU here. Lanes are what a run on a GPU uses; the tests ask for them on the CPU, with parts of their own, or
give the run a device that says it is one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from restorer.engine.device import Device
from restorer.engine.torch_engine import sent_to
from restorer.models.base import CropSpec
from restorer.models.templates import FACEXLIB
from restorer.pipeline.lanes import Cancelled, FaceBatcher

pytestmark = pytest.mark.timeout(60)  # nobody waits forever
PATIENCE = 30.0
"""Seconds after which a thread that waits for another one gives up, and the test with it."""


class Negative:
    """Gives each crop back as its negative; notes how many came in each call, and that no two calls overlap."""

    name = "negative"

    def __init__(self, size: int = 64) -> None:
        self.crop = CropSpec(size, size, size, FACEXLIB)
        self.batches: list[int] = []
        self._one = threading.Lock()

    def restore(self, crops: torch.Tensor) -> torch.Tensor:
        assert self._one.acquire(blocking=False), "called twice at the same time"
        try:
            self.batches.append(len(crops))
            return self.answer(crops)
        finally:
            self._one.release()

    def answer(self, crops: torch.Tensor) -> torch.Tensor:
        return -crops


def crops(*values: float, side: int = 2) -> torch.Tensor:
    return torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 3, side, side).clone()


def in_threads(*tasks: Callable[[], Any]) -> list[Any]:
    """Run tasks at the same time; return what each returned or raised."""
    ends: list[Any] = [None] * len(tasks)

    def run(number: int) -> None:
        try:
            ends[number] = tasks[number]()
        except BaseException as error:  # noqa: BLE001 - what ends a thread is what the tests look at
            ends[number] = error

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(len(tasks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads), "a thread waits forever"
    return ends


def in_lanes(batcher: FaceBatcher, *asked: torch.Tensor) -> list[Any]:
    """Ask for crops from a lane each, once all lanes are at work; return what each got."""
    ready = threading.Barrier(len(asked))

    def lane(wanted: torch.Tensor) -> torch.Tensor:
        with batcher.lane():
            ready.wait(PATIENCE)
            return batcher.restore(wanted)

    return in_threads(*(lambda wanted=wanted: lane(wanted) for wanted in asked))


def values(end: Any) -> list[float]:
    assert isinstance(end, torch.Tensor), end
    assert (end == end[:, :1, :1, :1]).all()
    return [float(value) for value in end[:, 0, 0, 0]]


# ------------------------------------------------------------------------------------------------------ the batcher


def test_what_all_lanes_ask_for_is_one_batch_and_each_gets_its_own() -> None:
    network = Negative()
    batcher = FaceBatcher().around(network)
    assert batcher.crop is network.crop
    ends = in_lanes(batcher, crops(1), crops(2, 3), crops(4, 5, 6))
    assert network.batches == [6]
    assert [values(end) for end in ends] == [[-1], [-2, -3], [-4, -5, -6]]


def test_a_batch_is_never_larger_than_asked_for() -> None:
    network = Negative()
    ends = in_lanes(
        FaceBatcher(4).around(network), *(crops(10 * lane, 10 * lane + 1, 10 * lane + 2) for lane in range(5))
    )
    assert sorted(network.batches) == [3] * 5, "two threes are more than four"
    assert [values(end)[0] for end in ends] == [0, -10, -20, -30, -40]
    network.batches.clear()
    assert values(FaceBatcher(4).around(network).restore(crops(*range(10)))) == [-float(v) for v in range(10)]
    assert network.batches == [4, 4, 2]
    with pytest.raises(ValueError, match="at least one"):
        FaceBatcher(0)


def test_a_full_batch_does_not_wait_for_a_lane_that_is_at_work() -> None:
    network = Negative()
    batcher = FaceBatcher(4).around(network)
    served = threading.Event()
    ready = threading.Barrier(3)

    def busy() -> bool:
        with batcher.lane():
            ready.wait(PATIENCE)
            return served.wait(PATIENCE)

    def asking() -> torch.Tensor:
        with batcher.lane():
            ready.wait(PATIENCE)
            restored = batcher.restore(crops(1, 2))
            served.set()
            return restored

    ends = in_threads(busy, asking, asking)
    assert ends[0] is True
    assert network.batches == [4]


@pytest.mark.parametrize("dies", [False, True])
def test_a_lane_that_ends_or_dies_is_not_waited_for(dies: bool) -> None:
    network = Negative()
    batcher = FaceBatcher().around(network)

    def asking() -> torch.Tensor:
        with batcher.lane():
            ready.wait(PATIENCE)
            return batcher.restore(crops(1))

    def ending() -> None:
        with batcher.lane():
            ready.wait(PATIENCE)
            while not batcher._waiting:
                time.sleep(0.001)
            assert not network.batches
            if dies:
                raise Cancelled

    ready = threading.Barrier(2)
    first, second = in_threads(asking, ending)
    assert values(first) == [-1]
    assert isinstance(second, Cancelled) == dies
    assert network.batches == [1]


def test_an_error_reaches_only_those_whose_crops_caused_it() -> None:
    class Choosy(Negative):
        def answer(self, crops: torch.Tensor) -> torch.Tensor:
            if (crops == 3).any():
                raise ValueError("no threes")
            return -crops

    network = Choosy()
    ends = in_lanes(FaceBatcher().around(network), crops(1, 2), crops(3), crops(4), crops(5, 3))
    assert network.batches[0] == 6
    assert [values(ends[0]), values(ends[2])] == [[-1, -2], [-4]]
    assert [str(ends[1]), str(ends[3])] == ["no threes", "no threes"]
    assert ends[1] is not ends[3]


def test_memory_that_does_not_suffice_for_all_may_suffice_for_each() -> None:
    class Small(Negative):
        def answer(self, crops: torch.Tensor) -> torch.Tensor:
            if len(crops) > 2:
                raise torch.OutOfMemoryError(f"{len(crops)} are too many")
            return -crops

    ends = in_lanes(FaceBatcher().around(Small()), crops(1, 2), crops(3, 4, 5), crops(6))
    assert [values(ends[0]), values(ends[2])] == [[-1, -2], [-6]]
    assert isinstance(ends[1], torch.OutOfMemoryError)
    assert str(ends[1]) == "3 are too many"


def test_a_network_that_loses_faces_of_a_batch_gives_nobody_another_ones() -> None:
    class Losing(Negative):
        def answer(self, crops: torch.Tensor) -> torch.Tensor:
            return -crops[:2]

    ends = in_lanes(FaceBatcher().around(Losing()), crops(1), crops(2), crops(3))
    assert [values(end) for end in ends] == [[-1], [-2], [-3]]


def test_crops_of_other_sizes_are_batches_of_their_own() -> None:
    network = Negative()
    ends = in_lanes(FaceBatcher().around(network), crops(1), crops(2, side=4), crops(3), crops(4, side=4))
    assert network.batches == [2, 2]
    assert [values(end) for end in ends] == [[-1], [-2], [-3], [-4]]
    assert [end.shape[-1] for end in ends] == [2, 4, 2, 4]


def test_whoever_waits_or_comes_later_is_told_when_all_is_given_up() -> None:
    network = Negative()
    batcher = FaceBatcher().around(network)
    ready = threading.Barrier(3)
    told = threading.Semaphore(0)

    def asking() -> None:
        with batcher.lane():
            ready.wait(PATIENCE)
            try:
                batcher.restore(crops(1))
            finally:
                told.release()

    def closing() -> None:
        with batcher.lane():
            ready.wait(PATIENCE)
            batcher.close()
            assert all(told.acquire(timeout=PATIENCE) for _ in range(2)), "they wait for a lane that is at work"
            batcher.restore(crops(2))

    assert [type(end) for end in in_threads(asking, asking, closing)] == [Cancelled] * 3
    assert not network.batches


def test_a_batch_that_is_under_way_when_all_is_given_up_ends() -> None:
    class Closing(Negative):
        def answer(self, crops: torch.Tensor) -> torch.Tensor:
            batcher.close()
            return -crops

    batcher = FaceBatcher()
    ends = in_lanes(batcher.around(Closing()), crops(1), crops(1))
    answered = [end for end in ends if not isinstance(end, Cancelled)]
    assert answered, "the thread that ran it has its answer; the other one need not wait for that"
    assert all(values(end) == [-1] for end in answered)


def test_a_thread_that_is_interrupted_while_it_works_for_others_leaves_the_work_to_them() -> None:
    class Interrupted(Negative):
        def answer(self, crops: torch.Tensor) -> torch.Tensor:
            if len(self.batches) == 1:
                raise KeyboardInterrupt
            return -crops

    network = Interrupted()
    ends = in_lanes(FaceBatcher().around(network), crops(1), crops(2), crops(3))
    hit = [end for end in ends if isinstance(end, KeyboardInterrupt)]
    assert len(hit) == 1
    assert all(values(end) == [-1.0 - number] for number, end in enumerate(ends) if end is not hit[0])
    assert network.batches == [3, 2]


@given(
    st.lists(
        st.lists(st.tuples(st.integers(1, 5), st.sampled_from(["", "", "", "bad", "die"])), max_size=4), max_size=5
    ),
    st.integers(1, 8),
)
@settings(deadline=None, max_examples=60)
def test_any_lanes_with_any_wishes_get_their_own_and_come_to_an_end(
    plan: list[list[tuple[int, str]]], most: int
) -> None:
    class Picky(Negative):
        def answer(self, crops: torch.Tensor) -> torch.Tensor:
            if (crops < 0).any():
                raise ValueError("negative")
            return -crops

    network = Picky()
    batcher = FaceBatcher(most).around(network)

    def lane(number: int) -> None:
        with batcher.lane():
            for step, (count, what) in enumerate(plan[number]):
                if what == "die":
                    raise Cancelled
                wanted = [1 + 1000.0 * number + 10 * step + i for i in range(count)]
                if what == "bad":
                    wanted[-1] = -1
                    with pytest.raises(ValueError, match="negative"):
                        batcher.restore(crops(*wanted))
                else:
                    assert values(batcher.restore(crops(*wanted))) == [-value for value in wanted]

    ends = in_threads(*(lambda number=number: lane(number) for number in range(len(plan))))
    assert all(end is None or isinstance(end, Cancelled) for end in ends), ends
    assert max(network.batches, default=0) <= most


# ---------------------------------------------------------------------------------------------------------- transfers


class Sent(torch.Tensor):
    """Crops that note how they are sent to a device that is not here."""

    def pin_memory(self, *_: Any) -> Sent:
        self.pinned = True
        return self

    def to(self, *where: Any, **how: Any) -> Any:
        self.sent = (where, how)
        return self


def test_crops_go_to_a_cuda_device_through_pinned_memory_without_waiting() -> None:
    there: Any = sent_to(crops(1, 2).as_subclass(Sent), Device("cuda:1", "bf16"))
    assert there.pinned
    assert there.sent == (("cuda:1",), {"non_blocking": True})


@pytest.mark.parametrize("name", ["cpu", "mps"])
def test_crops_go_to_other_devices_plainly(name: str) -> None:
    there: Any = sent_to(crops(1, 2).as_subclass(Sent), Device(name, "fp32"))
    assert not hasattr(there, "pinned")
    assert there.sent == ((name,), {})


def test_crops_on_the_cpu_stay_the_very_same() -> None:
    here = crops(1, 2)
    assert sent_to(here, Device("cpu", "fp32")) is here
