"""Lines of the console: broken at words, with links, and what a bar is told of the time that is left."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.text import Text

from restorer.batch.discovery import Job
from restorer.batch.estimate import Estimate, Load, Rates
from restorer.cli.console import Lines, broken, linked, note, raw, results
from restorer.cli.moving import Moving, words
from restorer.cli.progress import ProgressView, _Pace
from restorer.pipeline.events import Counted

WIDTHS = (60, 80, 100, 120)
LONG = (
    "/photos/albums/1950 to 1959/summer at the lake/grandma_and_grandpa_restored.jpg: the photo's colour profile is "
    "damaged; the result has none."
)


def printed(*objects: Any, width: int | None, **how: Any) -> list[str]:
    """Return what a console prints: a terminal of this width, or a pipe."""
    file = io.StringIO()
    console = Lines(file=file, force_terminal=width is not None, width=width, no_color=True)
    console.print(*objects, **how)
    return file.getvalue().replace("\x1b[0m", "").splitlines()


@pytest.mark.parametrize("width", WIDTHS)
def test_a_line_is_broken_at_words_and_its_rest_stands_further_in(width: int) -> None:
    lines = printed(f"Note: {LONG}", width=width)
    assert all(len(line) <= width or " " not in line.strip() for line in lines)
    assert all(line.startswith("  ") and line[2] != " " for line in lines[1:])
    assert " ".join(line.strip() for line in lines) == f"Note: {LONG}"
    deeper = printed(f"   {LONG}", width=width)
    assert all(line.startswith("     ") for line in deeper[1:])


def test_a_line_stays_one_in_a_pipe() -> None:
    assert printed(f"Note: {LONG}", width=None) == [f"Note: {LONG}"]
    assert printed(f"Note: {LONG}", width=60, soft_wrap=True) == [f"Note: {LONG}"]


def test_a_word_that_is_longer_than_a_line_stays_whole() -> None:
    path = "/" + "x" * 90
    assert printed(f"Report: {path} and more of it", width=60) == ["Report:", f"  {path}", "  and more of it"]


def test_markup_and_emoji_codes_in_names_are_left_alone() -> None:
    name = "a:smile:[bold]b[/].png"
    assert printed(linked(name, Lines(file=io.StringIO())), width=60) == [name]
    assert printed(Text(name), width=None) == [name]


@given(st.lists(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=90)), st.integers(20, 130))
def test_whatever_the_words_are(given_words: list[str], width: int) -> None:
    """Also wide letters, which take two cells, and such that take none."""
    text = " ".join(given_words)
    lines = broken(Text(text), width).plain.split("\n")
    assert " ".join(line.strip(" ") for line in lines) == text
    assert all(cell_len(line) <= width or len(line.split()) == 1 for line in lines)


def test_a_path_is_a_link_where_the_terminal_has_links(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "Großmutter 1.jpg"
    for term, terminal, linkable in (("xterm-256color", True, True), ("linux", True, False), ("xterm", False, False)):
        monkeypatch.setenv("TERM", term)
        file = io.StringIO()
        console = Lines(file=file, force_terminal=terminal, width=200)
        console.print(linked(path, console))
        assert (path.as_uri() in file.getvalue()) == linkable
        assert path.name in file.getvalue()


def test_records_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    raw('{"input": "[bold]a[/] :smile: ' + "b " * 200 + '"}')
    assert capsys.readouterr().out == '{"input": "[bold]a[/] :smile: ' + "b " * 200 + '"}\n'
    note("[x] of :smile:")
    assert capsys.readouterr().err == "Note: [x] of :smile:\n"
    results.print("[bold]a[/]")
    assert capsys.readouterr().out == "a\n"


# --------------------------------------------------------------------------------------------------------------- bars


@pytest.mark.parametrize("width", WIDTHS)
def test_a_bar_stays_on_one_line(width: int) -> None:
    from restorer.cli.moving import bar, spinner

    file = io.StringIO()
    console = Lines(file=file, force_terminal=True, width=width, no_color=True)
    moving = Moving(spinner(), words(), bar(), console=console, expand=True)
    moving.add_task(f"Restoring faces, 3 of 29: {LONG}", total=3)
    console.print(moving.make_tasks_table(moving.tasks), soft_wrap=False)
    lines = file.getvalue().splitlines()
    assert len(lines) == 1
    assert "Restoring faces, 3 of 29" in lines[0] or width == 60


def test_nothing_moves_before_its_time_and_nothing_stays_after() -> None:
    file = io.StringIO()
    console = Lines(file=file, force_terminal=True, width=60)
    with Moving(words(), console=console, after=1000.0, auto_refresh=False) as moving:
        moving.add_task("Looking for photos", total=None)
        moving.refresh()
        console.print("a line")
        moved = [console.moving]
    moved.append(console.moving)
    assert moved == [True, False]
    assert "Looking" not in file.getvalue()
    assert "a line" in file.getvalue()


def test_a_fraction_may_be_counted() -> None:
    assert Counted(5, 20) == 0.25
    assert (Counted(5, 20).done, Counted(5, 20).total) == (5, 20)
    assert Counted(0, 0) == 1.0


def test_the_time_of_a_crowd_is_measured_from_the_first_face_on() -> None:
    pace = _Pace()
    pace.note(Counted(0, 10), last=True, now=0.0)
    assert pace.left(5.0) is None
    pace.note(Counted(1, 10), last=True, now=20.0)  # which loaded the network
    assert pace.left(20.0) is None
    pace.note(Counted(2, 10), last=True, now=22.0)
    assert pace.left(22.0) == pytest.approx(16.0)
    assert pace.left(23.0) == pytest.approx(15.0)
    assert pace.left(90.0) is None, "rather nothing than a wrong one"
    pace.note(Counted(1, 3), last=False, now=24.0)
    assert pace.left(24.0) is None, "what follows is not known"
    pace.note(0.5, last=True, now=25.0)
    assert pace.left(25.0) is None


class Screen:
    """Stands for a bar."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.reached: list[float] = []

    def add_task(self, _words: str, total: int) -> int:
        return total

    def update(self, _task: int, *, description: str = "", completed: float | None = None) -> None:
        self.said.append(description)
        self.reached.append(completed or 0.0)


