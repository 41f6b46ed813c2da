"""What people type: help, slips of the keyboard, numbers as they write them, and one look of every error."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from restorer.batch.slips import meant
from restorer.cli import declared as declaring
from restorer.cli import help as pages
from restorer.cli.commands import COMMANDS
from restorer.cli.request import PHOTO_OPTIONS
from restorer.cli.signatures import functions
from restorer.cli.typed import show_help
from restorer.errors import UsageError
from restorer.formatting import face_numbers, nearest, number, ranges
from restorer.options import Options, declared
from tests.support.in_process import restore

Capture = pytest.CaptureFixture[str]
DRY = ("--dry-run", "--offline", "--model", "none")
WIDTHS = (60, 80, 100, 120)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder with one photo."""
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (16, 16)).save("grandma.png")
    return tmp_path


# -------------------------------------------------------------------------------------------------------------- help


@pytest.mark.parametrize("width", WIDTHS)
def test_the_first_page_fits_on_a_screen(width: int) -> None:
    lines = [line.plain for line in pages._first_page(width)]
    assert max(map(len, lines)) <= width
    assert len(lines) <= 30
    text = "\n".join(lines)
    assert len(re.findall(r"(?m)^  restore ", text)) == 5
    assert len(re.findall(r"(?m)^  -", text)) == 10
    assert all(name in text for name in COMMANDS)
    assert {"--help", "-o", "--scale", "--model"} <= set(re.findall(r"(?<!\S)--?[a-z]+", text))


def test_what_stands_on_the_first_page_is_what_the_command_takes() -> None:
    flags = {
        flag
        for owner in PHOTO_OPTIONS
        for each in declared(owner).values()
        for flag in each.flags or (f"--{each.long}",)
    }
    for typed, _meaning in pages.OPTIONS:
        assert set(re.findall(r"--?[a-z-]+", typed)) <= flags
    for line, _meaning in pages.EXAMPLES:
        assert set(re.findall(r"(?<!\S)--?[a-z-]+", line)) <= flags


@pytest.mark.parametrize("width", WIDTHS)
def test_whole_pages_are_broken_at_words(width: int) -> None:
    for name in ("photos", *COMMANDS):
        for below, function in functions(name).items():
            typed = "restore" if name == "photos" else f"restore {name} {below}"
            for line in pages._page(typed, function, width):
                assert line.cell_len <= width
                assert line.plain == line.plain.rstrip()


def test_the_same_pages_however_they_are_asked_for(capsys: Capture) -> None:
    first = restore(capsys).out
    assert first.startswith("Usage: restore PHOTO")
    assert first == restore(capsys, "-h").out == restore(capsys, "help").out
    whole = restore(capsys, "--help").out
    assert "--min-likeness" in whole
    assert "--min-likeness" not in first
    assert restore(capsys, "photo.jpg", "--scale", "2", "-h").out == whole
    assert (
        restore(capsys, "faces", "-h").out
        == restore(capsys, "help", "faces").out
        == restore(capsys, "faces", "--help").out
    )
    pull = restore(capsys, "models", "pull", "--help").out
    assert pull == restore(capsys, "help", "models", "pull").out
    assert "--accept-license" in pull
    assert "restore models pull" in restore(capsys, "help", "models").out
    for alone in ("faces", "models", "evaluate", "train"):
        assert restore(capsys, alone, code=2).out.startswith(f"Usage: restore {alone}")
    assert not any(frame in whole for frame in "╭─│╰")


def test_a_page_says_what_a_value_is(capsys: Capture) -> None:
    whole = restore(capsys, "--help").out
    for typed in (
        "--scale NUMBER",
        "--files-from FILE",
        "--model NAME",
        "--faces WHICH",
        "-q, --quiet",
        "-V, --version",
    ):
        assert typed in whole
    assert "<" not in re.sub(r"\{.*?\}", "", whole)
    assert "gpen-1024" not in whole, "what no source has is no name that works"


def test_a_knob_stands_in_help_with_the_models_that_have_it_and_not_at_all_where_none_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = declared(Options)
    fidelity = known["fidelity"]
    assert "for codeformer, codeformer-colorization or codeformer-inpainting." in declaring.help_of(fidelity)
    assert not declaring.typed(fidelity).hidden
    monkeypatch.setattr(declaring, "names_with", lambda _control: ())
    assert declaring.typed(fidelity).hidden
    assert declaring.help_of(fidelity).endswith("for models that have it.")
    assert not declaring.typed(known["strength"]).hidden


def test_no_help_of_nothing() -> None:
    with pytest.raises(UsageError, match="dome is no command"):
        show_help(["dome"])
    with pytest.raises(UsageError, match="lsit is no command of restore models"):
        show_help(["models", "lsit"])


