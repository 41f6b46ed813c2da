"""docs/searching.md: its commands are run as they stand, but for the number of steps."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from restorer.models import REGISTRY
from tests.support.golden import FOLDER, Record
from tests.support.in_process import restore

PAGE = (Path(__file__).parents[2] / "docs/searching.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S) for line in block.splitlines()]
NETWORK = "restore portrait.jpg --model gfpgan-1 --task colorize"
"""Needs 615 MB; tests/pipeline/test_tasks.py has a stand-in."""


def test_the_commands_do_what_the_page_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    drawn = np.random.default_rng(0).integers(0, 256, (12, 12, 3), np.uint8)
    Image.fromarray(drawn).save("crop.png")
    Image.fromarray(np.full((12, 12), 255, np.uint8)).save("hole.png")
    for name, file in (("stylegan1_128_narrow", "synthesis.pt"), ("stylegan1_mapping", "mapping.pt")):
        Record.read(FOLDER / f"{name}.json").write(Path(file))
    assert COMMANDS.count(NETWORK) == 1
    for command in COMMANDS:
        if command == NETWORK:
            continue
        assert command.startswith("restore ")
        words = command.split()[1:]
        if words[0] == "crop.png":
            words += ["--steps", "2", "--overwrite", "--background", "lanczos"]
        restore(capsys, *words)
    assert Path("crop_restored.png").is_file()
    assert Path("crop_restored_2.png").is_file()


def test_the_tables_name_what_there_is() -> None:
    for name in ("pulse", "mganprior"):
        architecture = REGISTRY[name]
        row = next(line for line in PAGE.splitlines() if line.startswith(f"| {name} |") and "least_factor" in line)
        hidden = {"size", "prior_architecture", "prior_arguments"}
        assert set(re.findall(r"\w+", row.split("|")[2])) == set(architecture.defaults) - hidden
        for prior in architecture.priors:  # type: ignore[attr-defined]
            assert prior in PAGE
