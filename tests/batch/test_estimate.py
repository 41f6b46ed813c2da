"""What is said before a long run and while it works: by megapixels and faces, within 30 % from one fifth on."""

from __future__ import annotations

import json
import random
import re
import threading
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from restorer import Options, Restorer
from restorer.batch.discovery import Job, find_photos
from restorer.batch.estimate import Estimate, Load, Rates, load_of
from restorer.batch.outlook import Outlook, estimate_run
from restorer.batch.run import Batch
from restorer.cli import progress
from restorer.cli.console import messages
from restorer.photo.header import Header, read_header
from restorer.upscaling.lanczos import Lanczos
from tests.support.albums import PLAIN, files, picture
from tests.support.in_process import restore

WRONG = Rates(photo=5.0, megapixel=9.0, face=7.0)
"""A first guess that is far off; what is measured must win over it."""


def simulate(
    sizes: list[float],
    faces: list[int],
    *,
    overlap: float = 1.0,
    start: float = 0.0,
    skipped: Collection[int] = (),
    seed: int = 0,
) -> list[tuple[float, float, float]]:
    """Run an estimate beside made-up photos; return (share of the time gone, true seconds left, said seconds left).

    A photo takes 0.2 s, 0.5 s a megapixel and 2 s a face, give or take a tenth; the clock goes `overlap` times that.
    """
    rng = random.Random(seed)
    loads = [Load(size, size * 2, skipped=i in skipped) for i, size in enumerate(sizes)]
    estimate = Estimate(loads, WRONG, 0.0)
    now = 0.0
    said: list[tuple[float, float]] = []
    for i, (size, count) in enumerate(zip(sizes, faces, strict=True)):
        if i in skipped:
            seconds = {"read": 0.004 * size, "total": 0.004 * size}
        else:
            plain = (0.2 + 0.5 * size) * rng.uniform(0.9, 1.1) + (start if not said else 0.0)
            by_face = 2.0 * count * rng.uniform(0.9, 1.1)
            seconds = {"background": plain, "restore": by_face, "total": plain + by_face}
        now += seconds["total"] * (overlap if said else 1.0)
        estimate.note("skipped" if i in skipped else "ok", seconds, 0 if i in skipped else count, now)
        said.append((now, estimate.left(now)))
    return [(at / now, now - at, left) for at, left in said]


def faults(said: list[tuple[float, float, float]], until: float = 0.9) -> list[float]:
    """Return by what share what was said is off, from one fifth of the time on; not in the last tenth of it."""
    return [abs(left - true) / true for share, true, left in said if 0.2 <= share <= until]


RNG = random.Random(1)
MIXED = [RNG.choice([0.5, 2.0, 12.0, 24.0]) for _ in range(150)]
PORTRAITS = [RNG.choice([0, 1, 1, 1, 2]) for _ in range(150)]


@pytest.mark.parametrize(
    ("sizes", "faces", "more"),
    [
        (MIXED, PORTRAITS, {}),
        (sorted(MIXED), [0] * 150, {}),  # small ones first: a count of photos would be off by far
        (sorted(MIXED, reverse=True), [0] * 150, {}),
        ([4.0] * 150, [0] * 150, {}),
        (MIXED, [count * (size > 1) for size, count in zip(MIXED, PORTRAITS, strict=True)], {}),
        (MIXED, PORTRAITS, {"overlap": 0.6}),  # reading and writing beside the work
        (MIXED, PORTRAITS, {"overlap": 1.8}),  # a busy machine
        (MIXED, PORTRAITS, {"start": 40.0}),  # the first photo loads the networks
        (MIXED, PORTRAITS, {"skipped": set(range(0, 150, 2))}),
        (MIXED, PORTRAITS, {"skipped": set(range(75))}),
    ],
)  # fmt: skip
def test_within_30_percent_from_one_fifth_on(sizes: list[float], faces: list[int], more: dict[str, Any]) -> None:
    for seed in range(3):
        assert max(faults(simulate(sizes, faces, seed=seed, **more))) < 0.3


def test_counting_photos_alone_would_not_do() -> None:
    """The same check, made on what a progress bar says by itself, fails: the check can fail."""
    said = simulate(sorted(MIXED), [0] * 150)
    elapsed = [said[0][1] / (1 - said[0][0]) * share for share, _, _ in said]
    by_count = [
        (share, true, at / (i + 1) * (150 - i - 1))
        for i, ((share, true, _), at) in enumerate(zip(said, elapsed, strict=True))
    ]
    assert max(faults(by_count)) > 0.3


def test_the_guess_before_the_first_photo_counts_photos_megapixels_and_faces() -> None:
    rates = Rates(photo=1.0, megapixel=2.0, face=3.0, faces=1.0)
    estimate = Estimate([Load(10.0), Load(5.0), Load(7.0, 100.0, skipped=True), Load(0.0, 1.0)], rates, 0.0)
    assert estimate.left(0.0) == pytest.approx(2 * (1 + 3) + 2 * 15, rel=0.05)
    assert estimate.left(5.0) == pytest.approx(estimate.left(0.0) - 5)
    assert estimate.left(1000.0) > 10, "a photo that takes longer than expected does not finish the others"


def test_the_time_left_falls_while_a_photo_is_in_hand_and_ends_at_nothing() -> None:
    estimate = Estimate([Load(1.0)] * 3, Rates(), 0.0)
    for number in range(1, 4):
        estimate.note("ok", {"background": 1.0, "total": 1.0}, 0, float(number))
    assert estimate.left(3.0) == 0.0


