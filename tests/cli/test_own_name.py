"""What a person is told to type works in the shell that he has."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from restorer.cli import program
from restorer.cli.paths import own_command

ROOT = Path(__file__).resolve().parents[2]


def script(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!{sys.executable}\nprint('here')\n")
    path.chmod(0o755)
    return path


@pytest.mark.skipif(os.name == "nt", reason="scripts of another kind")
@pytest.mark.parametrize("name", ["restore", "restore-photos"])
@pytest.mark.parametrize("on_path", [True, False])
def test_the_command_names_itself_so_that_it_is_found(
    name: str, on_path: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    script(tmp_path / "my venv/bin", name)
    foreign = tmp_path / "other"
    script(foreign, name)
    typed = f"my venv/bin/{name}"
    monkeypatch.setattr(sys, "argv", [typed, "demo"])
    monkeypatch.setenv("PATH", str(tmp_path / "my venv/bin") if on_path else str(foreign))
    assert own_command() == (name if on_path else f"'{typed}'")
    shell = shutil.which("sh", path="/bin:/usr/bin")
    assert shell is not None
    done = subprocess.run([shell, "-c", own_command()], capture_output=True, text=True, check=True)
    assert done.stdout == "here\n"


def test_as_a_module_it_names_the_python() -> None:
    assert sys.argv[0]
    before, sys.argv[0] = sys.argv[0], str(ROOT / "restorer/__main__.py")
    try:
        assert own_command().endswith(" -m restorer")
    finally:
        sys.argv[0] = before


def test_both_names_start_the_same_command() -> None:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    for name in ("restore", "restore-photos"):
        assert f'\n{name} = "restorer.cli:program"' in text
    assert callable(program)
