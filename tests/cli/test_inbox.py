"""`restore FOLDER --watch` as it is typed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server.conftest import picture
from tests.support.in_process import restore as run

ROOT = Path(__file__).resolve().parents[2]
PLAIN = ("--model", "none", "--background", "lanczos", "--offline")


@pytest.mark.skipif(os.name == "nt", reason="there are no polite requests to stop on Windows")
def test_a_watch_goes_on_until_it_is_asked_to_stop(tmp_path: Path) -> None:
    folder = tmp_path / "inbox"
    folder.mkdir()
    (folder / "a.png").write_bytes(picture())
    command = ["inbox/", "-o", "done/", "--watch", "--json", "--log", "run.log", *PLAIN]

    def begin() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "restorer", *command],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    process = begin()
    try:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        assert (first["input"], first["status"]) == ("inbox/a.png", "ok")
        (folder / "notes.txt").write_text("no photo")
        (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(300) + b"IEND")
        second = json.loads(process.stdout.readline())
        assert (second["input"], second["status"]) == ("inbox/broken.png", "failed")
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=60)[1]
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 1  # one failed, and is named
    assert "Watching inbox/" in said
    assert "1 photo restored" in said
    assert "broken.png" in said
    assert sorted(each.name for each in (tmp_path / "done").iterdir()) == [".restorer-journal.jsonl", "a_restored.png"]
    log = (tmp_path / "run.log").read_text("utf-8")
    assert "exit code 1" in log
    assert "1 photo restored" in log


def test_what_does_not_go_with_a_watch_is_wrong_usage(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    inbox = str(tmp_path)
    assert "that is no folder" in run(capsys, str(tmp_path / "a.png"), "--watch", *PLAIN, code=2).err
    assert "that is no folder" in run(capsys, "-", "--watch", *PLAIN, code=2).err
    for more in (["--dry-run"], ["--report"], ["--shard", "1/2"], ["--max-time", "1h"]):
        assert f"{more[0]} does not go with it" in run(capsys, inbox, "--watch", *more, *PLAIN, code=2).err
    away = run(capsys, inbox, "--watch", "--face", "1,1,20,20", "--offline", "--model", "tiny", code=2).err
    assert "one photo" in away
