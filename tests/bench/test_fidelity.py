"""What the measurements of a fidelity count: which knobs pass, whose faces are taken, how surely a person is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from restorer.bench import fidelity, references
from restorer.bench.tools.blending import CONDITIONS, Blender, ways
from restorer.models import REGISTRY
from restorer.training.people import part_of


def rows(psnr: list[float], identity: list[float], niqe: list[float], faces: int = 6) -> list[list[dict[str, float]]]:
    """Return faces that differ by a constant, with a little chance in how far the knob moves them."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(faces):
        stretch = 1 + 0.05 * rng.standard_normal()
        found.append(
            [
                {"psnr": 20 + stretch * one, "identity": stretch * two, "niqe": three, "detail": 1.0}
                for one, two, three in zip(psnr, identity, niqe, strict=True)
            ]
        )
    return found


def test_a_knob_passes_that_rises_at_each_step_and_looks_no_worse_at_0() -> None:
    up, down, even = [0.0, 0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1, 0.0], [5.0] * 5
    assert fidelity.verdict(rows(up, up, even))["passes"]
    for psnr, identity, niqe in (
        (down, up, even), (up, down, even), (up, even, even), (up, [0.0, 0.2, 0.3, 0.25, 0.4], even),
        (up, up, [5.1, 5, 5, 5, 5]),
    ):  # fmt: skip
        assert not fidelity.verdict(rows(psnr, identity, niqe))["passes"]
    noisy = [[{"psnr": value * (1 if number % 2 else -0.9)} for value in up] for number in range(6)]
    assert not fidelity.verdict(noisy)["passes"]  # it rises in the mean, but by chance


def test_nothing_passes_that_was_not_measured_by_pixels_and_by_a_recogniser() -> None:
    up = [0.0, 0.1, 0.2, 0.3, 0.4]
    both = [[{"psnr": value + face, "distance": -value} for value in up] for face in (1.0, 2.0)]
    found = fidelity.verdict(both)
    assert (found["passes"], found["looks"], found["rises"]) == (True, None, {"psnr": True, "distance": True})
    for name in ("psnr", "distance"):
        assert not fidelity.verdict([[{name: each[name]} for each in row] for row in both])["passes"]


def test_without_dlib_the_other_measures_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("restorer.evaluation.judge.find_spec", lambda _name: None)
    assert fidelity.judge_at_hand() is None
    assert "not installed" in capsys.readouterr().err


class Small(nn.Module):
    """Doubles a picture in two parts, of which one tells the other what it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Conv2d(3, 3, 1, bias=False)
        self.trunk.weight.data = 2 * torch.eye(3)[..., None, None]

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        told: torch.Tensor = self.trunk(pictures)
        return told


def test_ways_end_at_the_network_as_it_was_trained_and_begin_at_the_other_picture() -> None:
    faces = [torch.full((1, 3, 4, 4), level) for level in (0.1, 0.3)]
    with torch.inference_mode():
        found = {way.name: way.run(faces[0], [0.0, 0.5, 1.0]) for way in ways(Small(), "lightglean", faces)}
    means = {name: [float(answer.mean()) for answer in answers] for name, answers in found.items()}
    assert means["features, own"] == pytest.approx([0.4, 0.3, 0.2])
    assert means["features, mean"] == pytest.approx([0.4, 0.3, 0.2])
    assert means["picture, own"] == pytest.approx([0.4, 0.3, 0.2])
    assert ways(Small(), "faceunet", faces) == []
    with pytest.raises(ValueError, match="none of encoder"):
        Blender(Small(), ("encoder",))


SMALL: dict[str, dict[str, Any]] = {
    "gfpgan": {"out_size": 32, "narrow": 0.0625, "num_style_feat": 8},
    "gfpgan-original": {"out_size": 32, "narrow": 0.0625, "num_style_feat": 8},
    "gpen": {"size": 32, "narrow": 0.0625, "style_dim": 8},
    "glean": {"in_size": 16, "out_size": 32, "narrow": 0.0625, "num_rrdbs": 1, "rrdb_channels": 4, "style_channels": 8},
    "lightglean": {
        "in_size": 16, "out_size": 32, "narrow": 0.0625, "num_rrdbs": 1, "rrdb_channels": 4, "style_channels": 8,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", SMALL)
def test_each_architecture_tells_its_prior_what_the_table_says(name: str) -> None:
    """At 1 it is the network itself; at 0 it is not, so that what is blended counts."""
    assert name in CONDITIONS
    arguments = {**REGISTRY[name].defaults, **SMALL[name]}
    torch.manual_seed(0)
    network = REGISTRY[name].build(arguments).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=max(parameter[0].numel(), 1) ** -0.5 if parameter.ndim > 1 else 0.1)
    side = arguments.get("in_size", 32)
    faces = [torch.rand(1, 3, side, side) * 2 - 1 for _ in range(3)]
    with torch.inference_mode():
        plain = network(faces[0])
        if plain.shape != faces[0].shape:  # it enlarges, and cannot look at its own answer
            return
        for way in ways(network, name, faces):
            other, same = way.run(faces[0], [0.0, 1.0])
            assert (same - plain).abs().max() < 1e-5, way.name
            assert (other - plain).abs().max() > 1e-4, way.name
        assert torch.equal(network(faces[0]), plain)  # nothing stays behind


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Forty persons with one, two or three pictures, one of which was taken small."""
    lines = ["file,person,grade,licence,attribution,native_px,flags"]
    for number in range(40):
        for which in range(1 + number % 3):
            name = f"p{number:02d}_{which}.png"
            Image.fromarray(np.full((32, 32, 3), 6 * number, np.uint8)).save(tmp_path / name)
            lines.append(f"{name},person{number:02d},A,CC0,,{12 if which == 2 else 32},")
    (tmp_path / "MANIFEST.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_faces_are_of_persons_that_are_held_apart_one_picture_each(album: Path) -> None:
    persons = [f"person{number:02d}" for number in range(40)]
    apart = {part: {each for each in persons if part_of(each) == part} for part in ("choosing", "reporting")}
    for part, wanted in apart.items():
        found = fidelity.faces_of(album, 32, 0, part)
        assert [f"person{path.name[1:3]}" for path in found] == sorted(wanted)
    both = fidelity.faces_of(album, 32, 0, "apart")
    assert len(both) == len(apart["choosing"] | apart["reporting"]) > 2
    assert len(fidelity.faces_of(album, 32, 2, "apart")) == 2
    (album / "MANIFEST.csv").unlink()
    assert len(fidelity.faces_of(album, 32, 0, "apart")) == len(list(album.glob("*.png")))


def test_an_interrupted_measurement_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fidelity.Measures, "of", lambda _self, answer, _truth: {"psnr": float(answer.mean())})
    several, keep = ways(Small(), "lightglean", [torch.zeros(1, 3, 4, 4)]), tmp_path / "kept.jsonl"
    faces = [(str(level), torch.full((1, 3, 4, 4), level), np.zeros((4, 4, 3), np.uint8)) for level in (0.1, 0.2)]
    measures = fidelity.Measures(None, None)
    fidelity.measure(faces[:1], several, measures, keep)
    first = fidelity.measure(faces, several, measures, keep)
    lines = keep.read_text()
    assert len(lines.splitlines()) == 2 * len(several)
    assert fidelity.measure(faces, several, measures, keep) == first
    assert keep.read_text() == lines
    result = {name: fidelity.verdict(found) for name, found in first.items()}
    told = fidelity.table("two faces", result)
    assert all(name in told for name in result)
    assert fidelity.plot("two faces", result).size[0] > 200


