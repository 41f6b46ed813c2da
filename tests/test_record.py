"""The record of a photo: what goes wrong with one photo stands in it; what no photo would survive goes on."""

from __future__ import annotations

import inspect

import pytest

from restorer import errors
from restorer.errors import (
    DeviceUnavailableError,
    PhotoError,
    RestorerError,
    UnsuitableFormatError,
    UnwritableOutputError,
    UsageError,
    WeightsUnavailableError,
)
from restorer.record import Record

CLASSES = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, RestorerError)]


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_ends_a_run_exactly_where_no_other_photo_would_fare_better(kind: type[RestorerError]) -> None:
    alone = ("RestorerError", "UnsuitableFormatError", "UnsuitablePhotoError", "OutOfMemoryError")
    of_photo = issubclass(kind, PhotoError) or kind.__name__ in alone
    assert kind.ends_run != of_photo
    assert not (kind.retryable and kind.ends_run)


def test_failures_that_do_not_lie_in_the_photo_are_retryable() -> None:
    assert {kind.__name__ for kind in CLASSES if kind.retryable} == {
        "MissingSupportError", "NotEnoughMemoryError", "OutOfMemoryError", "OutputExistsError", "StoreUnavailableError",
        "UnwritableOutputError",
    }  # fmt: skip


@pytest.mark.parametrize("error", [UsageError("x"), DeviceUnavailableError("x"), WeightsUnavailableError("t", "x")])
def test_what_ends_a_run_is_not_captured(error: RestorerError) -> None:
    record = Record("a.jpg")
    with pytest.raises(type(error)), record.capturing("a.jpg"):
        raise error
    assert record.status == "ok"


def fail(error: Exception) -> None:
    raise error


def test_what_a_photo_fails_by_is_captured() -> None:
    for error, kind, retryable in (
        (UnwritableOutputError("a", "full"), "UnwritableOutput", True),
        (UnsuitableFormatError("no such suffix"), "UnsuitableFormat", False),
        (OSError(5, "Input/output error"), "UnreadablePhoto", False),
        (RecursionError("too deep"), "Photo", False),
        (MemoryError(), "Photo", False),
    ):
        record = Record("a.jpg", output="b.jpg")
        with record.capturing("a.jpg"):
            fail(error)
        assert record.status == "failed"
        assert record.output is None
        assert record.error is not None
        assert record.error["kind"] == kind
        assert record.retryable == retryable
    with record.capturing("a.jpg"), pytest.raises(KeyboardInterrupt):
        raise KeyboardInterrupt


def test_an_error_of_the_disk_is_the_photos_own_only_until_it_is_read() -> None:
    record = Record("a.jpg", input_size=(3, 2))
    with record.capturing():
        fail(OSError(28, "No space left on device"))
    assert record.error is not None
    assert record.error["kind"] == "Photo"
    assert "The photo could not be restored: OSError" in str(record.error["message"])
