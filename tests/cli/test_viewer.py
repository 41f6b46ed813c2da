"""What happens when a run is over: the result is opened, the terminal tells."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from restorer.cli import viewer
from restorer.cli.console import Lines
from tests.support.in_process import restore

Capture = pytest.CaptureFixture[str]
PLAIN = ("--model", "none", "--background", "lanczos", "--offline")


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[list[str]]]:
    """A working folder with two photos, and what a system with a viewer was told to open since the last call."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "album/deep").mkdir(parents=True)
    for name in ("a.png", "album/b.png", "album/deep/c.png"):
        Image.new("RGB", (16, 16)).save(name)
    found: list[list[str]] = []
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")

    def started(words: list[str], **how: Any) -> None:
        assert how["stdin"] == how["stdout"] == how["stderr"] == subprocess.DEVNULL
        found.append(words)

    monkeypatch.setattr("subprocess.Popen", started)

    def taken() -> list[list[str]]:
        now = list(found)
        found.clear()
        return now

    return taken


def test_open_shows_the_picture_the_report_or_the_folder(
    opened: Callable[[], list[list[str]]], tmp_path: Path, capsys: Capture
) -> None:
    def shows(*words: str, code: int = 0) -> list[list[str]]:
        restore(capsys, *words, *PLAIN, "--open", code=code)
        return opened()

    assert shows("a.png") == [["/bin/xdg-open", str(tmp_path / "a_restored.png")]]
    assert shows("a.png") == [["/bin/xdg-open", str(tmp_path / "a_restored.png")]], "it is there already"
    assert shows("album", "-o", "out") == [["/bin/xdg-open", str(tmp_path / "out")]]
    assert shows("album", "-o", "page", "--report") == [["/bin/xdg-open", str(tmp_path / "page/report.html")]]
    assert shows("album/deep", "-o", "one", "--dry-run") == []
    (tmp_path / "bad.png").write_bytes(b"no picture")
    assert shows("bad.png", code=1) == []
    restore(capsys, "album/deep", "-o", "two", *PLAIN)
    assert opened() == []


def test_open_without_a_viewer_says_so(
    opened: Callable[[], list[list[str]]], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)
    assert "no `xdg-open`" in restore(capsys, "a.png", *PLAIN, "--open").err
    assert opened() == []


@pytest.mark.parametrize(
    ("program", "written"),
    [("iTerm.app", "\x1b]9;done\x1b\\"), ("WezTerm", "\x1b]9;done\x1b\\"), ("vscode", "\a"), (None, "\a")],
)
def test_terminals_that_have_notifications_get_one_and_others_a_bell(
    program: str | None, written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("TERM_PROGRAM", raising=False)
    if program is not None:
        monkeypatch.setenv("TERM_PROGRAM", program)
    for seconds, terminal, expected in ((31, True, written), (29, True, ""), (31, False, "")):
        file = io.StringIO()
        viewer.notify("done", seconds, Lines(file=file, force_terminal=terminal))
        assert file.getvalue() == expected
    monkeypatch.setenv("TERM", "dumb")
    file = io.StringIO()
    viewer.notify("done", 31, Lines(file=file, force_terminal=True))
    assert file.getvalue() == ""


def test_a_long_run_is_told_and_may_be_told_not_to(
    opened: Callable[[], list[list[str]]], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(viewer, "notify", lambda text, _seconds: told.append(text))
    restore(capsys, "a.png", *PLAIN, "--no-notify")
    restore(capsys, "a.png", *PLAIN, "-q")
    assert told == []
    Path("restore.toml").write_text("notify = false\n")
    restore(capsys, "a.png", *PLAIN)
    assert told == []
    restore(capsys, "a.png", *PLAIN, "--notify")
    assert len(told) == 1
