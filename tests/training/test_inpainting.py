"""The inpainter: what it begins with, what it is taught with, and that it learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from restorer.models import REGISTRY
from restorer.networks.tinyinpainter import TinyInpainter, smooth
from restorer.training.inpainting import InpaintingTrainer, Pair, _turned
from restorer.training.loop import Place, run
from restorer.training.recipe import parse_recipe
from restorer.weights import native_file
from tests.training.test_prints import picture
from tests.training.test_runs import rows

RECIPE = """
recipe = "inpainting"
name = "mine"
seed = 3
precision = "fp32"
log_every = 1
sample_every = 1000
checkpoint_minutes = 9.0
steps = 40
batch = 4
side = 64
kept = 12
fresh = 1
warmup = 5
ema_steps = 5.0
[network]
widths = [16, 16]
blocks = [1, 1]
[print]
grey = 0.0
blur = 0.3
grain = 0.0
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs of slanted stripes, which a smooth filling blurs."""
    folder = tmp_path_factory.mktemp("photos")
    down, across = np.mgrid[0:120, 0:150]
    for index in range(3):
        stripes = (np.sin((across + (index + 1) * down) / 4) > 0)[..., None] * np.uint8(120)
        Image.fromarray(np.asarray(picture(120, 150, index) // 2 + stripes, np.uint8)).save(folder / f"{index}.png")
    return folder


def trainer(text: str, photos: Path) -> InpaintingTrainer:
    return InpaintingTrainer(parse_recipe(text, photos, "test"), photos, Place(torch.device("cpu")))


@pytest.mark.parametrize("size", [(1, 1), (37, 50), (64, 96)])
def test_what_is_known_stays_and_holes_are_filled_smoothly(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand(2, 3, *size, generator=generator)
    holes = (torch.rand(2, 1, *size, generator=generator) > 0.6).float()
    filled, depth = smooth(pictures, holes)
    known = (holes == 0).expand_as(pictures)
    assert torch.equal(filled[known], pictures[known])
    assert float(depth.max()) <= 1
    assert float(depth[holes == 0].abs().max() if (holes == 0).any() else 0) == 0
    again, _ = smooth(torch.where(known, pictures, torch.full_like(pictures, 9.0)), holes)
    assert torch.equal(again, filled)  # what lies in a hole is not looked at
    everything, _ = smooth(pictures, torch.ones_like(holes))
    assert torch.isfinite(everything).all()
    level, _ = smooth(torch.full_like(pictures, 0.25), holes)
    for filling, hole in zip(level, holes, strict=True):
        assert bool(hole.all()) or float((filling - 0.25).abs().max()) < 1e-4


def test_a_network_begins_at_the_smooth_filling_and_its_shapes_tell_what_it_is() -> None:
    model = REGISTRY["tinyinpainter"]
    network = model.build({"widths": [8, 12, 16], "blocks": [1, 2, 1]}).eval()
    pictures, holes = torch.rand(1, 3, 37, 51) * 2 - 1, torch.zeros(1, 1, 37, 51)
    holes[..., 10:13, :] = 1
    with torch.no_grad():
        filled = network(pictures, holes)
        begun, _ = smooth(pictures, holes)
    assert filled.shape == pictures.shape
    assert torch.equal(filled[..., :10, :], pictures[..., :10, :])
    assert float((filled - begun).abs().max()) < 0.5
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    assert model.infer(shapes) == {"widths": [8, 12, 16], "blocks": [1, 2, 1]}
    with pytest.raises(ValueError, match="2 widths for 1 levels"):
        TinyInpainter([8, 8], [1])


def test_a_pair_differs_where_it_is_to_be_filled_and_is_seen_from_all_sides(photos: Path) -> None:
    made = trainer(RECIPE, photos)
    for seed in range(8):
        pair = made._pair(np.random.default_rng(seed))
        off = np.abs(pair.damaged.astype(int) - pair.clean).max(axis=2)
        assert off[pair.hole].max(initial=0) >= 14 or not pair.hole.any()
    one = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    hole = np.eye(4, dtype=bool)
    seen = set()
    for seed in range(200):
        turned = _turned(Pair(one, one + 1, hole), np.random.default_rng(seed))
        places = {(int(row), int(column)) for row, column in np.argwhere(turned.hole)}
        assert places in ({(i, i) for i in range(4)}, {(i, 3 - i) for i in range(4)})
        assert abs(int(turned.clean[0, 0, 0]) - int(turned.damaged[0, 0, 0])) == 1
        seen.add(turned.damaged.tobytes())
    assert len(seen) == 16  # four turns, mirrored or not, as a negative or not


def test_it_learns_to_fill_better_than_smoothly(photos: Path, tmp_path: Path) -> None:
    made = trainer(RECIPE, photos)
    unseen = [made._pair(np.random.default_rng([9, index])) for index in range(12)]

    def wrong() -> float:
        from restorer.imaging.tensors import to_tensor

        holes = torch.from_numpy(np.stack([pair.hole for pair in unseen])[:, None].astype(np.float32))
        with torch.no_grad():
            filled = made.average_network(to_tensor([pair.damaged for pair in unseen]), holes)
        off = (filled - to_tensor([pair.clean for pair in unseen])).square() * holes
        return float(off.sum() / holes.sum())

    before = wrong()
    assert run(made, tmp_path) == 40
    assert wrong() < 0.97 * before
    file, table = made.export(tmp_path)
    header = native_file.read(file)
    assert header is not None
    assert (header.architecture, header.arguments) == ("tinyinpainter", {"widths": [16, 16], "blocks": [1, 1]})
    assert 'architecture = "tinyinpainter"' in table.read_text("utf-8")
    assert list((tmp_path / "samples").glob("*.jpg"))


def test_a_run_that_was_interrupted_ends_like_one_that_was_not(photos: Path, tmp_path: Path) -> None:
    short = RECIPE.replace("steps = 40", "steps = 6")
    run(trainer(short, photos), tmp_path / "whole")
    run(trainer(short, photos), tmp_path / "parts", until=3)
    run(trainer(short, photos), tmp_path / "parts")
    assert [row["l1"] for row in rows(tmp_path / "whole")] == [row["l1"] for row in rows(tmp_path / "parts")]