# ------------------------------------------------------------------------------------------------------- references


def test_persons_with_several_pictures_are_taken(album: Path) -> None:
    found = references.known_of(album, 32, 0, ("person01",))
    assert {len(each.pictures) for each in found} == {2}  # the third was taken too small
    assert [each.person for each in found][:2] == ["person02", "person04"]
    assert len(references.known_of(album, 32, 3, ())) == 3


def unit(*angles: float) -> np.ndarray:
    return np.array([[np.cos(angle), np.sin(angle)] for angle in angles])


def test_how_surely_a_person_is_known() -> None:
    """Three persons a right angle apart or more; the second one's degraded face looks like the third's."""
    persons = [unit(0.0, 0.1), unit(2.0, 2.1), unit(4.0, 4.2)]
    found = references.thresholds(persons, unit(0.3, 4.1, 4.1), unit(0.1, 2.1, 4.1), 0.35)
    assert found["pairs"]["one person"]["pairs"] == 3
    assert found["pairs"]["two"]["pairs"] == 12
    assert found["pairs"]["one person"]["known"] == 1
    assert found["degraded"]["known"] == pytest.approx(2 / 3)
    assert found["degraded"]["taken"] == pytest.approx(1 / 3)
    assert found["restored"]["median"] == pytest.approx(np.cos(0.0) - np.cos(0.2), abs=1e-6)
    assert found["restored"]["moved"] == 0
    moved = references.thresholds(persons, unit(0.1, 2.1, 4.2), unit(0.1, 2.1, 4.8), 0.35)
    assert moved["restored"]["moved"] == pytest.approx(1 / 3)


def test_a_choice_passes_where_enough_faces_come_nearer() -> None:
    near, default = np.tile([0.5, 0.6, 0.7, 0.6, 0.5], (5, 1)), np.array([0.6, 0.6, 0.6, 0.6, 0.7])
    found = references.choice(near, default, None, None)
    assert (found["nearer"], found["passes"], found["chosen"]["0.5"]) == (0.8, True, 5)
    default[0] = 0.7
    found = references.choice(near, default, 1 - near, 1 - default)
    assert (found["nearer"], found["passes"]) == (0.6, False)
    assert found["judge"]["nearer"] == 0.6
    assert references.plot(near, default, "five faces").size == (460, 460)


def test_the_table_says_when_there_is_nothing_to_choose() -> None:
    found = references.thresholds([unit(0.0, 0.1), unit(2.0, 2.1)], unit(0.3, 2.1), unit(0.1, 2.1), 0.35)
    result = {"persons": 2, "side": 64, "model": "tiny", "same": 0.35, **found}
    assert references.table(result).endswith("tiny has no fidelity to choose")
    near = np.array([[0.1, 0.2, 0.3, 0.2, 0.1]])
    told = references.table({**result, "choice": references.choice(near, near[:, 0], near, near[:, 0])})
    assert "nearer than the default 100.0%" in told
