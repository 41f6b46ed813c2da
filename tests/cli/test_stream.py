"""`restore -` and `-o -`: stdin and stdout keep the rules of files."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from tests.support.albums import PLAIN, files, picture, run
from tests.support.in_process import Done, restore

Capsys = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    picture(Path("p.jpg"))
    return tmp_path


@contextmanager
def piped(data: bytes) -> Iterator[io.TextIOWrapper]:
    read, write = os.pipe()
    os.write(write, data)
    os.close(write)
    with os.fdopen(read) as stream:
        yield stream


class Standard:
    """Runs the command with a file or pipe as stdin, and says what it wrote to stdout."""

    def __init__(self, capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys, self._monkeypatch = capsys, monkeypatch

    def __call__(self, *arguments: str, stdin: str | bytes = "p.jpg", code: int = 0) -> Done:
        with piped(stdin) if isinstance(stdin, bytes) else Path(stdin).open() as stream:
            self._monkeypatch.setattr("sys.stdin", stream)
            return restore(self._capsys, *arguments, *PLAIN, code=code)

    def picture(self, *arguments: str, stdin: str = "p.jpg") -> bytes:
        """Return what a run writes to stdout, which is a file."""
        with Path("stdout").open("w") as stdout, Path(stdin).open() as stream, self._monkeypatch.context() as patch:
            patch.setattr("sys.stdin", stream)
            patch.setattr("sys.stdout", stdout)
            restore(self._capsys, *arguments, *PLAIN)
        return Path("stdout").read_bytes()


@pytest.fixture
def standard(capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> Standard:
    return Standard(capsys, monkeypatch)


def test_a_dry_run_writes_nothing(standard: Standard) -> None:
    done = standard("-", "-o", "new/out.jpg", "--dry-run")
    assert "new/out.jpg  (48 x 32, would be written)" in done.out
    assert "would be written" in standard("-", "--dry-run").err
    assert "would be written" in standard("p.jpg", "-o", "-", "--dry-run").err
    assert json.loads(standard("-", "--dry-run", "--json").out)["reason"] == "dry run"
    assert list(files(Path())) == ["p.jpg"]


@pytest.mark.parametrize("out", ["p.jpg", "link.jpg", "hard.jpg", "./folder/../p.jpg"])
@pytest.mark.parametrize("stdin", ["p.jpg", "link.jpg", b"pipe"])
@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_the_photo_itself_is_never_replaced(standard: Standard, out: str, stdin: str | bytes, name: str) -> None:
    Path("folder").mkdir()
    before = Path("p.jpg").read_bytes()
    os.link("p.jpg", "hard.jpg")
    Path("link.jpg").symlink_to("p.jpg")
    given = before if isinstance(stdin, bytes) else stdin
    for more in ((), ("--overwrite",), ("--overwrite", "--dry-run")):
        assert "original" in standard(name, "-o", out, *more, stdin=given, code=1).err
    assert Path("p.jpg").read_bytes() == before
    assert Path("link.jpg").is_symlink()


def test_a_result_is_done_replaced_or_in_the_way_as_a_files_is(standard: Standard) -> None:
    standard("-", "-o", "new/out.jpg")
    first = Path("new/out.jpg").read_bytes()
    assert "done already" in standard("-", "-o", "new/out.jpg").out
    assert "exists already" in standard("-", "-o", "new/out.jpg", "--no-resume", code=1).err
    kept = standard("-", "-o", "new/out.jpg", "--scale", "3")
    assert "made with --scale 2; this run asks for --scale 3" in kept.err
    assert "-o new/out_3x.jpg" in kept.err
    assert Path("new/out.jpg").read_bytes() == first
    standard("-", "-o", "new/out.jpg", "--scale", "3", "--overwrite")
    assert Image.open("new/out.jpg").size == (72, 48)


def test_one_photo_goes_to_stdout(standard: Standard) -> None:
    standard("p.jpg", "-o", "file.jpg")
    expected = Path("file.jpg").read_bytes()
    for arguments in (("p.jpg", "-o", "-"), ("-", "-o", "-"), ("-",), ("/dev/stdin",), ("p*.jpg", "-o", "/dev/stdout")):
        assert standard.picture(*arguments) == expected
    assert not Path("-").exists()
    standard("p.jpg", "-o", "./-")
    assert Path("-/p_restored.jpg").exists(), "a folder of that name is written with its own"


def test_more_than_one_photo_does_not_go_to_stdout(standard: Standard) -> None:
    picture(Path("q.jpg"))
    for photos in (("p.jpg", "q.jpg"), (".",)):
        assert "one photo" in standard(*photos, "-o", "-", code=2).err
    assert standard("gone.jpg", "-o", "-", code=2).out == ""


@pytest.mark.parametrize(
    "options", [("--report",), ("--shard", "1/2"), ("--retry-failed",), ("--name", "{stem}"), ("--json",)]
)
def test_what_goes_with_files_only_is_refused(standard: Standard, options: tuple[str, ...]) -> None:
    for arguments in (("-",), ("p.jpg", "-o", "-")):
        assert options[0] in standard(*arguments, *options, code=2).err
    if options != ("--json",):
        assert options[0] in standard("-", "-o", "out.jpg", *options, code=2).err
        assert not Path("out.jpg").exists()


def test_what_restore_toml_says_of_files_is_no_error(standard: Standard) -> None:
    Path("restore.toml").write_text('name = "{stem}-x"\nretry-failed = true\n')
    standard("-", "-o", "out.jpg")
    assert "--name" in standard("-", "-o", "out.jpg", "--name", "{stem}", "--overwrite", code=2).err


@pytest.mark.parametrize("out", ["out.jxl", "out.avif", "out", "out/", "p.d"])
def test_a_photo_from_stdin_needs_the_name_of_a_picture(standard: Standard, out: str) -> None:
    standard("-", "-o", out, code=2)
    assert list(files(Path())) == ["p.jpg"]


def test_a_picture_does_not_go_to_a_terminal(
    standard: Standard, monkeypatch: pytest.MonkeyPatch, capsys: Capsys
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys.stdout, "isatty", lambda: True)
        for arguments in (("-",), ("-", "-o", "-"), ("p.jpg", "-o", "-")):
            assert "-o FILE" in standard(*arguments, code=2).err
        standard("-", "-o", "out.jpg")

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal())
    assert "stdin is this terminal" in restore(capsys, "-", *PLAIN, code=2).err


def test_stdout_that_leads_into_the_photo_is_refused(standard: Standard, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Path("p.jpg").read_bytes()
    for arguments in (("-",), ("p.jpg", "-o", "-")):
        with Path("p.jpg").open("a") as stdout, monkeypatch.context() as patch:
            patch.setattr("sys.stdout", stdout)
            assert "photo itself" in standard(*arguments, code=2).err
    assert Path("p.jpg").read_bytes() == before


def test_a_photo_that_cannot_be_read_fails_alone(standard: Standard) -> None:
    assert "Failed" in standard("-", stdin=b"no picture", code=1).err
    assert "Failed" in standard("-", stdin=b"", code=1).err
    Path("broken.jpg").symlink_to("gone")
    assert "Failed" in standard("broken.jpg", "-o", "-", code=1).err


# ------------------------------------------------------------------------------------------------------------- names

ODD = (
    "1 \u7956\u6bcd",
    "2 \U0001f600",
    "3 holiday :sunny: [a] :b:",
    "4 [bold]x[red]",
    "5 \\[red]",
    "6 tab\tline\nend",
    "7",
)


@pytest.mark.skipif(os.name == "nt", reason="names that Windows does not have")
@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp1252", "cp437"])
def test_names_that_no_encoding_holds_end_no_run(
    encoding: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ODD:
        picture(tmp_path / "in" / f"{name}.jpg")
    (tmp_path / "in/7.jpg").rename(tmp_path / os.fsdecode(b"in/7\xff.jpg"))
    (tmp_path / "in/8 \u7956.jpg").write_bytes(b"broken")
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    done = run(tmp_path, "in", "-o", "out", *PLAIN, code=1)
    assert done.stdout.count("_restored.jpg") == len(ODD)
    assert "UnicodeEncodeError" not in done.stderr
    assert "Failed: in/8 \\u7956.jpg" in done.stderr
    done = run(tmp_path, "in", "-o", "other", *PLAIN, "--json", "--report", code=1)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["input"] for record in records][:6] == [f"in/{name}.jpg" for name in ODD[:6]]
    assert len(records) == len(ODD) + 1


@pytest.mark.skipif(os.name == "nt", reason="names that Windows does not have")
def test_names_are_shown_as_they_are(capsys: Capsys) -> None:
    for name in ODD:
        picture(Path("in", f"{name}.jpg"))
    Path("in/9 :sunny: [b].jpg").write_bytes(b"broken")
    done = restore(capsys, "in", "-o", "out", *PLAIN, code=1)
    for name in ODD:
        assert f"out/{name.encode('unicode_escape').decode() if chr(10) in name else name}_restored.jpg  (" in done.out
    assert done.err.count("in/9 :sunny: [b].jpg") == 2
    assert "There" not in done.err
    assert ":sunny: [x]" in restore(capsys, ":sunny: [x]", *PLAIN, code=2).err


@pytest.mark.parametrize(
    "option", ["--min-face", "--strength", "--scale", "--min-score", "--min-likeness", "--fidelity"]
)
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-1"])
def test_figures_that_are_no_numbers_are_refused(option: str, value: str, capsys: Capsys) -> None:
    assert option in restore(capsys, "p.jpg", option, value, "--model", "tiny", code=2).err


def test_a_reader_that_has_gone_is_no_fault_of_the_photo(tmp_path: Path) -> None:
    Image.effect_noise((400, 300), 90).save(tmp_path / "a.png")  # more than a pipe holds
    command = f'"{sys.executable}" -m restorer a.png -o - --model none --background lanczos --offline | true'
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        ["bash", "-c", f"{command}; echo ${{PIPESTATUS[0]}}"],
        capture_output=True, text=True, cwd=tmp_path, check=False, timeout=120, env=environment,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout == "1\n"
