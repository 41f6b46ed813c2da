"""The manual page restore(1): it says what the commands say, holds every option, renders, and its examples run."""

from __future__ import annotations

import ast
import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.main import get_command

from restorer.cli import manpage
from restorer.cli.commands import COMMANDS
from restorer.evaluation import ageing as demo
from tests.conftest import Restore
from tests.support.in_process import restore as restore_here

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/restore.1"
AGAIN = "RESTORER_CONFIG=/nowhere python -m restorer.cli.manpage > docs/restore.1"
VARIABLE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+")


def plain(source: str) -> str:
    """Return roff source as the text that it stands for."""
    for escape, char in ((r"\-", "-"), (r"\(aq", "'"), (r"\(ti", "~"), (r"\(dq", '"'), (r"\e", "\\"), (r"\&", "")):
        source = source.replace(escape, char)
    return re.sub(r"\\f[BRI]", "", source)


def parts(source: str) -> dict[str, str]:
    """Return the text of each command by what is typed for it, "restore" for OPTIONS."""
    options = source[source.index(".SH OPTIONS") : source.index(".SH COMMANDS")]
    found = {"restore": plain(options)}
    commands = source[source.index(".SH COMMANDS") : source.index(".SH FILES")]
    for part in re.split(r"^\.SS ", commands, flags=re.MULTILINE)[1:]:
        heading = plain(part.partition("\n")[0])
        found[" ".join(word for word in heading.split() if word[0].islower())] = plain(part)
    return found


def known() -> Iterator[tuple[str, Any]]:
    """Yield each command as Typer makes it, with what is typed for it: not from what the page is made from."""
    for name in ("photos", *COMMANDS):
        command: Any = get_command(importlib.import_module(f"restorer.cli.{name}").app)
        typed = "restore" if name == "photos" else f"restore {name}"
        if hasattr(command, "commands"):
            yield from ((f"{typed} {below}", each) for below, each in command.commands.items())
        else:
            yield typed, command


def test_the_page_that_is_installed_is_the_one_that_the_commands_give(restore: Restore) -> None:
    assert restore("man").stdout == PAGE.read_text("ascii"), f"The commands have changed. Type: {AGAIN}"


def test_the_wheel_installs_it_where_man_looks() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"]
    assert build["wheel"]["shared-data"] == {"docs/restore.1": "share/man/man1/restore.1"}
    assert "/docs" in build["sdist"]["include"], "a wheel is made from an sdist, too"


def test_every_command_and_every_option_stands_in_its_own_part() -> None:
    found = parts(PAGE.read_text("ascii"))
    commands = dict(known())
    assert set(found) == set(commands)
    count = 0
    for typed, command in commands.items():
        tags = re.findall(r"^\.TP\n(.*)$", found[typed], re.MULTILINE)
        for parameter in command.params:
            if getattr(parameter, "hidden", False) or parameter.param_type_name == "argument":
                continue
            for flag in (*parameter.opts, *parameter.secondary_opts):
                assert any(re.search(rf"(?<![\w-]){flag}(?![\w-])", tag) for tag in tags), f"{flag} of {typed}"
                assert parameter.help.split("`")[0].split(". ")[0] in found[typed].replace("\n", " "), flag
                count += 1
    assert count > 90
    assert "Photos, folders, globs" in found["restore"]


def test_the_options_of_a_restoration_stand_in_groups() -> None:
    source = PAGE.read_text("ascii")
    options = source[source.index(".SH OPTIONS") : source.index(".SH COMMANDS")]
    groups = {part.partition("\n")[0]: part for part in options.split(".SS ")[1:]}
    assert list(groups) == ["Files", "The result", "The print", "Faces", "Background", "The run"]
    for option, group in {"out": "Files", "scale": "The result", "model": "Faces", "tile": "Background"}.items():
        assert [name for name, part in groups.items() if f"\\-\\-{option}\\fR" in part] == [group]


@pytest.mark.parametrize("heading", ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "COMMANDS", "FILES", "ENVIRONMENT",
                                     "EXIT STATUS", "EXAMPLES", "SEE ALSO"])  # fmt: skip
def test_it_has_the_parts_that_people_look_for(heading: str) -> None:
    assert f"\n.SH {heading}\n" in PAGE.read_text("ascii")


