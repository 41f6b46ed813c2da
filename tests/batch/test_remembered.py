"""What earlier runs took is the guess of later ones; a range, said again once it was measured."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from restorer.batch import remembered
from restorer.batch.estimate import Estimate, Load, Rates, Sums
from restorer.batch.remembered import MOST_WAYS, keep, recall
from restorer.cli import run
from restorer.formatting import time_range
from restorer.upscaling.lanczos import Lanczos
from tests.batch.test_estimate import Clock
from tests.support.albums import PLAIN, picture
from tests.support.in_process import restore

Capsys = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sums(*photos: tuple[float, float, float, int]) -> Sums:
    found = Sums()
    for megapixels, plain, by_face, faces in photos:
        found.add(megapixels, plain, by_face, faces)
    return found


@pytest.mark.parametrize(
    ("seconds", "spread", "said"),
    [(0.4, 2.0, "about 0.4 s"), (29, 2.0, "about 29 s"), (45, 2.0, "20 s to 1 min 30 s"), (200, 1.3, "3 min to 4 min"),
     (3600, 2.0, "30 min to 2 h"), (100_000, 1.3, "21 h 30 min to 36 h"), (60, 1.0, "about 1 min 0 s")],
)  # fmt: skip
def test_a_time_that_is_not_known_exactly_is_a_range(seconds: float, spread: float, said: str) -> None:
    assert time_range(seconds, spread) == said


def test_runs_are_remembered_by_what_did_the_work() -> None:
    assert recall("a").rates(10, 20.0) is None
    keep("a", sums((1.0, 9.0, 0, 0)), sums(*[(size, 1 + 2 * size, 3.0, 2) for size in (0.5, 2.0, 8.0, 20.0)]))
    rates = recall("a").rates(10, 20.0)
    assert rates is not None
    assert rates.megapixel == pytest.approx(2.0, rel=0.1)
    assert rates.face == pytest.approx(1.5)
    assert rates.complete
    assert recall("b").rates(10, 20.0) is None
    keep("b", None, Sums())  # nothing was restored
    assert "b" not in json.loads(remembered._file().read_text())


def test_one_photo_is_guessed_from_first_photos_of_about_its_size() -> None:
    """They loaded the networks too; of a photo ten times as large nothing is said."""
    keep("a", sums((4.0, 10.0, 2.0, 1)), Sums())
    found = recall("a")
    rates = found.rates(1, 4.0)
    assert rates is not None
    assert rates.seconds(4.0) == pytest.approx(12.0)
    assert found.rates(1, 40.0) is None
    assert found.rates(1, 0.4) is None
    assert found.rates(5, 20.0) is None, "one photo is too little for an album"


def test_what_is_remembered_fades_and_ways_are_forgotten() -> None:
    for number in range(MOST_WAYS + 5):
        keep(f"way {number}", sums((1.0, 1.0, 0, 0)), Sums())
    assert len(json.loads(remembered._file().read_text())) == MOST_WAYS
    assert recall("way 0").rates(1, 1.0) is None
    for _ in range(5):
        keep("a", sums((1.0, 1.0, 0, 0)), sums(*[(1.0, 1.0, 0, 0)] * 300))
    for _ in range(4):
        keep("a", sums((1.0, 1.0, 0, 0)), sums(*[(1.0, 10.0, 0, 0)] * 300))
    rates = recall("a").rates(10, 10.0)
    assert rates is not None
    assert rates.seconds(1.0) > 8, "a machine may become slower"


@pytest.mark.parametrize("content", ["", "no JSON", "[]", '{"a": 3}', '{"a": {"first": {}, "others": null}}'])
def test_a_damaged_memory_costs_a_guess_and_nothing_else(content: str) -> None:
    remembered._file().parent.mkdir(parents=True, exist_ok=True)
    remembered._file().write_text(content)
    assert recall("a").rates(10, 10.0) is None
    keep("a", sums((1.0, 1.0, 0, 0)), sums(*[(1.0, 1.0, 0, 0)] * 5))
    assert recall("a").rates(10, 10.0) is not None


def test_a_single_photo_knows_its_time_from_the_second_run_on(capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    priors: list[Rates] = []
    original = Estimate.__init__

    def spied(self: Estimate, loads: Any, prior: Rates, *rest: Any) -> None:
        priors.append(prior)
        original(self, loads, prior, *rest)

    monkeypatch.setattr(Estimate, "__init__", spied)
    picture(Path("a.png"), (300, 200))
    picture(Path("b.png"), (290, 210), seed=1)
    faces = ("--model", "tiny", "--detector", "tiny-detector", "--background", "lanczos", "--offline")
    for name in ("a.png", "b.png"):
        restore(capsys, name, *faces)
    told = [prior.complete for prior in priors]
    assert told[0] is False, "nobody knows yet what networks take here: none is shown"
    assert told[-1] is True
    assert priors[-1].seconds(0.24) > 0


def test_a_long_run_says_it_again_once_it_was_measured(capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Photos take a minute each by a clock that only the work moves, which nobody could have guessed."""
    clock = Clock()
    for module in ("restorer.record", "restorer.cli.progress", "restorer.cli.run"):
        monkeypatch.setattr(f"{module}.time", clock)
    upscale = Lanczos.upscale

    def slow(self: Lanczos, *given: Any, **more: Any) -> Any:
        clock.now += 60
        return upscale(self, *given, **more)

    monkeypatch.setattr(Lanczos, "upscale", slow)
    for number in range(12):
        picture(Path(f"in/{number:02}.bmp"), (90, 60), seed=number)
    done = restore(capsys, "in", "-o", "out", *PLAIN, "--log", "run.log")
    said = re.findall(r"By the first (\d+) photos of 12: (\d+) min to (\d+) min left", done.err)
    assert len(said) == 1, done.err
    count, low, high = map(int, said[0])
    assert low <= 12 - count <= high
    assert low < high
    assert "By the first" in Path("run.log").read_text()
    again = restore(capsys, "in", "-o", "other", *PLAIN)
    assert re.search(r"^12 photos: \d+ min to \d+ min, about", again.err, re.MULTILINE), "now it is known beforehand"
    assert "By the first" not in restore(capsys, "in", "-o", "third", *PLAIN, "-q").err
    assert run.WORTH_SAYING_AGAIN == 60


def test_loads_of_a_run_are_summed_apart_for_its_first_photo() -> None:
    estimate = Estimate([Load(1.0)] * 3, Rates(), 0.0)
    assert estimate.measured() == (None, Sums())
    for number in range(3):
        estimate.note("ok", {"total": 1.0 + number}, 0, float(number))
    first, others = estimate.measured()
    assert first is not None
    assert (first.photos, others.photos, others.plain) == (1, 2, 5.0)
