"""Finding damage: tiles and views, Microsoft's scratch net against its record, and `--repair NAME`."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from restorer.errors import UsageError
from restorer.imaging.profiles import colours_of
from restorer.models import REGISTRY
from restorer.models.finders import SecondLook
from restorer.models.scratchunet import ScratchUNetArchitecture
from restorer.networks import lama
from restorer.networks.damageunet import DamageUNet
from restorer.options import Options
from restorer.photo import read_photo
from restorer.photo.color import adobe_rgb_profile
from restorer.repairing.filling import fill
from restorer.repairing.finding import SAMPLE, SAMPLES, confirmed, find, sampled
from restorer.repairing.network_filling import NetworkPainter
from restorer.server import choices
from restorer.training.export import write_model
from restorer.training.recipe import parse_recipe
from tests.support.golden import Record, difference, load
from tests.support.in_process import restore

Capture = pytest.CaptureFixture[str]
PLAIN = ("--model", "none", "--background", "lanczos", "--scale", "1", "--offline")


class Bright:
    """Finds what is white, and remembers the sizes of what it saw."""

    name, tile, overlap, threshold = "bright", 64, 8, 0.5
    floor, smallest = 0.0, 0

    def __init__(self, views: tuple[int, ...] = (), grows: int = 0, second: SecondLook | None = None) -> None:
        self.views, self.grows, self.second = views, grows, second
        self.sizes: list[tuple[int, int]] = []

    def damage(self, tile: np.ndarray) -> np.ndarray:
        self.sizes.append(tile.shape[:2])
        return np.asarray(tile.mean(axis=2), np.float32)


def scratched(height: int = 300, width: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Return a dark picture with a white line, and where it is."""
    mask = np.zeros((height, width), np.uint8)
    cv2.line(mask, (20, 10), (width - 30, height - 20), 255, 3)
    return np.repeat(np.where(mask > 0, 255, 30).astype(np.uint8)[..., None], 3, axis=2), mask


def test_a_finder_with_views_looks_at_reduced_photos_and_none_is_enlarged() -> None:
    picture, mask = scratched()
    told: list[float] = []
    finder = Bright((64, 128))
    found = find(finder, picture, tell=told.append)
    assert told[-1] == 1
    assert told == sorted(told)
    near = cv2.dilate(mask, np.ones((7, 7), np.uint8))
    assert not found[near == 0].any()
    assert (found[mask > 0] > 0).mean() > 0.5
    wider = find(Bright(grows=2), picture)
    assert np.array_equal(wider, cv2.dilate(mask, np.ones((5, 5), np.uint8)))
    small = Bright((256, 512))
    assert np.array_equal(find(small, picture), mask)  # smaller than either view: looked at as it is, once


