"""`restore evaluate` and `restore sample`: right figures, the promised JSON, the contact sheet."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from restorer.errors import CheckpointLayoutError, OutputExistsError, UsageError
from restorer.evaluation.evaluate import Evaluation, Judges, best_gaussian, evaluate
from restorer.evaluation.lpips import load_lpips
from restorer.evaluation.metrics import niqe, psnr, ssim
from restorer.evaluation.samples import Judgement, find_nearest, judge_faces
from restorer.faces.detect import FaceDetector
from restorer.models import REGISTRY
from restorer.models.base import CropSpec
from restorer.networks.dcgan import DCGANGenerator
from restorer.networks.stylegan2 import StyleGAN2Generator
from restorer.training.datasets import picture_files, read_square
from restorer.training.restorers import LightGLEANTrainer
from restorer.weights.native_file import FileHeader, write
from restorer.weights.table import Table
from tests.support.basicsr import needs_basicsr
from tests.support.networks import at_work
from tests.training.test_runs import GLEAN, RESTORER


class Same:
    """A restorer that gives back what it gets."""

    def __init__(self, input_size: int, output_size: int) -> None:
        self.crop = CropSpec(input_size, output_size, output_size, None)

    def restore(self, crops: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.interpolate(crops, self.crop.output_size, mode="nearest")


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five textured pictures of 96 px."""
    folder = tmp_path_factory.mktemp("clean")
    rng = np.random.default_rng(0)
    for index in range(5):
        small = Image.fromarray(rng.integers(0, 256, (24, 24, 3)).astype(np.uint8))
        small.resize((96, 96), Image.Resampling.BICUBIC).save(folder / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe whose degradation is noise only."""
    path = tmp_path_factory.mktemp("recipe") / "noise.toml"
    path.write_text(
        'recipe = "glean"\nname = "noisy"\n[degradation]\nsigma = [0.0, 0.0]\ndownsample = [1.0, 1.0]\n'
        "noise = [15.0, 15.0]\njpeg = [100, 100]\ngrey = 0.0\njitter = 0.0\n",
        encoding="utf-8",
    )
    return path


def measured(clean: Path, recipe: Path, size: int = 96, input_size: int = 96) -> Evaluation:
    return evaluate(Same(input_size, size), "same", picture_files(clean), degrade=recipe)


@needs_basicsr
def test_the_rows_and_their_figures(clean: Path, recipe: Path) -> None:
    result = measured(clean, recipe)
    rows = {row.method: row for row in result.rows}
    assert list(rows) == ["input", "bicubic", "gaussian", "same", "truth"]
    # Noise of standard deviation 15 is 20*log10(255/15) dB.
    assert rows["input"].psnr == pytest.approx(24.6, abs=0.4)
    assert rows["same"].psnr == pytest.approx(rows["input"].psnr, abs=0.02)
    assert rows["gaussian"].psnr is not None
    assert rows["input"].psnr is not None
    assert rows["gaussian"].psnr > rows["input"].psnr + 0.3
    assert rows["truth"].psnr is None
    assert rows["same"].seconds is not None
    assert rows["input"].seconds is None
    assert [label for label, _ in result.shots] == ["worst", "median", "best"]
    assert result.contact_sheet().size == (4 * 96, 16 + 3 * 96)


@needs_basicsr
def test_the_same_seed_measures_the_same(clean: Path, recipe: Path) -> None:
    first, again = measured(clean, recipe).as_json(), measured(clean, recipe).as_json()
    for row in [*first["rows"], *again["rows"]]:
        row.pop("seconds")
    first.pop("peak_memory_mb"), again.pop("peak_memory_mb")
    assert first == again


@needs_basicsr
def test_a_restorer_that_enlarges_gets_a_reduced_input(clean: Path, recipe: Path) -> None:
    rows = {row.method: row for row in measured(clean, recipe, input_size=24).rows}
    assert rows["same"].psnr is not None
    assert rows["input"].psnr is not None
    assert rows["same"].psnr < rows["input"].psnr


@needs_basicsr
def test_models_of_other_sizes_are_measured_at_one_size(clean: Path, recipe: Path) -> None:
    for restorer in (Same(96, 96), Same(32, 128)):
        result = evaluate(restorer, "same", picture_files(clean), degrade=recipe, size=64)
        assert result.size == 64
        assert {picture.shape for _, pictures in result.shots for picture in pictures} == {(64, 64, 3)}


@needs_basicsr
@pytest.mark.parametrize("search", ["pulse", "mganprior"])
def test_searches_are_measured(search: str, clean: Path, recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--degrade", str(recipe), "--limit", "1", "--size", "64", "--steps", "2", "--json", "--offline")
    command("evaluate", search, str(clean), *words, "--prior", "tiny-prior", "--task", "super-resolution")
    record = json.loads(capsys.readouterr().out)
    assert [row["method"] for row in record["rows"]] == ["input", "bicubic", "gaussian", search, "truth"]
    assert record["size"] == 64
    assert record["rows"][3]["seconds"] > 0


@needs_basicsr
def test_figures_of_equal_and_unequal_pictures() -> None:
    rng = np.random.default_rng(0)
    a = rng.integers(0, 256, (64, 64, 3)).astype(np.uint8)
    b = np.clip(a.astype(int) + 5, 0, 255).astype(np.uint8)
    assert psnr(a, a) == float("inf")
    assert psnr(a, b) == pytest.approx(20 * np.log10(255 / 5), abs=0.2)
    assert ssim(a, a) == pytest.approx(1)
    assert niqe(a) is None
    assert niqe(np.full((256, 256, 3), 128, np.uint8)) is None  # nothing to judge
    sigma, smooth = best_gaussian([a], [a], 256)
    assert sigma == 0.4
    assert smooth[0].shape == a.shape


def test_lpips_is_the_weighted_distance_of_unit_features(tmp_path: Path) -> None:
    torch.manual_seed(0)
    shapes = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
    alexnet = {f"features.{n}.weight": torch.randn(o, i, k, k) / (i * k * k) ** 0.5 for n, (o, i, k) in shapes.items()}
    alexnet |= {f"features.{n}.bias": torch.zeros(o) for n, (o, _, _) in shapes.items()}
    linear = {f"lin{n}.model.1.weight": torch.rand(1, o, 1, 1) for n, (o, _, _) in enumerate(shapes.values())}
    torch.save(alexnet, tmp_path / "alex.pth")
    torch.save(linear, tmp_path / "lin.pth")
    network = load_lpips(tmp_path / "alex.pth", tmp_path / "lin.pth")
    a, b = torch.rand(2, 3, 64, 64) * 2 - 1, torch.rand(2, 3, 64, 64) * 2 - 1
    assert network(a, a).abs().max() == 0
    assert (network(a, b) > 0).all()
    # Only the first layer counts: by hand, at each place 1 minus the cosine, twice, with equal weights.
    linear = {key: value * 0 + (key == "lin0.model.1.weight") for key, value in linear.items()}
    torch.save(linear, tmp_path / "lin.pth")
    network = load_lpips(tmp_path / "alex.pth", tmp_path / "lin.pth")
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    seen = [((x / 2 + 0.5).permute(0, 2, 3, 1) - mean).div(std).permute(0, 3, 1, 2) for x in (a, b)]
    first = [torch.relu(torch.nn.functional.conv2d(x, alexnet["features.0.weight"], stride=4, padding=2)) for x in seen]
    expected = 2 - 2 * torch.cosine_similarity(first[0], first[1]).mean((1, 2))
    assert torch.allclose(network(a, b), expected, atol=1e-2)
    with pytest.raises(CheckpointLayoutError):
        load_lpips(tmp_path / "lin.pth", tmp_path / "alex.pth")


@needs_basicsr
def test_no_pictures_and_no_detector_are_errors(clean: Path) -> None:
    with pytest.raises(UsageError):
        evaluate(Same(8, 8), "same", [])
    with pytest.raises(UsageError):
        evaluate(Same(8, 8), "same", picture_files(clean), judges=Judges(identity=clean / "0.png"))


def command(name: str, *arguments: str) -> None:
    importlib.import_module(f"restorer.cli.{name}").app(list(arguments), standalone_mode=False)


@needs_basicsr
def test_the_command_prints_the_promised_json(
    clean: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = RESTORER.format(kind="glean", network=GLEAN, steps=1, lr=1e-3)
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    command("train", str(tmp_path / "mine.toml"), "--data", str(clean), "-o", str(tmp_path / "run"), "--device", "cpu")
    model = tmp_path / "run" / "mine.safetensors"
    capsys.readouterr()
    sheet = tmp_path / "sheet.png"
    command(
        "evaluate",
        str(model),
        str(clean),
        "--degrade",
        str(recipe),
        "--limit",
        "3",
        "--sheet",
        str(sheet),
        "--json",
        "--device",
        "cpu",
        "--precision",
        "fp32",
    )
    record = json.loads(capsys.readouterr().out)
    assert record["pictures"] == 3
    assert record["degradation"] == "noisy"
    assert [row["method"] for row in record["rows"]] == ["input", "bicubic", "gaussian", "mine", "truth"]
    assert set(record["rows"][0]) == {
        *("method", "psnr", "ssim", "niqe", "identity", "seconds", "lpips", "detail", "distance"),
    }
    assert record["rows"][0]["identity"] is None
    assert Image.open(sheet).size == (4 * 32, 16 + 3 * 32)
    command("evaluate", str(model), str(clean), "--degrade", str(recipe), "--limit", "2", "--device", "cpu")
    assert "gaussian" in capsys.readouterr().out


@needs_basicsr
def test_auto_means_a_detector_for_the_identity_figure(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class ReachedError(Exception):
        pass

    def measured(*_arguments: object, judges: Judges, **_more: object) -> None:
        raise ReachedError(getattr(judges.detector, "name", type(judges.detector).__name__))

    monkeypatch.setattr("restorer.evaluation.evaluate.evaluate", measured)
    weights = str(clean / "0.png")
    with pytest.raises(ReachedError, match="tiny-detector"):
        command("evaluate", "tiny", str(clean), "--identity-weights", weights, "--offline")
    with pytest.raises(ReachedError, match="NoneType"):
        command("evaluate", "tiny", str(clean), "--offline")


@pytest.mark.parametrize("kind", ["stylegan2", "dcgan"])
def test_samples_are_drawn_by_the_seed(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network: torch.nn.Module
    if kind == "stylegan2":
        arguments = {"size": 16, "style_dim": 8, "n_mlp": 2, "channel_multiplier": 1, "narrow": 0.03125}
        network, size = StyleGAN2Generator(**arguments), 16  # type: ignore[arg-type]
    else:
        arguments = {"style_dim": 8, "features": 2}
        network, size = DCGANGenerator(**arguments), 64  # type: ignore[arg-type]
    prior = tmp_path / "prior.safetensors"
    write(network.state_dict(), prior, FileHeader(kind, arguments))
    command("sample", str(prior), "-o", str(tmp_path / "a"), "--count", "3", "--device", "cpu")
    command("sample", str(prior), "-o", str(tmp_path / "b"), "--count", "2", "--device", "cpu")
    assert (tmp_path / "a/00001.png").read_bytes() == (tmp_path / "b/00001.png").read_bytes()
    assert (tmp_path / "a/00000.png").read_bytes() != (tmp_path / "a/00001.png").read_bytes()
    command("sample", str(prior), "-o", str(tmp_path / "sheet.png"), "--count", "4", "--seed", "7", "--device", "cpu")
    assert Image.open(tmp_path / "sheet.png").size == (2 * size, 2 * size)
    with pytest.raises(OutputExistsError):
        command("sample", str(prior), "-o", str(tmp_path / "sheet.png"), "--device", "cpu")


def test_samples_that_are_training_pictures_are_recognised(clean: Path) -> None:
    files = sorted(clean.iterdir())
    training = [read_square(file, 32) for file in files]
    copy = np.ascontiguousarray(training[2][:, ::-1])
    result = Judgement(2)
    sheet = find_nearest([copy, 255 - training[0]], files, result)
    index, distance = result.nearest[0]
    assert index == 2
    assert distance < 1e-3
    assert result.usual is not None
    assert result.nearest[1][1] > result.usual / 2
    assert sheet.size == (4 * 32, 16 + 32)


def test_samples_are_counted_as_faces_and_as_alike(shared: Path) -> None:
    faces = [read_square(file, 128) for file in sorted((shared / "data/faces_hq").glob("*.png"))[:3]]
    table = Table("retinaface-mobilenet0.25", architecture="retinaface", arguments={"network_name": "mobile0.25"})
    detector = FaceDetector(at_work(REGISTRY.load(table, shared / "weights/retinaface_mobilenet0.25.pth")))
    grey = np.full((128, 128, 3), 128, np.uint8)
    weights = shared / "weights/mobilefacenet_068.ckpt"
    different = judge_faces([*faces, grey], detector, weights)
    assert (different.pictures, different.faces, different.alike) == (4, 3, 0)
    same = judge_faces([faces[0], faces[0][:, ::-1].copy()], detector, weights)
    assert same.alike == 1
    assert same.as_json()["most_alike"] > 0.8


def test_likeness_needs_a_detector(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="found first"):
        command("sample", "tiny-prior", "-o", str(tmp_path / "x.png"), "--identity-weights", "x.ckpt")


def test_the_built_in_prior_is_measured_by_the_command(
    tmp_path: Path, clean: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "x.png")
    command("sample", "tiny-prior", "-o", out, "--count", "2", "--neighbours", str(clean), "--json", "--device", "cpu")
    record = json.loads(capsys.readouterr().out)
    assert record["pictures"] == 2
    assert record["faces"] is None
    assert 0 < record["nearest"] < 1
    assert Image.open(tmp_path / "x_neighbours.png").size == (4 * 128, 16 + 128)


def test_a_restorer_is_no_prior(tmp_path: Path, clean: Path) -> None:
    from restorer.training.loop import Place
    from restorer.training.recipe import parse_recipe
    from tests.training.test_runs import NETWORKS

    text = RESTORER.format(kind="lightglean", network=NETWORKS["lightglean"], steps=1, lr=1e-3)
    trainer = LightGLEANTrainer(parse_recipe(text, tmp_path, "test"), clean, Place(torch.device("cpu")))
    file = trainer.export(tmp_path)[0]
    with pytest.raises(UsageError, match="not a prior"):
        command("sample", str(file), "-o", str(tmp_path / "x.png"), "--device", "cpu")