# ------------------------------------------------------------------------------------------------------------- slips


@pytest.mark.parametrize(
    ("typed", "what", "remedy"),
    [
        (["modles"], "no such command", "restore models`"),
        (["dome"], "no such command", "restore demo`"),
        (["hlep"], "no such command", "restore help`"),
        (["verison"], "no such command", "restore version`"),
        (["update"], "no such file or folder", "Check the name"),
        (["models", "lsit"], "lsit is no command", "restore models list`"),
        (["models", "frobnicate"], "is no command", "There are: list, show"),
        (["help", "dmeo"], "is no command", "restore demo`"),
        (["grandma.png", "-out", "x.jpg"], "-out is no option", "--out?"),
        (["grandma.png", "-scale=3"], "-scale=3 is no option", "--scale?"),
        (["faces", "grandma.png", "-json"], "-json is no option", "--json?"),
        (["--sclae", "3", "grandma.png"], "no option --sclae", "Did you mean --scale or --clean?"),
        (["grandma.png", "-z"], "no option -z", "restore --help"),
        (["grandma.png", "--scale"], "--scale needs a value", "restore --help"),
        (["grandma.png", "--overwrite=yes"], "--overwrite takes no value", "restore --help"),
        (["faces", "a", "b"], "b is too much", "Quote names"),
        (["models", "show"], "NAME is missing", "restore models show NAME"),
        (["evaluate", "tiny"], "FOLDER is missing", "restore evaluate MODEL FOLDER"),
        (["sample", "tiny-prior", "--count", "0"], "--count 0 is outside", "Use 1 to 100000"),
        (["sample", "tiny-prior", "--count", "few"], "--count few is no whole number", "--count 4"),
        (["grandma.png", "--device", "gpu"], "--device gpu is not", "cuda"),
        (["grandma.png", "--background", "none"], "--background none", "lanczos"),
        (["grandma.png", "--background", "realesrgan"], "--background realesrgan", "Did you mean realesrgan-x"),
        (["grandma.png", "--detector", "retinafce"], "--detector retinafce", "Did you mean retinaface-r50"),
        (["grandma.png", "--model", "gfpgn"], "--model gfpgn", "Did you mean gfpgan"),
        (["grandma.png", "--model", "realesrgan-x2"], "is an upscaler, not a face restorer", "restore models list"),
        (["grandma.jpg"], "grandma.jpg: there is no such", "Did you mean grandma.png?"),
        (["Grandma.PNG"], "Grandma.PNG: there is no such", "Did you mean grandma.png?"),
        (["./grandma"], "grandma: there is no such", "Did you mean grandma.png?"),
        (["grandpa.png"], "grandpa.png: there is no such", "Did you mean grandma.png?"),
    ],
)  # fmt: skip
def test_a_slip_is_told_in_two_plain_lines(
    folder: Path, capsys: Capture, typed: list[str], what: str, remedy: str
) -> None:
    done = restore(capsys, *typed, code=2)
    lines = done.err.splitlines()
    assert done.out == ""
    assert len(lines) == 2
    assert lines[0].startswith("Error: ")
    assert what in lines[0]
    assert lines[1].startswith("  ")
    assert remedy in lines[1]


def test_what_was_typed_is_looked_at_before_anything_is_said_of_models(folder: Path, capsys: Capture) -> None:
    for wrong in (("--device", "gpu"), ("--device", "cuda:77"), ("--faces", "3-1"), ("--tile", "x")):
        assert restore(capsys, "grandma.png", "--offline", *wrong, code=2).err.startswith("Error: --")


def test_a_photo_that_is_called_like_a_slip_is_a_photo(folder: Path, capsys: Capture) -> None:
    Image.new("RGB", (16, 16)).save(folder / "modles", "PNG")
    assert "would be" in restore(capsys, "modles", *DRY).out


def test_what_stands_behind_two_dashes_is_no_option(folder: Path, capsys: Capture) -> None:
    Image.new("RGB", (16, 16)).save(folder / "-out", "PNG")
    assert "-out" in restore(capsys, *DRY, "--", "-out").out
    Image.new("RGB", (16, 16)).save(folder / "--help", "PNG")
    assert "--help_restored" in restore(capsys, *DRY, "--", "--help").out


def test_the_nearest_file_is_looked_for_in_each_folder(folder: Path) -> None:
    (folder / "Album 1950/summer").mkdir(parents=True)
    (folder / "Album 1950/summer/beach.jpeg").touch()
    (folder / "Album 1950/.hidden.jpg").touch()
    found = Path("Album 1950/summer/beach.jpeg")
    for typed in (
        "album 1950/summer/beach.jpeg",
        "Album 1950/sumer/beach.jpg",
        "Album 1950/summer/BEACH",
        "Album 1950/Summer/baech.jpeg",
    ):
        assert meant(Path(typed)) == found
        assert meant(folder / typed) == folder / found
    for typed in (
        "Album 1950/summer/mountain.jpg",
        "nothing/at/all.jpg",
        "grandma.png/x.jpg",
        "Album 1950/hidden.jpg",
        "x" * 5000,
    ):
        assert meant(Path(typed)) is None


