"""docs/training.md: its recipes and commands, in its order, on a miniature set and with miniature numbers."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.basicsr import needs_basicsr

PAGE = Path(__file__).parents[2] / "docs" / "training.md"
SMALLER = (
    (r"seed = 0\n", "seed = 0\nlog_every = 1\n"),
    (r"size = 64\n", "size = 8\n"),
    (r"size = 128\n", "size = 16\n"),
    (r"pictures = \d+", "pictures = 8"),
    (r"fade = \d+", "fade = 4"),
    (r"batch = \d+", "batch = 4"),
    (r"narrow = 0.25", "narrow = 0.03125"),
    (r"(style_dim|style_channels) = 128", r"\1 = 16"),
    (r"steps = \d+", "steps = 4"),
    (r"texture_from = \d+", "texture_from = 1"),
    (r"adversarial_from = \d+", "adversarial_from = 2"),
    (r"discriminator_crop = 128", "discriminator_crop = 16"),
    (r"validation = 100", "validation = 3"),
    (r"out_size = 256", "out_size = 32"),
    (r"rrdb_channels = 64", "rrdb_channels = 8"),
)


def run(module: str, arguments: list[str]) -> object:
    """Run a command in this process and return its exit code."""
    try:
        return importlib.import_module(f"restorer.cli.{module}").app(arguments, standalone_mode=False)
    except SystemExit as end:
        return end.code


@needs_basicsr
def test_the_page_takes_a_folder_of_pictures_to_a_restored_photo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    page = PAGE.read_text(encoding="utf-8")
    recipes = re.findall(r"Save this as `([\w-]+\.toml)`:\n\n```toml\n(.*?)```", page, re.DOTALL)
    assert [name for name, _ in recipes] == ["my-prior.toml", "theirs.toml"]
    used = set()
    for name, text in recipes:
        for pattern, replacement in SMALLER:
            text, count = re.subn(pattern, replacement, text)
            used |= {pattern} if count else set()
        Path(name).write_text(text, encoding="utf-8")
    assert used == {pattern for pattern, _ in SMALLER}, "the page and this test's miniature numbers have parted"
    (tmp_path / "album").mkdir()
    rng = np.random.default_rng(0)
    for index in range(8):
        small = Image.fromarray(rng.integers(0, 256, (6, 6, 3)).astype(np.uint8))
        small.resize((40, 40), Image.Resampling.BICUBIC).save(tmp_path / "album" / f"{index}.jpg")
    Image.fromarray(rng.integers(0, 256, (40, 40, 3)).astype(np.uint8)).save("photo.jpg")

    commands = [line for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]
    verbs = [shlex.split(line)[1] for line in commands]
    assert verbs == ["train", "sample", "sample", "train", "evaluate", "photo.jpg"]
    for line in commands:
        _, verb, *rest = shlex.split(line)
        if verb == "photo.jpg":
            module, rest = "photos", [verb, *rest]
        else:
            module = verb
        assert not run(module, rest), line
    assert Path("samples.png").is_file()
    assert Path("samples_neighbours.png").is_file()
    assert Path("sheet.png").is_file()
    assert "gaussian" in capsys.readouterr().out
    assert Image.open("photo_restored.jpg").size == (80, 80)
    for promised in re.findall(r"^\| `([^|]*)` \| ", page.split("## 2")[0], re.MULTILINE):
        for name in promised.split("`, `"):
            assert (tmp_path / "runs/my-prior" / name).exists(), name
