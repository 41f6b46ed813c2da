"""Features for a perceptual loss: of a recogniser, and of the discriminator in the checkpoint of a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from restorer import Restorer
from restorer.errors import CheckpointLayoutError
from restorer.inversion.perceptual import features_of
from restorer.models.templates import EYES_AND_MOUTH
from restorer.networks.discriminator import StyleGAN2Discriminator
from restorer.networks.mobilefacenet import TEMPLATE, MobileFaceNet
from restorer.weights import Table

PLACE = torch.zeros(1)


def never(table: Table) -> nn.Module:
    pytest.fail(f"a file needs no table, and {table.name} was loaded")


def checkpoint(path: Path, network: StyleGAN2Discriminator, **changes: Any) -> str:
    """Write a checkpoint as trainings keep them; a change of a tensor to None leaves it out."""
    state = {key: value for key, value in {**network.state_dict(), **changes}.items() if value is not None}
    torch.save({"parts": {"discriminator": state}}, path)
    return str(path)


@pytest.mark.parametrize(("size", "factor", "narrow"), [(16, 2, 0.05), (64, 1, 0.05), (128, 2, 0.03)])
def test_a_discriminators_features(size: int, factor: float, narrow: float, tmp_path: Path) -> None:
    """Its size and widths are found from its tensors; pictures of other sizes are brought to its own."""
    torch.manual_seed(1)
    network = StyleGAN2Discriminator(size, channel_multiplier=factor, narrow=narrow)
    features = features_of(checkpoint(tmp_path / "training.pt", network), never, PLACE)
    coarse = torch.rand(2, 3, 4, 4) * 2 - 1
    pictures, larger = (nn.functional.interpolate(coarse, (side, side), mode="bilinear") for side in (size, 2 * size))
    for ours, wanted in zip(features(pictures), network.features(pictures), strict=True):
        assert torch.allclose(ours, wanted, atol=1e-6)
    for ours, wanted in zip(features(larger), network.features(pictures), strict=True):
        assert (ours - wanted).abs().mean() < 0.1 * wanted.std()
    grey = pictures.mean(1, keepdim=True).requires_grad_()
    shown = features(grey)
    assert torch.allclose(shown[0], network.features(grey.expand(-1, 3, -1, -1))[0], atol=1e-6)
    torch.autograd.backward(shown[-1].sum())
    assert grey.grad is not None
    assert grey.grad.abs().max() > 0


def test_a_file_without_a_discriminator(tmp_path: Path) -> None:
    torch.save({"parts": {"network": {"weight": torch.zeros(1)}}}, tmp_path / "other.pt")
    with pytest.raises(CheckpointLayoutError, match="holds no discriminator") as error:
        features_of(str(tmp_path / "other.pt"), never, PLACE)
    assert "restore train" in str(error.value.remedy)
    network = StyleGAN2Discriminator(16, narrow=0.05)
    for changes in ({"final_conv.weight": None}, {"blocks.16.skip.weight": torch.zeros(1, 2, 3, 4)}):
        with pytest.raises(CheckpointLayoutError, match="holds no discriminator"):
            features_of(checkpoint(tmp_path / "broken.pt", network, **changes), never, PLACE)


class Watching(MobileFaceNet):
    """A recogniser that keeps what it is shown."""

    def features(self, faces: Tensor) -> list[Tensor]:
        """Return the faces themselves."""
        return [faces]


@pytest.mark.parametrize("side", [96, 256])
def test_a_recogniser_sees_the_face_where_it_expects_it(side: int) -> None:
    """What is at the eyes and the mouth of an aligned face comes to where the recogniser has them, at any size."""
    loaded: list[str] = []

    def load(table: Table) -> nn.Module:
        loaded.append(table.name)
        return Watching()

    features = features_of("mobilefacenet", load, PLACE)
    assert loaded == ["mobilefacenet"]
    rows, columns = torch.meshgrid(torch.arange(side) + 0.5, torch.arange(side) + 0.5, indexing="ij")
    for place, wanted in zip(EYES_AND_MOUTH.points, TEMPLATE, strict=True):
        x, y = np.array(place) * side
        spot = torch.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * (side / 40) ** 2))
        seen = features(spot[None, None])[0]
        assert seen.shape == (1, 3, 112, 96)
        brightest = divmod(int(seen[0, 0].argmax()), 96)
        assert np.hypot(brightest[0] + 0.5 - wanted[1], brightest[1] + 0.5 - wanted[0]) < 4


def test_a_table_that_is_no_recogniser() -> None:
    with pytest.raises(CheckpointLayoutError, match="tiny-prior has no features of faces"):
        features_of("tiny-prior", lambda _table: nn.Linear(1, 1), PLACE)


def test_a_table_of_ones_own_searches_with_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss is the pixels' alone, or more by what the features differ."""
    torch.manual_seed(0)
    path = checkpoint(tmp_path / "training.pt", StyleGAN2Discriminator(16, narrow=0.05))
    shared = 'architecture = "mganprior"\nprior = "tiny-prior"\narguments = { codes = 2, layer = 2'
    (tmp_path / "weights.toml").write_text(
        f'[plain]\n{shared} }}\n[felt]\n{shared}, perceptual = "{path}", perceptual_weight = 0.5 }}\n'
    )
    monkeypatch.setenv("RESTORER_WEIGHTS", str(tmp_path / "weights.toml"))
    photo = np.random.default_rng(1).integers(0, 256, (16, 16, 3), np.uint8)
    common: dict[str, Any] = {"aligned": True, "offline": True, "background": "lanczos", "steps": 1}
    plain, felt = (Restorer(name, **common).restore(photo).faces[0].answers[0] for name in ("plain", "felt"))
    assert plain["error"] == felt["error"]
    assert felt["loss"] > plain["loss"] + 0.01