def test_what_was_found_counts_where_it_shows_at_a_reduced_size_as_well() -> None:
    """A wide line does, a thin one is lost among what is around it; a finder without a second look is believed."""
    picture = np.full((301, 200, 3), 20, np.uint8)
    picture[:, 20:28] = 255
    wide = 8 / 200
    picture[:, 101] = 255
    looking = Bright(second=SecondLook(2, 0.6))
    mask = find(looking, picture)
    assert (mask > 0).mean() == pytest.approx(wide + 1 / 200)
    looking.sizes.clear()
    for pixels in (picture, picture.astype(np.uint16) * 257):
        assert confirmed(looking, pixels, mask) == pytest.approx(wide)
    assert all(max(size) <= looking.tile + 2 * looking.overlap for size in looking.sizes)
    assert sum(size[0] * size[1] for size in looking.sizes[: len(looking.sizes) // 2]) < 150 * 100 * 2
    assert confirmed(Bright(), picture, mask) == (mask > 0).mean()
    assert sampled(looking, picture) == pytest.approx(wide)
    untouched = Bright(second=SecondLook(2, 0.6))
    assert confirmed(untouched, picture, np.zeros_like(mask)) == 0
    assert not untouched.sizes  # where nothing was found nobody looks twice


def test_a_quick_look_sees_all_of_a_small_photo_and_a_few_squares_of_a_large_one() -> None:
    picture, mask = scratched()
    assert sampled(Bright(), picture) == (mask > 0).mean()
    assert sampled(Bright(), picture.astype(np.uint16) * 257) == (mask > 0).mean()
    for height, width in ((2000, 3000), (3000, 700), (257, 9000), (5000, 100)):
        looking = Bright()
        striped = np.zeros((height, width, 3), np.uint8)
        striped[:, ::4] = 255
        assert sampled(looking, striped) == pytest.approx(0.25)
        assert len(looking.sizes) <= SAMPLES
        assert all(max(size) <= SAMPLE and size[0] * size[1] > 0 for size in looking.sizes)
        ends = np.zeros((height, width, 3), np.uint8)  # each half of a photo, along and across, is looked at
        long = int(height < width)
        for part in np.array_split(np.arange((height, width)[long]), 2):
            ends[:] = 0
            ends[(part, slice(None)) if not long else (slice(None), part)] = 255
            assert 0.2 < sampled(Bright(), ends) < 0.8


@pytest.mark.shared
def test_the_scratch_net_answers_as_its_reference(shared: Path, tmp_path: Path) -> None:
    record = Record.read(shared / "golden/next/scratch_unet.json")
    state = record.state()
    torch.save({"model_state": state, "epoch": 1}, tmp_path / "file.pt")
    given, expected = record.tensors()
    with torch.inference_mode():
        output = load("scratch-unet", tmp_path / "file.pt").network(given)
    assert difference(output, expected) < 1e-3
    assert REGISTRY.recognise(state, {}, tmp_path / "file.pt")[0].name == "scratch-unet"


def test_official_size_and_what_the_scratch_net_cannot_take() -> None:
    with torch.device("meta"):
        network = REGISTRY["scratch-unet"].build({})
    assert 37.5e6 < sum(value.numel() for value in network.parameters()) < 37.8e6
    with pytest.raises(ValueError, match="multiples of 16"):
        network(torch.zeros(1, 1, 40, 64, device="meta"))
    with pytest.raises(ValueError, match=r"\(n, 1, h, w\)"):
        network(torch.zeros(1, 3, 64, 64, device="meta"))


def test_the_scratch_net_is_shown_the_grey_photo_and_its_negative() -> None:
    seen: list[torch.Tensor] = []

    def network(*tensors: torch.Tensor, precision: str | None = None, **controls: object) -> torch.Tensor:
        seen.append(tensors[0])
        return tensors[0]

    pictures = torch.zeros(1, 3, 16, 16)
    pictures[:, 0] = 1.0
    found = ScratchUNetArchitecture().logits(network, pictures)
    assert torch.allclose(seen[0], torch.full((1, 1, 16, 16), 0.299))
    assert torch.equal(seen[1], -seen[0])
    assert torch.equal(found, torch.maximum(seen[0], seen[1]))


def bright(folder: Path) -> None:
    """Write a network that calls bright pixels damaged, which stands for a trained one."""
    arguments = {"stem": 4, "widths": [8], "blocks": [0]}
    network = DamageUNet(4, [8], [0])
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        for conv in network.stem:  # the red channel goes straight through, and past the cells
            conv.get_parameter("weight")[0, 0, 1, 1] = 1.0
        network.join.weight[0, 8, 1, 1] = 1.0
        network.head.weight[0, 0, 1, 1] = 40.0
        network.get_parameter("head.bias").sub_(20.0)
    recipe = parse_recipe('recipe = "damage"\nname = "bright"\n', folder, "test")
    write_model(folder, recipe, "damageunet", arguments, network.state_dict())


def test_a_finder_by_its_file_repairs_and_others_are_refused(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bright(tmp_path)
    picture, mask = scratched(120, 100)
    Image.fromarray(picture).save("old.png")
    done = restore(capsys, "old.png", *PLAIN, "--repair", "bright.safetensors", "--save-mask", "--json")
    told = json.loads(done.out)["repair"]
    assert (told["finder"], told["done"]) == ("bright", True)
    assert np.array_equal(read_photo(Path("old_restored_mask.png")).pixels[..., 0], mask)
    after = read_photo(Path("old_restored.png")).pixels
    assert np.array_equal(after[mask == 0], picture[mask == 0])
    assert after[mask > 0].max() < 60
    kept = restore(capsys, "old.png", *PLAIN, "--repair", "auto").err
    assert "made with --repair bright.safetensors" in kept  # another finder is another result
    wrong = restore(capsys, "old.png", *PLAIN, "--repair", "tiny-upscaler", code=2).err
    assert "tiny-upscaler is an upscaler, not a damage finder" in wrong
    unknown = restore(capsys, "old.png", *PLAIN, "--repair", "scratch-unett", code=2).err
    assert "Did you mean scratch-unet?" in unknown
    away = restore(capsys, "old.png", *PLAIN, "--repair", "scratch-unet", "--overwrite", code=3).err
    assert "scratch-unet" in away


def test_a_filler_by_its_file_fills_what_a_finder_or_a_mask_says(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small LaMa that answers in grey, of 128 levels: holes are filled by it, and by nothing else."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lama, "WIDTH", 8)
    monkeypatch.setattr(lama, "BLOCKS", 1)
    torch.manual_seed(0)
    network = lama.LaMa()
    with torch.no_grad():
        network.last.weight.zero_()
        network.last.get_parameter("bias").fill_(0.01)
    recipe = parse_recipe('recipe = "damage"\nname = "grey"\n', tmp_path, "test")
    write_model(tmp_path, recipe, "lama", {}, network.state_dict())
    bright(tmp_path)
    picture, mask = scratched(120, 100)
    Image.fromarray(picture).save("old.png")
    Image.fromarray(mask).save("drawn.png")
    for given in (
        ("--repair", "bright.safetensors,grey.safetensors"),
        ("--repair", "grey.safetensors, bright.safetensors"),
        ("--repair", "grey.safetensors", "--mask", "drawn.png"),
    ):
        done = restore(capsys, "old.png", *PLAIN, *given, "--json", "--overwrite")
        told = json.loads(done.out)["repair"]
        assert (told["filler"], told["done"]) == ("grey", True)
        after = read_photo(Path("old_restored.png")).pixels
        assert np.array_equal(after[mask == 0], picture[mask == 0])
        assert np.abs(after[mask > 0].astype(int) - 128).max() <= 1
    told = json.loads(restore(capsys, "old.png", *PLAIN, "--repair", "grey.safetensors", "--json", "--overwrite").out)
    assert told["repair"]["finder"] == "tiny-damage"  # a filler that is named fills what the built-in finder finds
    plain = restore(capsys, "old.png", *PLAIN, "--mask", "drawn.png", "--json", "--overwrite")
    assert json.loads(plain.out)["repair"]["filler"] == "splines"
    both = restore(capsys, "old.png", *PLAIN, "--repair", "bright.safetensors,scratch-unet", code=2).err
    assert "two of one kind: bright, scratch-unet" in both
    server = choices.read(Options(), {"repair": "scratch-unet,lama"})
    assert server.repair == "scratch-unet,lama"
    with pytest.raises(UsageError, match="no name that is known"):
        choices.read(Options(), {"repair": "lama,/etc/passwd"})
    for wrong in ("none,lama", "lama,", "auto,tiny"):
        assert f"--repair {wrong}" in restore(capsys, "old.png", *PLAIN, "--repair", wrong, code=2).err


def test_a_network_fills_a_deep_picture_in_parts_and_in_its_own_colours() -> None:
    """The stand-in continues what it sees: the mean of what is known around a hole."""

    class Mean:
        architecture = REGISTRY["lama"]
        name = "mean"

        def __init__(self) -> None:
            self.sizes: list[tuple[int, ...]] = []

        def __call__(self, *tensors: torch.Tensor, **_controls: object) -> torch.Tensor:
            pictures, hole = tensors
            self.sizes.append(tuple(pictures.shape[2:]))
            known = 1 - hole
            mean = (pictures * known).sum((2, 3), keepdim=True) / known.sum()
            return mean.expand_as(pictures)

    network = Mean()
    ground = np.full((700, 900, 3), (26000, 30000, 36000), np.uint16)
    mask = np.zeros((700, 900), np.uint8)
    mask[30:670, 60:860] = 1
    worn = np.where(mask[..., None] > 0, 65535, ground).astype(np.uint16)
    colours = colours_of(adobe_rgb_profile())
    painter = NetworkPainter(network, colours)  # type: ignore[arg-type]
    filled = fill(worn, mask, painter)
    assert np.array_equal(filled[mask == 0], ground[mask == 0])
    assert np.abs(filled.astype(int) - ground).max() <= 20
    most = painter.part + 2 * painter.margin
    assert len(network.sizes) > 1
    assert max(max(size) for size in network.sizes) <= most
    network.architecture = REGISTRY["scratch-unet"]
    with pytest.raises(TypeError, match="fills no holes"):
        NetworkPainter(network)  # type: ignore[arg-type]
