"""Figures and lines to type, as people need them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from restorer import formatting
from restorer.formatting import install_line


@pytest.mark.parametrize("has_pip", [True, False])
@pytest.mark.parametrize("made_by", ["uv-receipt.toml", "pipx_metadata.json", None])
def test_what_to_type_for_a_package_fits_the_installation(
    made_by: str | None, has_pip: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "a home" / "restorer"
    home.mkdir(parents=True)
    python = home / "bin" / "python"
    monkeypatch.setattr(sys, "prefix", str(home))
    monkeypatch.setattr(sys, "executable", str(python))
    spec = importlib.util.find_spec("pytest")
    monkeypatch.setattr(formatting, "find_spec", lambda name: spec if has_pip or name != "pip" else None)
    if made_by is not None:
        (home / made_by).touch()
    line = install_line("pillow-heif")
    if made_by == "pipx_metadata.json":
        assert line == "pipx inject restorer pillow-heif"
    elif made_by == "uv-receipt.toml" or not has_pip:
        assert line.startswith("uv pip install --python ")
    else:
        assert line.endswith(" -m pip install pillow-heif")
    if made_by != "pipx_metadata.json":  # a folder's name with a blank is one word of the line
        assert f"'{python}'" in line or f'"{python}"' in line
