"""What a person sees: the command in a real pseudo-terminal, its screen kept by pyte, compared with kept screens.

The screens lie in `screens/`, a file each, with times masked. After a change that is meant:
`RESTORER_KEEP_SCREENS=1 python -m pytest tests/cli/test_terminal.py`, and look at what git says has changed.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.terminal import Terminal, masked

SCREENS = Path(__file__).parent / "screens"
ROOT = Path(__file__).parents[2]
PLAIN = ("--offline", "--model", "none", "--background", "lanczos")
WIDTHS = (60, 80, 100, 120)
KNOWN = [
    "gfpgan-1", "gfpgan-1.2", "gfpgan-1.3", "gfpgan-1.4", "glean-128", "glean-ffhq16", "glean-cat8", "glean-cat16",
    "gpen-256", "gpen-512", "gpen-1024", "gpen-2048", "gpen-colorization", "gpen-inpainting", "restoreformer",
    "retinaface-r50", "retinaface-mobilenet0.25", "parsenet", "bisenet", "mobilefacenet", "realesrgan-x2",
    "realesrgan-x4", "realesr-general", "realesr-general-wdn", "tiny", "tiny-free", "tiny-prior", "tiny-detector",
    "tiny-detector-free", "tiny-upscaler",
]  # fmt: skip
"""The weights of the kept list."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with photos, and settings and caches of nobody."""
    for name in ("RESTORER_CONFIG", "RESTORER_CACHE", "HF_HUB_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    work = tmp_path / "work"
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    for name in ["grandma.png", *(f"album/summer {number:02}.png" for number in range(20))]:
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise).save(work / name)
    Image.fromarray(np.full((280, 440, 3), 120, np.uint8)).save(work / "crowd.png")
    return work


def scene(folder: Path, name: str, columns: int, *arguments: str, stdout: int | None = None) -> Terminal:
    return Terminal(
        [sys.executable, "-m", "tests.support.scene", name, *arguments], columns=columns, folder=folder, stdout=stdout
    )


