"""Colours for black-and-white photos: DDColor against its records, and `--colorize` through the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from restorer import Restorer
from restorer.bench.tone import faded
from restorer.evaluation.ageing import photograph
from restorer.imaging import lab
from restorer.imaging.colour import LUMA
from restorer.imaging.resize import resize
from restorer.models import REGISTRY
from restorer.models.ddcolor import DDColorArchitecture
from restorer.networks.ddcolor import DDColor
from restorer.photo import read_photo, xmp
from restorer.photo.color import adobe_rgb_profile
from restorer.training.export import write_model
from restorer.training.recipe import parse_recipe
from tests.support.golden import Record, difference, load
from tests.support.in_process import restore

Capture = pytest.CaptureFixture[str]
PLAIN = ("--model", "none", "--background", "lanczos", "--scale", "1", "--offline")
SMALL = {"widths": [8, 8, 8, 8], "depths": [1, 1, 1, 1]}
A, B = 18.0, -12.0


@pytest.mark.shared
@pytest.mark.parametrize("name", ["ddcolor_tiny", pytest.param("ddcolor", marks=pytest.mark.slow)])
def test_ddcolor_answers_as_its_reference(shared: Path, tmp_path: Path, name: str) -> None:
    record = Record.read(shared / f"golden/next/{name}.json")
    unused = {"encoder.arch.head_cls.weight": torch.ones(3)}
    torch.save({"params": record.state() | unused}, tmp_path / "file.pth")
    network = load("ddcolor", tmp_path / "file.pth").network
    given, expected = record.tensors()
    with torch.inference_mode():
        output = network(given * 2 - 1)
    assert difference(output[..., :: record.stride, :: record.stride], expected) < 1e-3


def test_official_sizes_and_what_the_network_cannot_take() -> None:
    for width, count in ((96, 55_005_104), (192, 227_866_256)):
        first = {"encoder.arch.downsample_layers.0.0.weight": (width, 3, 4, 4)}
        with torch.device("meta"):
            network = REGISTRY["ddcolor"].build(REGISTRY["ddcolor"].infer(first))
        assert sum(value.numel() for value in network.parameters()) == count
    for shape in ((1, 3, 32, 40), (1, 1, 32, 32)):
        with pytest.raises(ValueError, match="multiples of 32"):
            network(torch.zeros(shape, device="meta"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a grey photo, one in colour, a toned one, and a model that says the same of every pixel."""
    folder = tmp_path_factory.mktemp("colours")
    torch.manual_seed(0)
    network = DDColor(**SMALL)
    with torch.no_grad():
        network.refine.weight.zero_()
        network.refine.get_parameter("bias").copy_(torch.tensor([A, B]))
    recipe = parse_recipe('recipe = "damage"\nname = "guesser"\n', folder, "test")
    write_model(folder, recipe, "ddcolor", SMALL, network.state_dict())
    photo = np.ascontiguousarray(resize(photograph(), (120, 90)))
    grey = np.rint(photo @ LUMA).astype(np.uint8)
    Image.fromarray(photo).save(folder / "colour.png")
    Image.fromarray(grey).save(folder / "grey.png")
    toned = np.clip(np.stack([grey * 0.95 + 12, grey * 0.88 + 6, grey * 0.72], axis=2), 0, 255).astype(np.uint8)
    Image.fromarray(toned).save(folder / "sepia.png")
    return folder


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(DDColorArchitecture, "side", 64)
    monkeypatch.chdir(folder)


def pixels(name: str) -> np.ndarray:
    return read_photo(Path(name)).pixels


def test_the_photo_keeps_its_lightness_and_says_that_colours_are_guesses(capsys: Capture) -> None:
    done = restore(capsys, "grey.png", *PLAIN, "--colorize", "guesser.safetensors", "--json", "--overwrite")
    record = json.loads(done.out)
    assert record["colorize"] == {"done": True, "by": "guesser", "strength": 1.0, "guesses": True}
    assert record["components"]["colorize"]["name"] == "guesser"
    assert any("guesses by guesser" in line for line in record["warnings"])
    before, result = pixels("grey.png"), read_photo(Path("grey_restored.png"))
    assert np.abs(lab.lightness(result.pixels / 255) - lab.lightness(before / 255)).max() < 0.35  # half a level
    middle = np.abs(before[..., 0].astype(int) - 128) < 60
    wanted = lab.coloured(lab.lightness(before / 255), *(np.full(before.shape[:2], each) for each in (A, B)))
    assert np.abs(result.pixels - wanted * 255)[middle].max() <= 0.51
    assert result.xmp is not None
    note = xmp.note_of(result.xmp)
    assert note is not None
    assert note.colours == "guessed by guesser"
    assert b"restorer:colours" in result.xmp


