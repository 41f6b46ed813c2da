"""Many photos from Python: order, progress, memory, and that none of them harms another."""

from __future__ import annotations

import gc
import io
import threading
import weakref
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from restorer import Restorer
from restorer.errors import UnsuitablePhotoError, WeightsUnavailableError
from restorer.pipeline.many import Outcome, outcomes
from tests.support.parts import Detector, Everything, Identity, face_at

pytestmark = pytest.mark.timeout(120)
PLAIN: dict[str, Any] = {"background": "lanczos", "device": "cpu"}


def grey(level: int, side: int = 8) -> np.ndarray:
    return np.full((side, side, 3), level, np.uint8)


def plain(**options: Any) -> Restorer:
    return Restorer("none", scale=2, **{**PLAIN, **options})


def with_faces() -> Restorer:
    """Return a restorer whose networks are there from the beginning, so that photos may share lanes at once."""
    return Restorer(Identity(64), detector=Detector([face_at((30, 30), 12)]), mask=Everything(), **PLAIN)


def level(outcome: Outcome) -> int:
    assert outcome.result is not None, outcome.record.error
    return int(outcome.result.image[0, 0, 0])


@pytest.mark.parametrize("lanes", [None, 1, 3])
def test_the_order_is_kept_whatever_the_photos_are(lanes: int | None, tmp_path: Path) -> None:
    Image.fromarray(grey(1, 64)).save(tmp_path / "a.png")
    stream = io.BytesIO()
    Image.fromarray(grey(2, 64)).save(stream, "PNG")
    file, picture = tmp_path / "a.png", Image.fromarray(grey(4, 64))
    photos: list[Any] = [file, stream.getvalue(), stream, grey(3, 64), picture, str(file)]
    found = list(outcomes(with_faces(), photos, lanes=lanes))
    assert [level(each) for each in found] == [1, 2, 2, 3, 4, 1]
    assert [each.record.input for each in found] == [str(file), "-", "-", "-", "-", str(file)]
    assert [each.record for each in found] == [each.result.record for each in found if each.result]


@pytest.mark.parametrize("lanes", [None, 3])
def test_a_bad_photo_stops_no_other(lanes: int | None, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    wrong: list[Any] = [
        tmp_path / "nowhere.jpg", b"", None, 3, grey(1).astype(np.int64), tmp_path, [grey(1)], tmp_path / "broken.jpg",
        Image.new("RGB", (0, 3)), "no\0name.jpg", io.StringIO("text"),
    ]  # fmt: skip
    photos: list[Any] = [grey(10, 64)]
    for each in wrong:
        photos += [each, grey(20, 64)]
    found = list(outcomes(with_faces(), photos, lanes=lanes))
    assert [each.record.status for each in found] == ["ok", *["failed", "ok"] * len(wrong)]
    for each in found[1::2]:
        assert each.result is None
        assert each.record.error is not None
        assert each.record.error["message"]
    assert [level(each) for each in found[::2]] == [10] + [20] * len(wrong)


def test_a_photo_whose_faces_fail_stops_no_other() -> None:
    class Moody(Identity):
        def restore(self, crops: Any) -> Any:
            if float(crops.mean()) > 0:
                raise RuntimeError("not today")
            return super().restore(crops)

    run = Restorer(Moody(64), detector=Detector([face_at((30, 30), 12)]), mask=Everything(), faces="1", **PLAIN)
    found = list(run.restore_many([grey(10, 64), grey(250, 64), grey(20, 64)]))
    assert [each.record.status for each in found] == ["ok", "failed", "ok"]


def test_what_no_photo_would_survive_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    run = plain()

    def refuse(*_: Any, **__: Any) -> Any:
        raise WeightsUnavailableError("gfpgan-1.4", "Not here.")

    found = run.restore_many([grey(1), grey(2), grey(3)])
    assert level(next(found)) == 1
    monkeypatch.setattr(run, "restore", refuse)
    with pytest.raises(WeightsUnavailableError):
        next(found)


@pytest.mark.parametrize(
    "one", ["a.jpg", b"bytes", Path("a.jpg"), grey(1), io.BytesIO(b""), 3, Image.new("RGB", (4, 4)), None]
)
def test_a_single_photo_is_refused_at_once(one: Any) -> None:
    with pytest.raises(UnsuitablePhotoError, match="Several photos"):
        plain().restore_many(one)


# ----------------------------------------------------------------------------------------------- generators and memory


@pytest.mark.parametrize("lanes", [None, 3])
def test_a_generator_without_end_is_taken_as_it_is_needed(lanes: int | None) -> None:
    taken: list[int] = []
    ended: list[bool] = []

    def endless() -> Generator[np.ndarray, None, None]:
        try:
            while True:
                taken.append(len(taken) % 200)
                yield grey(taken[-1], 64)
        finally:
            ended.append(True)

    photos = endless()
    found = outcomes(with_faces(), photos, lanes=lanes)
    assert not taken
    for number in range(12):
        assert level(next(found)) == number
        assert len(taken) - number <= 1 + (lanes or 1)
    found.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("lane")]
    photos.close()
    assert ended