def compare(name: str, columns: int, lines: list[str]) -> None:
    """Compare a screen with the one that is kept, or keep it."""
    path = SCREENS / f"{name}-{columns}.txt"
    text = "\n".join(masked(lines)) + "\n"
    if os.environ.get("RESTORER_KEEP_SCREENS"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def bars(terminal: Terminal) -> Iterator[str]:
    """Yield each bar that stood on the screen; it is the last line, and the only one."""
    for lines in terminal.seen:
        drawn = [number for number, line in enumerate(lines) if re.match(r"[-\\|/] [A-Z]", line)]
        assert len(drawn) <= 1, "\n".join(lines)
        if drawn:
            assert drawn[0] == len(lines) - 1, "\n".join(lines)
            yield lines[-1]


def test_a_folder(folder: Path) -> None:
    """Twenty quick photos: the bar below, the lines above, nothing left over."""
    with scene(folder, "now", 80, "album", "-o", "out", *PLAIN) as terminal:
        assert terminal.wait() == 0
    seen = list(bars(terminal))
    assert any("summer" in line for line in seen)
    assert all(len(line) <= 80 for line in seen)
    assert terminal.cursor_is_shown
    compare("folder", 80, terminal.lines())


def test_a_crowd(folder: Path) -> None:
    """The bar moves with the faces, and tells a time once it has measured one; never a wrong one."""
    with scene(
        folder, "now+crowd", 60, "crowd.png", "--offline", "--background", "lanczos", "--scale", "1"
    ) as terminal:
        assert terminal.wait() == 0
    seen = list(bars(terminal))
    counts = [int(found[1]) for line in seen if (found := re.search(r"Restoring faces, (\d+) of 29", line))]
    assert len(set(counts)) >= 5
    assert counts == sorted(counts)
    told = [line for line in seen if " left" in line]
    assert not any(re.search(r"\d ms left|about 0", line) for line in told)
    assert not any("left" in line for line in seen if "Restoring faces, 0" in line or "Restoring faces, 1 " in line)
    compare("crowd", 60, terminal.lines())


def test_one_photo_and_what_stays_after_ctrl_c(folder: Path) -> None:
    with scene(folder, "now", 80, "grandma.png", *PLAIN) as terminal:
        assert terminal.wait() == 0
    assert not any(" left" in line for line in bars(terminal))
    assert b"\x1b]8;" in terminal.written, "the result is a link"
    compare("one", 80, terminal.lines())
    with scene(folder, "now+slow", 80, "album", "-o", "out", *PLAIN) as terminal:
        terminal.wait(until=lambda lines: any("Enlarging" in line for line in lines))
        terminal.type(b"\x03")
        assert terminal.wait() == 130
    assert terminal.cursor_is_shown
    compare("interrupt", 80, terminal.lines())


def test_a_picture_that_goes_to_stdout_says_its_stages(folder: Path) -> None:
    """The bar is on the terminal, the picture in the file; so for a photo by its name and for one from stdin."""
    for typed, name in (("grandma.png -o -", "grandma.png"), ("- < grandma.png", "the photo from stdin")):
        script = f"exec {sys.executable} -m tests.support.scene now+slow {typed} {' '.join(PLAIN)} > result.png"
        shown = f"Enlarging the picture: {name}"

        def is_seen(lines: list[str], shown: str = shown) -> bool:
            return any(shown in line for line in lines)

        with Terminal(["sh", "-c", script], columns=100, folder=folder) as terminal:
            terminal.wait(until=is_seen)
            terminal.type(b"\x03")
            assert terminal.wait() == 130
        assert terminal.cursor_is_shown
        assert not any("Enlarging" in line for line in terminal.lines())


def test_what_goes_into_a_file_reaches_it(folder: Path) -> None:
    """Records sent to a file while a bar is on the terminal; nothing of them is seen there."""
    words = ("album", "-o", "out", "--json", *PLAIN)
    with (
        (folder / "records.jsonl").open("wb") as file,
        scene(folder, "now", 80, *words, stdout=file.fileno()) as terminal,
    ):
        assert terminal.wait() == 0
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    assert len(records) == 20
    assert not any("{" in line for line in terminal.lines())
    assert list(bars(terminal))


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_what_people_do_at_three_widths(folder: Path, columns: int) -> None:
    """One photo, a folder of twenty, the demo, a crowd, and Ctrl-C in the middle of a folder, one after the other."""
    words = list(PLAIN)
    scenes = [
        ("now", ["grandma.png", *words]),
        ("now", ["album", "-o", "out", *words]),
        ("now", ["demo"]),
        ("now+crowd", ["crowd.png", "--offline", "--background", "lanczos", "--scale", "1"]),
        ("now+slow", ["album", "-o", "again", *words]),
    ]
    with scene(folder, "tour", columns, json.dumps(scenes)) as terminal:
        terminal.wait(until=lambda lines: any(line.startswith("$ restore album -o again") for line in lines))
        terminal.wait(until=lambda lines: "Enlarging" in lines[-1])
        terminal.type(b"\x03")
        assert terminal.wait() == 130
    assert terminal.cursor_is_shown
    drawn = list(bars(terminal))
    for part in ("summer", "before.jpg", " of 29", "Enlarging"):
        assert any(part in line for line in drawn), part
    lines = terminal.lines()
    assert max(map(len, [*lines, *drawn])) <= columns
    compare("tour", columns, lines)


@pytest.mark.parametrize("columns", WIDTHS)
def test_pages_and_errors_at_every_width(folder: Path, columns: int) -> None:
    """Several commands in one terminal, as one screen; of the weights those of today, since there will be others."""
    script = f"""
import sys
from restorer import weights
from restorer.cli import main
every = weights.tables
weights.tables = lambda: {{name: table for name, table in every().items() if name in {KNOWN}}}
for words in (["-h"], ["models", "list"], ["models", "list", "--all"], ["faces", "--help"],
              ["no such folder/with a long name/grandma.jpg"],
              ["grandma.png", "--background", "none"]):
    print("$ restore", *words, flush=True)
    try:
        main(words)
    except SystemExit:
        pass
"""
    with Terminal([sys.executable, "-c", script], columns=columns, folder=folder) as terminal:
        assert terminal.wait() == 0
    lines = terminal.lines()
    assert max(map(len, lines)) <= columns
    compare("pages", columns, lines)


def test_the_demo(folder: Path) -> None:
    with scene(folder, "now", 100, "demo") as terminal:
        assert terminal.wait() == 0
    assert any("Restoring faces: before.jpg" in line for line in bars(terminal))
    compare("demo", 100, terminal.lines())


def test_a_terminal_that_cannot_go_back_gets_no_bar(folder: Path) -> None:
    command = [sys.executable, "-m", "tests.support.scene", "now", "grandma.png", *PLAIN]
    with Terminal(command, columns=80, folder=folder, environment={"TERM": "dumb"}) as terminal:
        assert terminal.wait() == 0
    assert b"\x1b[" not in terminal.written
    assert b"\x1b]" not in terminal.written
    assert len(terminal.lines()) == 1