def test_nearest_names() -> None:
    assert nearest("dome", ["demo", "doctor"]) == ["demo"]
    assert nearest("MODLES", ["models", "man"]) == ["models"]
    assert nearest("zzz", ["models"]) == []


# ----------------------------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2.5", 2.5),
        ("2,5", 2.5),
        ("0,125", 0.125),
        (",5", 0.5),
        ("2", 2.0),
        ("1e1", 10.0),
        (" 3 ", 3.0),
        ("-1,5", -1.5),
    ],
)
def test_numbers_with_point_or_comma(text: str, value: float) -> None:
    assert number(text, "--x") == value


@pytest.mark.parametrize(("text", "value"), [("2x", 2), ("2,5x", 2.5), ("x4", 4), ("8 ×", 8), ("2X", 2), ("*3", 3)])
def test_factors(text: str, value: float) -> None:
    assert number(text, "--scale", times=True) == value
    with pytest.raises(UsageError, match="is no number"):
        number(text, "--strength")


@pytest.mark.parametrize("text", ["", "x", "xx2", "2;5", "1,2,3", "two", "\u0662", "2 5", "0x10", "1_0.5.2"])
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(UsageError, match="is no number"):
        number(text, "--scale", times=True)


def test_a_comma_that_may_mean_thousands_is_asked_about() -> None:
    with pytest.raises(UsageError, match=r"may be 1000 or 1\.000"):
        number("1,000", "--scale")
    with pytest.raises(UsageError, match="whole number"):
        number("2,5", "--tile", whole=True)


def test_the_command_reads_numbers_as_people_write_them(folder: Path, capsys: Capture) -> None:
    for scale, size in (("2,5", "40 x 40"), ("2x", "32 x 32"), ("1,5x", "24 x 24")):
        assert size in restore(capsys, "grandma.png", *DRY, "--scale", scale).out
    assert restore(capsys, "grandma.png", "--dry-run", "--offline", "--strength", "0,7").code == 0
    assert "Use 0 to 1" in restore(capsys, "grandma.png", *DRY[:2], "--strength", "1,7", code=2).err


def test_faces_in_ranges() -> None:
    assert face_numbers("1-3") == frozenset({1, 2, 3})
    assert face_numbers("2, 5 - 6,9") == frozenset({2, 5, 6, 9})
    assert face_numbers("4-4") == frozenset({4})
    for text in ("3-1", "0-2", "1-", "-2", "1-2-3", "a-b", "", "1-999999", "1,,2", "²"):
        assert face_numbers(text) is None
    assert ranges([1, 2, 3, 7, 9, 10]) == "1-3, 7, 9-10"


# --------------------------------------------------------------------------------------------------- encodings, looks


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_no_letter_ends_a_command(encoding: str, tmp_path: Path) -> None:
    """Each of several commands in one process, into a pipe of an old code page, with names of all scripts."""
    name = "Großmutter \u2192 \u4f60\u597d \u0414 \U0001f600.png"
    Image.new("RGB", (16, 16)).save(tmp_path / name)
    script = f"""
import sys
from restorer.cli import main
for words in (["models", "list"], ["models", "show", "tiny"], [{name!r}, "--dry-run", "--offline", "--model", "none"],
              ["nothing \\u2192.png"], ["--help"], ["config"]):
    try:
        main(words)
    except SystemExit as ended:
        print(words[0].encode("ascii", "replace").decode(), ended.code, file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
        check=True,
    )
    text = done.stdout.decode(encoding) + done.stderr.decode(encoding)
    assert "Traceback" not in text
    assert "256 -> 256" in text
    assert "nothing ->.png: there is no such file" in text
    assert (
        "Großmutter" if encoding == "cp1252" else r"Gro\xdfmutter"
    ) + r" -> \u4f60\u597d \u0414 \U0001f600_restored.png" in text
    assert re.findall(r"(?m) (\d)$", done.stderr.decode(encoding)) == ["0", "0", "0", "2", "0", "0"]


def test_errors_look_the_same_whatever_the_terminal_is(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variables in ({"TERM": "dumb"}, {"TERM": "xterm"}, {"NO_COLOR": "1"}):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        said = restore(capsys, "--quux", code=2).err
        assert said == "Error: There is no option --quux.\n  `restore --help` shows all options.\n"
