"""`--report-sample`: some by lot, what changed most, what failed; bounded, and the same photos each time."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from restorer.errors import UsageError
from restorer.formatting import share_of
from restorer.imaging.alike import change
from restorer.pipeline.restorer import Restorer
from restorer.pipeline.result import Result
from restorer.record import Record
from restorer.report.sample import MOST_BY_LOT, MOST_CHANGED, MOST_FAILED, Sample
from tests.support.albums import PLAIN, picture
from tests.support.in_process import restore

Capsys = pytest.CaptureFixture[str]


def records(count: int) -> list[Record]:
    return [Record(f"in/{n}.jpg", output=f"out/{n}.jpg", change=float(n * 37 % count)) for n in range(count)]


def drawn(found: Sample) -> list[str]:
    return [record.input for record, why in found.chosen() if "by lot" in why]


# ---------------------------------------------------------------------------------------------------------- which ones


@pytest.mark.parametrize(
    ("share", "count", "wanted"), [(0.001, 20_000, 20), (0.05, 400, 20), (0.001, 50, 1), (1.0, 7, 7)]
)
def test_a_share_is_drawn_by_lot(share: float, count: int, wanted: int) -> None:
    found, other = Sample(share, count), Sample(share, count, seed=1)
    for record in records(count):
        found.add(record)
        other.add(record)
    assert len(drawn(found)) == wanted
    if count > 100:
        numbers = [int(Path(name).stem) for name in drawn(found)]
        assert 0.25 < np.mean(numbers) / count < 0.75, "not only the first ones"
        assert set(drawn(found)) != set(drawn(other))


def test_the_lot_minds_neither_order_nor_parts() -> None:
    everything = records(3000)
    first, second = Sample(0.01, 3000), Sample(0.01, 3000)
    for record in everything:
        first.add(record)
    for record in reversed(everything):
        second.add(record)
    assert sorted(drawn(first)) == sorted(drawn(second))
    parts = [Sample(0.01, 1500), Sample(0.01, 1500)]
    for number, record in enumerate(everything):
        parts[number % 2].add(record)
    assert len(set(drawn(first)) & {name for part in parts for name in drawn(part)}) > 15


def test_those_that_changed_most_and_failures_are_there_and_no_more_than_a_page_holds() -> None:
    count = 30_000
    found = Sample(0.9, count)
    for number, record in enumerate(records(count)):
        if number % 20 == 0:
            record.status, record.output, record.failed_before = "failed", None, number % 40 == 0
        found.add(record)
    chosen = found.chosen()
    why = {record.input: reason for record, reason in chosen}
    assert len(chosen) <= MOST_BY_LOT + MOST_CHANGED + MOST_FAILED
    assert len(why) == len(chosen), "each photo once"
    assert sum("failed" in reason for reason in why.values()) == MOST_FAILED
    assert not any("earlier" in reason for reason in why.values()), "new failures come first"
    largest = sorted(
        (record.change or 0 for record in records(count) if int(Path(record.input).stem) % 20), reverse=True
    )
    most = [record.change for record, reason in chosen if "changed most" in reason]
    assert most == largest[:MOST_CHANGED]
    assert "200 of 1,500 that failed" in found.words()


def test_results_of_an_earlier_run_count_with_its_figures() -> None:
    found = Sample(0.5, 2)
    found.add(Record("a.jpg", "out/a.jpg", "skipped", reason="done already", earlier={"change": 80.0}))
    found.add(Record("b.jpg", "out/b.jpg", "skipped", reason="dry run", change=99.0))
    assert [(record.input, "number 1 of those that changed most (80" in why) for record, why in found.chosen()] == [
        ("a.jpg", True)
    ]


@pytest.mark.parametrize(("text", "share"), [("0.1%", 0.001), ("5", 0.05), ("2,5 %", 0.025), ("100%", 1.0)])
def test_shares_as_they_are_typed(text: str, share: float) -> None:
    assert share_of(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["0", "-1%", "101%", "some", "", "nan", "%", "inf"])
def test_what_is_no_share_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError, match="no share"):
        share_of(text)


# ---------------------------------------------------------------------------------------------------------- the figure


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("scale", [0.5, 1, 3])
def test_a_part_that_came_out_otherwise_is_seen_and_noise_is_not(deep: bool, scale: float) -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:480, :640]
    before: Any = np.dstack([x // 3, y // 2, (x + y) // 5]).astype(np.uint8)
    size = round(640 * scale), round(480 * scale)
    after: Any = np.array(Image.fromarray(before).resize(size, Image.Resampling.BICUBIC))
    noisy = np.clip(after + rng.normal(0, 8, after.shape), 0, 255).astype(np.uint8)
    worse = noisy.copy()
    top, left = round(200 * scale), round(300 * scale)
    worse[top : top + round(80 * scale), left : left + round(80 * scale)] = 255 - worse[top, left]
    values = [change(*((each.astype(np.uint16) * 257 if deep else each) for each in (before, result)))
              for result in (after, noisy, worse)]  # fmt: skip
    assert values[0] is not None
    assert values[1] is not None
    assert values[2] is not None
    assert values[0] < 2
    assert values[1] < 6
    assert values[2] > 30


def test_pictures_of_any_size_are_compared_and_other_shapes_are_not() -> None:
    for shape in ((1, 1), (1, 300), (3000, 5), (7, 9)):
        black = np.zeros((*shape, 3), np.uint8)
        white = np.full((shape[0] * 2, shape[1] * 2, 3), 255, np.uint8)
        assert change(black, black) == 0
        assert change(black, white) == pytest.approx(255)
    assert change(np.zeros((200, 300, 3), np.uint8), np.zeros((300, 200, 3), np.uint8)) is None


# ------------------------------------------------------------------------------------------------------------ the page


def test_a_sample_of_a_run_is_a_report(tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    """One result of forty comes out wrong, one photo is broken: both are on the page, and few others."""
    monkeypatch.chdir(tmp_path)
    for number in range(40):
        picture(Path(f"in/{number:02}.png"), (64, 48), seed=number)
    Path("in/broken.png").write_bytes(b"broken")
    original = Restorer.restore

    def restored(self: Restorer, photo: Any, **rest: Any) -> Result:
        result = original(self, photo, **rest)
        if photo.path is not None and photo.path.name == "17.png":
            result.image[:] = 255 - result.image
            result.record.change = change(photo.pixels, result.image)
        return result

    monkeypatch.setattr(Restorer, "restore", restored)
    done = restore(capsys, "in", "-o", "out", *PLAIN, "--report-sample", "5%", "--json", code=1)
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert all(line["change"] is not None for line in lines if line["status"] == "ok")
    page = Path("out/report.html").read_text(encoding="utf-8")
    assert "A sample of 41 photos: 1 that failed, the 10 whose result is least like the photo, and 3 by lot" in page
    assert page.index("broken.png") < page.index("17.png")
    assert re.search(r"17\.png.{0,400}number 1 of those that changed most", page, re.DOTALL)
    count = page.count('<article class="photo"')
    assert 12 <= count <= 14
    restore(capsys, "in", "-o", "out", *PLAIN, "--report-sample", "5%", code=1)
    again = Path("out/report.html").read_text(encoding="utf-8")
    assert re.search(r"17\.png.{0,400}number 1 of those that changed most", again, re.DOTALL), "the journal knows it"
    assert "no share" in restore(capsys, "in", "-o", "out", *PLAIN, "--report-sample", "lots", code=2).err
    Path("out/report.html").write_text("mine")
    assert "no report" in restore(capsys, "in", "-o", "out", *PLAIN, "--report-sample", "5%", code=1).err
    assert Path("out/report.html").read_text() == "mine"
