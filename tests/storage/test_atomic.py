"""One way to write a file: whole, or not at all; and nothing in the package writes in another one."""

from __future__ import annotations

import ast
import os
from pathlib import Path
from typing import BinaryIO

import pytest

import restorer
from restorer import weights
from restorer.errors import UnwritableOutputError
from restorer.storage.atomic import write_atomic, write_whole
from restorer.weights import terms, user

ROOT = Path(restorer.__file__).parent
LINKS = pytest.mark.skipif(os.name == "nt", reason="links need a right of their own there")
ELSEWHERE = frozenset({
    "cli/man.py",  # a page for `man`, in a folder that is gone afterwards
    "training/checkpoints.py", "training/packing.py",  # into a folder that gets its name when all of it is there
    "training/curves.py",  # a line is added to the losses
    "server/storeroom.py",  # uploads, in a folder of its own that goes with the server
    "cluster/staging.py",  # lines are added to a journal, in a folder that goes with the run
    "weights/mirror.py",  # a download that goes on where it was cut
    "weights/archive.py", "weights/objects.py",  # a download's part, which whoever asked verifies and renames
    "storage/atomic.py", "storage/temporary.py",
})  # fmt: skip
"""Modules that open a file for writing by themselves, and why."""


@pytest.mark.parametrize("content", [b"new", memoryview(b"new"), "new", lambda stream: stream.write(b"new")])
@pytest.mark.parametrize("durable", [True, False])
def test_content_takes_the_place_of_what_was_there(content: object, durable: bool, tmp_path: Path) -> None:
    target = tmp_path / "deep/er/file"
    for _ in range(2):
        write_atomic(target, content, durable=durable)  # type: ignore[arg-type]
        assert target.read_bytes() == b"new"
    assert [path.name for path in target.parent.iterdir()] == ["file"]


def test_a_failure_leaves_the_former_file_and_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"former")

    def half(stream: BinaryIO) -> None:
        stream.write(b"ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomic(target, half)
    assert target.read_bytes() == b"former"
    assert list(tmp_path.iterdir()) == [target]


@LINKS
def test_a_link_is_written_through_where_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    real, link = tmp_path / "there/real", tmp_path / "link"
    real.write_text("former")
    link.symlink_to(real)
    write_atomic(link, "new", through_links=True)
    assert link.is_symlink()
    assert real.read_text() == "new"
    write_atomic(link, "own")
    assert not link.is_symlink()
    assert real.read_text() == "new"


@LINKS
def test_settings_that_are_links_stay_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As people have them who keep their settings in one place."""
    monkeypatch.setenv("RESTORER_CONFIG", str(tmp_path / "config"))
    (tmp_path / "config").mkdir()
    (tmp_path / "kept.toml").write_text("# mine\n")
    (tmp_path / "config/weights.toml").symlink_to(tmp_path / "kept.toml")
    tiny = weights.tables()["tiny"]
    user._write(tmp_path / "config/weights.toml", "# mine still\n")
    assert (tmp_path / "config/weights.toml").is_symlink()
    assert (tmp_path / "kept.toml").read_text() == "# mine still\n"
    assert terms.acknowledged(tiny)


def test_nothing_else_writes_files() -> None:
    found = set()
    for path in ROOT.rglob("*.py"):
        part = path.relative_to(ROOT).as_posix()
        if part.startswith("bench/") or part in ELSEWHERE:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            modes = [each.value for each in node.args if isinstance(each, ast.Constant)]
            opens = node.func.attr == "open" and any(isinstance(m, str) and set(m) & set("wax+") for m in modes[:2])
            if node.func.attr in ("write_text", "write_bytes") or opens:
                found.add(part)
    assert not found


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
@pytest.mark.parametrize("through_a_link", [False, True])
def test_a_pipe_or_a_device_is_never_replaced(through_a_link: bool, tmp_path: Path) -> None:
    """`--metrics /dev/null` typed by root replaced the device by a file."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/null")
    target = tmp_path / ("link" if through_a_link else "pipe")
    with pytest.raises(OSError, match="a pipe or a device of that name is in the way"):
        write_atomic(target, b"new")
    with pytest.raises(UnwritableOutputError) as caught:
        write_whole(target, b"new")
    assert caught.value.remedy == "Choose another name."
    assert not target.is_file()
    assert len(list(tmp_path.iterdir())) == 2, "nothing is left behind"