def test_every_variable_that_is_read_is_named() -> None:
    """All that look like variables in modules that look into the environment, but for the measurements."""
    page = plain(PAGE.read_text("ascii"))
    section = page[page.index(".SH ENVIRONMENT") : page.index(".SH EXIT STATUS")]
    read = set()
    for path in (ROOT / "restorer").rglob("*.py"):
        text = path.read_text("utf-8")
        if "bench" in path.parts or not re.search(r"environ\b|getenv", text):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and VARIABLE.fullmatch(node.value):
                read.add(node.value)
    assert {"RESTORER_CACHE", "HF_HUB_OFFLINE", "CUDA_VISIBLE_DEVICES"} <= read
    assert not {name for name in read if not re.search(rf"\b{name}\b", section)}


def test_it_renders_without_a_warning_and_divides_no_option() -> None:
    if shutil.which("groff"):
        command = ["groff", "-man", "-ww", "-Tutf8", "-rLL=60n", "-P-c"]
    elif shutil.which("mandoc"):
        command = ["mandoc", "-W", "warning", "-O", "width=60"]
    else:
        pytest.skip("neither groff nor mandoc is installed")
    done = subprocess.run([*command, str(PAGE)], capture_output=True, check=True)
    assert done.stderr.decode() == ""
    text = re.sub(r"\x1b\[[\d;]*m|.\x08", "", done.stdout.decode())
    flags = {flag for _, command in known() for each in command.params for flag in each.opts if flag[:2] == "--"}
    assert not {flag for flag in flags if flag not in text}
    assert "tiny-upscaler" in text
    for line in manpage.EXAMPLES:
        assert line[1] in text or len(line[1]) > 50, "an example is one line"


def test_text_in_which_roff_would_find_requests_and_escapes() -> None:
    lines = list(manpage._paragraphs([".hidden files. They stay", "'Quoted', back\\slash, -o, café ~ ^ `x\"--y`"]))
    assert lines == [
        ".PP",
        r"\&.hidden files.",
        "They stay",
        ".PP",
        r"\(aqQuoted\(aq, back\eslash, \fB\-o\fR, caf\[u00E9] \(ti \(ha \fBx\(dq\-\-y\fR",
    ]


def test_on_a_terminal_it_is_shown(tmp_path: Path) -> None:
    if os.name == "nt" or not shutil.which("man"):
        pytest.skip("there is no man")
    import pty

    master, slave = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MANPAGER": "cat", "PAGER": "cat", "MANWIDTH": "78"}
    process = subprocess.Popen(
        [sys.executable, "-m", "restorer", "man"],
        stdout=slave,
        stderr=slave,
        stdin=slave,
        env=environment,
        cwd=tmp_path,
    )
    os.close(slave)
    shown = b""
    try:
        while chunk := os.read(master, 65536):
            shown += chunk
    except OSError:  # how Linux tells that the other end was closed
        pass
    os.close(master)
    assert process.wait(timeout=60) == 0, shown
    text = re.sub(r"\x1b\[[\d;]*m|.\x08", "", shown.decode())
    if "has been minimized" in text:
        pytest.skip("man is only a placeholder here")
    assert "restore - restore old, small or damaged photographs" in text
    assert ".SH" not in text


def test_without_man_a_terminal_is_told_what_else_there_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert "--help" in restore_here(capsys, "man", code=2).err


def test_the_examples_run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As they stand, one after the other, without a network: the models that are built in take over."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    face = Image.fromarray(demo.photograph()[:288, 96:384]).resize((96, 96))
    face.save("grandma.jpg")
    group = Image.new("RGB", (192, 96))
    for x in (0, 96):
        group.paste(face, (x, 0))
    group.save("group.jpg")
    face.resize((40, 40)).save("scan.png")
    for place in ("album/a.jpg", "album/deep/b.jpg", "album/deep/c.jpg", "album/d.jpg"):
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        face.resize((48, 48)).save(place)
    Path("list.txt").write_text("album/a.jpg\nalbum/deep/b.jpg\n")
    for _, line in manpage.EXAMPLES:
        name, *words = shlex.split(line)
        assert name == "restore"
        restore_here(capsys, *words)
    made = {path.as_posix() for path in Path().rglob("*") if path.is_file()}
    assert made >= {"grandma_restored.jpg", "large.png", "restored/report.html", "restored/deep/b_restored.jpg",
                    "group_faces.jpg", "group_two.jpg", "offline/d_restored.jpg", "enlarged.png",
                    "listed/album/deep/b_restored.jpg"}  # fmt: skip
    assert len([name for name in made if name.startswith("parts/") and name.endswith(".jpg")]) == 1
    with Image.open("large.png") as large, Image.open("group_two.jpg") as two:
        assert (large.size, two.size) == ((768, 768), (384, 192))