def test_strength_tone_and_colours_of_its_own(capsys: Capture) -> None:
    """Half the strength is half the chroma; a toned photo counts as one without colours."""
    named = ("--colorize", "guesser.safetensors", "--json", "--overwrite")
    restore(capsys, "grey.png", "sepia.png", *PLAIN, *named, "--color-strength", "0.5")
    half = lab.coloured(lab.lightness(pixels("grey.png") / 255), *(np.full((90, 120), each / 2) for each in (A, B)))
    assert np.abs(pixels("grey_restored.png") - half * 255).max() <= 0.51
    light = lab.lightness(pixels("sepia.png") / 255)
    assert np.abs(lab.lightness(pixels("sepia_restored.png") / 255) - light).max() < 0.35
    nothing = json.loads(restore(capsys, "grey.png", *PLAIN, *named, "--color-strength", "0").out)
    assert np.ptp(pixels("grey_restored.png"), axis=2).max() == 0
    assert nothing["colorize"]["strength"] == 0
    restore(capsys, "colour.png", *PLAIN, *named)
    assert not np.array_equal(pixels("colour_restored.png"), pixels("colour.png"))
    auto = restore(capsys, "colour.png", *PLAIN, "--colorize", "auto", "--json", "--overwrite")
    record = json.loads(auto.out)
    assert (record["colorize"]["done"], record["reason"]) == (False, "nothing to do")
    assert "has colours of its own" in record["colorize"]["reason"]
    assert np.array_equal(pixels("colour_restored.png"), pixels("colour.png"))


def test_auto_without_weights_says_so_and_leaves_the_photo_grey(capsys: Capture) -> None:
    done = restore(capsys, "grey.png", *PLAIN, "--colorize", "auto", "--json", "--overwrite")
    record = json.loads(done.out)
    assert record["colorize"]["done"] is False
    assert "`restore models pull ddcolor-tiny`" in record["colorize"]["reason"]
    assert np.array_equal(pixels("grey_restored.png"), pixels("grey.png"))
    away = restore(capsys, "grey.png", *PLAIN, "--colorize", "ddcolor", "--overwrite", code=3).err
    assert "ddcolor" in away


def test_what_cannot_be_asked_for(capsys: Capture) -> None:
    wrong = restore(capsys, "grey.png", *PLAIN, "--colorize", "tiny", code=2).err
    assert "not a colorizer" in wrong
    assert "Did you mean ddcolor" in restore(capsys, "grey.png", *PLAIN, "--colorize", "dcolor", code=2).err
    apart = restore(capsys, "grey.png", "--format", "tiff", *PLAIN, "--layers", "--colorize", "auto", code=2).err
    assert "--layers" in apart


def test_depth_alpha_profile_and_memory_keep_their_promises() -> None:
    options = {"background": "lanczos", "scale": 1, "offline": True}
    restorer = Restorer("none", **options, colorize="guesser.safetensors")  # type: ignore[arg-type]
    deep = pixels("grey.png").astype(np.uint16) * 257
    alpha = np.full((90, 120, 1), 65535, np.uint16)
    alpha[:20] = 9000
    result = restorer.restore(np.concatenate([deep, alpha], axis=2))
    assert result.image.dtype == np.uint16
    assert result.alpha is not None
    assert np.array_equal(result.alpha, alpha[..., 0])
    assert np.abs(lab.lightness(result.image / 65535) - lab.lightness(deep / 65535)).max() < 0.01
    plain = restorer.restore(pixels("grey.png")).image
    assert np.abs(plain - result.image / 257).max() < 0.51
    Image.fromarray(pixels("grey.png")).save("wide.png", icc_profile=adobe_rgb_profile())
    wide = restorer.restore("wide.png")
    assert wide.record.warnings == restorer.restore(pixels("grey.png")).record.warnings
    less = np.ptp(wide.image.astype(int), axis=2).mean()
    # The same colour takes smaller steps in a wider space.
    assert less < 0.95 * np.ptp(plain.astype(int), axis=2).mean()


def test_a_faded_grey_photo_gets_its_tones_before_its_colours() -> None:
    old = faded(pixels("grey.png"), "dull")
    options = {"background": "lanczos", "scale": 1, "offline": True, "tone": "auto"}
    toned = Restorer("none", **options).restore(old).image  # type: ignore[arg-type]
    both = Restorer("none", **options, colorize="guesser.safetensors").restore(old).image  # type: ignore[arg-type]
    assert np.abs(lab.lightness(both / 255) - lab.lightness(toned / 255)).max() < 0.35