def test_headers_tell_sizes_without_decoding(tmp_path: Path) -> None:
    for suffix in (".jpg", ".png", ".webp", ".tif", ".bmp"):
        header = read_header(picture(tmp_path / f"a{suffix}", (61, 35)))
        assert header.size == (61, 35)
        assert header.bytes == (tmp_path / f"a{suffix}").stat().st_size
    cut = tmp_path / "cut.png"
    cut.write_bytes((tmp_path / "a.png").read_bytes()[:60])
    assert read_header(cut).size == (61, 35)
    for content in (b"", b"text", (tmp_path / "a.jpg").read_bytes()[:20], b"\x89PNG\r\n\x1a\n"):
        cut.write_bytes(content)
        assert read_header(cut).size is None
    assert read_header(tmp_path / "nowhere.png") == Header()
    assert read_header(tmp_path) == Header()


def test_the_guess_of_disk_is_near_for_photographs(tmp_path: Path, shared: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for photo in sorted((shared / "data/photos").glob("*.*"))[::12]:
        header = read_header(photo)
        if header.size and header.size[0] * header.size[1] < 700_000:
            (folder / photo.name).write_bytes(photo.read_bytes())
    restorer = Restorer("none", background="lanczos", device="cpu")
    batch = Batch(restorer)
    jobs = batch.plan(find_photos([str(folder)], tmp_path / "out").jobs)
    loads = [load_of(job, Options(), skipped=False) for job in jobs]
    expected = estimate_run(restorer, Outlook.of(jobs, loads))
    assert batch.run(jobs).count("ok") == len(jobs) >= 4
    written = sum(len(content) for name, content in files(tmp_path / "out").items() if not name.startswith(".")) / 1e6
    assert written / 2 < expected.megabytes < written * 2


def test_networks_make_the_guess_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """GFP-GAN, RetinaFace and Real-ESRGAN are counted, not loaded; operations are those of their papers' sizes."""
    monkeypatch.setattr("restorer.batch.outlook.operations_per_second", lambda _: 1e12)
    jobs = [Job(Path("a.jpg"), Path("out"), format="JPEG", header=Header("JPEG", (1000, 1000), 300_000))] * 10
    loads = [load_of(job, Options(), skipped=False) for job in jobs]

    def rates(model: str, background: str) -> Rates:
        parts = {"detector": "retinaface-r50", "background": background}
        return estimate_run(Restorer(model, **parts, device="cpu", precision="fp32"), Outlook.of(jobs, loads)).rates  # type: ignore[arg-type]

    plain = rates("none", "lanczos")
    assert plain.face == 0
    faces = rates("gfpgan-1.4", "lanczos")
    assert faces.megapixel == plain.megapixel
    assert 0.4 < faces.face < 2  # 0.39 Tflop for the face, 0.47 for its mask
    assert faces.photo > 0.1
    large = rates("none", "realesrgan-x4")
    assert large.megapixel > plain.megapixel + 5  # 36 Tflop a megapixel of the photo, 4 megapixels of the result


def test_a_long_run_says_beforehand_how_many_how_long_and_how_large(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(6):
        picture(Path(f"in/{number}.png"), (200, 150), seed=number)
    done = restore(capsys, "in", "-o", "out", *PLAIN)
    match = re.search(r"^6 photos: about ([\d.]+) s, about ([\d.]+) (kB|MB) on disk\.$", done.err, re.M)
    assert match, done.err
    again = restore(capsys, "in", "-o", "out", *PLAIN)
    assert again.err == "6 photos, all done already.\n"
    assert "photos:" not in restore(capsys, "in/0.png", "-o", "one", *PLAIN).err
    assert "photos:" not in restore(capsys, "in", "-o", "other", *PLAIN, "--quiet").err
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    assert "only 1 kB are free" in restore(capsys, "in", "-o", "third", *PLAIN).err


def test_during_the_run_lines_say_how_long_it_will_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole run, whose larger photos come last: what it said is compared with how long it then took."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(progress, "EVERY", 0.0)
    clock = Clock()
    for module in ("restorer.record", "restorer.cli.progress", "restorer.cli.run"):
        monkeypatch.setattr(f"{module}.time", clock)
    upscale = Lanczos.upscale

    def slow(self: Lanczos, pixels: Any, size: tuple[int, int], on_tile: Any = None) -> Any:
        clock.now += size[0] * size[1] * 3e-6
        return upscale(self, pixels, size, on_tile)

    monkeypatch.setattr(Lanczos, "upscale", slow)
    for number in range(30):
        side = 60 + 6 * number
        picture(Path(f"in/{number:02}.bmp"), (side, side), seed=number)
    said: list[tuple[float, str]] = []
    printed = messages.print

    def spy(text: str) -> None:
        said.append((clock.now, text))
        printed(text)

    monkeypatch.setattr(messages, "print", spy)
    restore(capsys, "in", "-o", "out", *PLAIN)
    assert said[0][1].startswith("30 photos: about")
    checked = 0
    for at, text in said:
        match = re.search(r"(\d+) of 30 photos, about ([\d.]+) s left", text)
        if match is not None and 0.2 <= at / clock.now <= 0.9:
            assert float(match[2]) == pytest.approx(clock.now - at, rel=0.3, abs=0.05), text
            checked += 1
    assert checked > 20


class Clock:
    """A clock that only the work moves, whatever else the machine is doing; reading and writing take no time."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def perf_counter(self) -> float:
        return self.now if threading.current_thread() is threading.main_thread() else 0.0


def test_a_dry_run_says_what_would_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(5):
        picture(Path(f"in/{number}.png"), seed=number)
    Path("in/broken.png").write_bytes(b"broken")
    done = restore(capsys, "in", "-o", "out", *PLAIN, "--dry-run", "--json", code=1)
    assert "6 photos: about" in done.err
    assert "5 photos would be restored, 1 failed" in done.err
    assert [json.loads(line)["reason"] for line in done.out.splitlines()].count("dry run") == 5
    assert not Path("out").exists()