@pytest.mark.parametrize("lanes", [None, 3])
def test_broken_photos_are_not_taken_without_end_either(lanes: int | None) -> None:
    taken = 0

    def broken() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield b"no picture"

    found = outcomes(with_faces(), broken(), lanes=lanes)
    for _ in range(20):
        assert next(found).result is None
    assert taken <= 20 + 1 + (lanes or 1)


@pytest.mark.parametrize("lanes", [None, 2])
def test_nothing_is_held_that_was_handed_on(lanes: int | None) -> None:
    alive: list[weakref.ref[Any]] = []

    def photos() -> Iterator[np.ndarray]:
        for number in range(10):
            pixels = grey(number, 64)
            alive.append(weakref.ref(pixels))
            yield pixels
            del pixels

    results: list[weakref.ref[Any]] = []
    for outcome in outcomes(with_faces(), photos(), lanes=lanes):
        results.append(weakref.ref(outcome.result))
        del outcome
        gc.collect()
        assert sum(each() is not None for each in results) == 0
        assert sum(each() is not None for each in alive) <= 1 + (lanes or 1)


def test_a_generator_that_fails_hands_on_what_it_gave() -> None:
    def photos() -> Iterator[np.ndarray]:
        yield grey(1, 64)
        yield grey(2, 64)
        raise OSError("the database is gone")

    found = outcomes(with_faces(), photos(), lanes=3)
    assert [level(next(found)), level(next(found))] == [1, 2]
    with pytest.raises(OSError, match="database"):
        next(found)


# ------------------------------------------------------------------------------------------------------------ progress


@pytest.mark.parametrize("lanes", [None, 3])
@pytest.mark.parametrize("photos", [[], [grey(1, 64)], [grey(1, 64), b"", grey(2, 64)]])
def test_progress_only_grows_and_reaches_one(photos: list[Any], lanes: int | None) -> None:
    heard: list[float] = []
    assert len(list(outcomes(with_faces(), photos, on_progress=heard.append, lanes=lanes))) == len(photos)
    assert heard == sorted(set(heard))
    assert (heard[0], heard[-1]) == (0.0, 1.0)
    assert len(photos) < 1 or len(heard) > len(photos)


def test_progress_moves_within_a_photo() -> None:
    heard: list[float] = []
    list(with_faces().restore_many([grey(1, 64)], on_progress=heard.append))
    assert len([each for each in heard if 0 < each < 1]) > 1


@pytest.mark.parametrize("total", [None, 1, 2, 50])
def test_progress_of_what_has_no_length(total: int | None) -> None:
    heard: list[float] = []
    list(plain().restore_many((grey(each) for each in (1, 2, 3)), total=total, on_progress=heard.append))
    assert heard == sorted(set(heard))
    assert heard[-1] == 1.0
    assert total is not None or heard == [0.0, 1.0]


def test_a_listener_that_fails_is_no_fault_of_the_photo() -> None:
    def stop(fraction: float) -> None:
        if 0 < fraction < 1:
            raise ValueError("enough")

    found = plain().restore_many([grey(1), grey(2)], on_progress=stop)
    with pytest.raises(ValueError, match="enough"):
        list(found)


# ------------------------------------------------------------------------------------------------- bytes, and to files


def test_bytes_come_back_as_bytes(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(grey(7, 24)).save(stream, "JPEG")
    data, record = plain().restore_bytes(stream.getvalue())
    assert Image.open(io.BytesIO(data)).size == (48, 48)
    assert Image.open(io.BytesIO(data)).format == "JPEG"
    assert (record.status, record.input, record.output, record.output_size) == ("ok", "-", "-", (48, 48))
    assert Image.open(io.BytesIO(plain(format="png").restore_bytes(stream.getvalue())[0])).format == "PNG"
    (tmp_path / "a.jpg").write_bytes(stream.getvalue())
    plain().restore_file(tmp_path / "a.jpg", tmp_path / "b.jpg")
    assert (tmp_path / "b.jpg").read_bytes() == data


@pytest.mark.parametrize("data", [b"", b"no picture", b"\xff\xd8\xff\xe0 cut"])
def test_bytes_that_are_no_photo_give_none_and_a_record(data: bytes) -> None:
    result, record = plain().restore_bytes(data)
    assert result == b""
    assert record.status == "failed"
    assert record.error is not None
    assert record.error["kind"] == "UnreadablePhoto"


def test_files_are_named_as_people_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(grey(7, 24)).save("a.jpg")
    record = plain().restore_file("a.jpg", "b.tif")
    assert (record.status, record.input, record.output) == ("ok", "a.jpg", "b.tif")
    assert Image.open("b.tif").format == "TIFF"
    assert plain().restore_file("a.jpg", "c.xyz").status == "failed"
    assert plain().restore_file("nowhere.jpg", "c.png").status == "failed"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "b.tif"]