def test_faces_are_counted_in_the_bar_s_words() -> None:
    screen = Screen()
    view = ProgressView(cast(Any, screen), 1, Estimate([Load(1.0)], Rates(complete=False), 0.0), lines=False)
    tell = view.begin(Job(Path("crowd.jpg"), Path("out")))
    for fraction in (Counted(0, 1), Counted(3, 29), 0.5):
        tell("restore", fraction)
    assert screen.said[1:] == [
        "Restoring faces: crowd.jpg", "Restoring faces, 3 of 29: crowd.jpg", "Restoring faces: crowd.jpg",
    ]  # fmt: skip
    assert view.left() is None


def test_the_bar_moves_with_the_faces_and_reaches_no_end_before_the_last() -> None:
    screen = Screen()
    view = ProgressView(cast(Any, screen), 2, Estimate([Load(1.0)] * 2, Rates(), 0.0), lines=False)
    for name in ("crowd.jpg", "other.jpg"):
        tell = view.begin(Job(Path(name), Path("out")))
        for done in range(30):
            tell("restore", Counted(done, 29))
    assert all(one <= two for one, two in zip(screen.reached, screen.reached[1:], strict=False))
    first = screen.reached[1:31]
    assert len(set(first)) == 30, "each face moves it"
    assert max(first) < 1.0 <= min(screen.reached[31:])
    assert max(screen.reached) < 2.0


def test_no_time_is_told_that_nobody_knows() -> None:
    untried = Estimate([Load(1.0)] * 3, Rates(complete=False), 0.0)
    assert untried.known(0.0) is None
    untried.note("ok", {"total": 10.0}, 1, 10.0)
    assert untried.known(10.0) == pytest.approx(20.0)
    overdue = Estimate([Load(1.0)], Rates(photo=2.0), 0.0)
    assert overdue.known(1.0) == pytest.approx(1.1, abs=0.2)
    assert overdue.known(60.0) is None, "the last photo takes longer than was thought"
