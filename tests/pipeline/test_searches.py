"""Searches in the pipeline and the command: answers as files, what the record says, what ends them early."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from restorer import Restorer, weights
from restorer.errors import UsageError
from restorer.imaging.tensors import to_pictures
from restorer.inversion.operators import Reduction
from restorer.inversion.pulse_faces import PulseFaces
from restorer.inversion.searcher import FaceSearcher, Wish
from restorer.models import REGISTRY, load_network
from restorer.pipeline.components import Components
from restorer.pipeline.events import Stepped
from tests.pipeline.test_references import FACES, Likeness, red
from tests.support.golden import FOLDER, Record
from tests.support.in_process import restore
from tests.support.parts import Detector

COMMON = ("--aligned", "--offline", "--background", "lanczos")


@pytest.fixture(scope="module")
def crop() -> np.ndarray:
    """A face of the prior itself, 24 px."""
    prior = load_network("tiny-prior", offline=True)
    with torch.no_grad():
        drawn = prior(torch.randn(1, 128, generator=torch.Generator().manual_seed(3)), truncation=0.7)
    return to_pictures(Reduction(128, 24)(drawn))[0]


@pytest.fixture
def photo(crop: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(crop).save("crop.png")
    return Path("crop.png")


def pixels(path: str | Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def test_two_answers_and_how_well_each_agrees(
    photo: Path, crop: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("crop.png", "--model", "pulse", *COMMON, "--seed", "1", "--steps", "20", "--scale", "4", "--json")
    done = restore(capsys, *command, "--variants", "2", "--preview", "now.png")
    record = json.loads(done.out)
    assert (record["model"], record["prior"], record["task"]) == ("pulse", "tiny-prior", "super-resolution")
    assert (record["output"], record["variants"]) == ("crop_restored.png", ["crop_restored_2.png"])
    assert record["precision"] == "fp32"
    first, second = pixels("crop_restored.png"), pixels("crop_restored_2.png")
    assert first.shape == second.shape == (96, 96, 3)
    assert np.abs(first.astype(int) - second).mean() > 2
    answers = record["faces"][0]["answers"]
    assert [answer["seed"] for answer in answers] == [1, 2]
    for answer in answers:
        assert answer["met"] == (answer["error"] <= answer["allowed"])
        assert answer["steps"] == 20
        assert answer["stopped"] is None
        assert answer["met"] or any("levels off" in line for line in record["warnings"])
    assert "imagined person" in done.err
    assert pixels("now.png").shape == (256, 256, 3) or pixels("now.png").shape == (128, 256, 3)
    # Again: done already. Another second answer in the way is no reason to lose it.
    assert json.loads(restore(capsys, *command, "--variants", "2").out)["status"] == "skipped"
    Path("crop_restored.png").unlink()
    refused = restore(capsys, *command, "--variants", "2", code=1)
    assert "crop_restored_2.png exists already" in refused.err
    assert np.array_equal(pixels("crop_restored_2.png"), second)
    # The same seed alone is the same answer.
    restore(
        capsys, *command[:5], "--background", "lanczos", "--seed", "2", "--steps", "20", "--scale", "4", "-o", "b.png"
    )
    assert np.abs(pixels("b.png").astype(int) - second).mean() < 0.5  # but for the rounding of another batch


def test_answers_are_in_the_order_of_their_likeness(
    crop: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the photo's face, or to the person's photos; here faces are told by how red they are."""

    def run(**options: Any) -> Any:
        made = Restorer(
            "pulse", detector=Detector(FACES), aligned=True, offline=True, background="lanczos", steps=4, variants=3,
            match_color=False, scale=4, **options,
        )  # fmt: skip
        return made, made.restore(crop)

    maker, plain = run()
    assert [(each["seed"], each["by"], each["nearness"]) for each in plain.faces[0].answers] == [
        (seed, None, None) for seed in range(3)
    ]
    pictures = [plain.image, *plain.variants]
    compares = Likeness()
    monkeypatch.setattr(Components, "recogniser", lambda _self: compares)
    monkeypatch.setattr(Components, "recogniser_is_here", lambda _self: True)
    for by, level in (("photo", None), ("references", 0.0), ("references", 1.0)):
        if level is not None:
            red(level, tmp_path / f"{level}.png")
        other, result = run(**({} if level is None else {"reference": tmp_path / f"{level}.png"}))
        answers = result.faces[0].answers
        assert {each["by"] for each in answers} == {by}
        near = [each["nearness"] for each in answers]
        assert near == sorted(near, reverse=True)
        assert len(set(near)) == 3
        assert sorted(each["seed"] for each in answers) == [0, 1, 2]
        for each, picture in zip(answers, [result.image, *result.variants], strict=True):
            assert np.abs(picture.astype(int) - pictures[each["seed"]]).max() <= 1
        assert other.note("0" * 64).fingerprint != maker.note("0" * 64).fingerprint or by == "photo"
        if level is not None:
            redness = [pictures[each["seed"]][..., 0].mean() for each in answers]
            assert redness == sorted(redness, reverse=level > 0.5)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--model", "tiny", "--variants", "2"), "--variants is for models that search a prior; tiny does not"),
        (("--model", "none", "--variants", "2"), "--variants is for faces; --model none restores none"),
        (("--model", "none", "--steps", "1"), "--steps is for faces"),
        (("--model", "tiny", "--steps", "5"), "--steps is for models that search"),
        (("--model", "tiny", "--time-limit", "5s"), "--time-limit is for models that search"),
        (("--model", "tiny", "--prior", "tiny-prior"), "--prior is for models that search"),
        (("--model", "tiny", "--task", "colorize"), "tiny cannot colorize"),
        (("--model", "pulse", "--task", "colorize"), "pulse cannot colorize"),
        (("--model", "pulse", "--prior", "tiny"), "pulse does not search the architecture 'lightglean'"),
        (("--model", "pulse", "--prior", "nowhere"), "no weights called 'nowhere'"),
        (("--model", "pulse", "--hole", "crop.png"), "--hole is for --task inpaint alone"),
        (("--model", "pulse", "--fidelity", "0.5"), "pulse has no fidelity control"),
        (("--model", "pulse", "--time-limit", "soon"), "soon"),
        (("--model", "pulse", "--steps", "0"), "--steps 0"),
    ],
)
def test_what_makes_no_sense_is_wrong_usage(
    arguments: tuple[str, ...], why: str, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert why in restore(capsys, "crop.png", *COMMON, *arguments, code=2).err
    assert sorted(path.name for path in Path().iterdir()) == ["crop.png"]


def test_an_unmet_constraint_is_a_warning_with_its_figure(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (20, 20, 3), np.uint8)
    restorer = Restorer("pulse", aligned=True, offline=True, background="lanczos", steps=3)
    result = restorer.restore(noise)
    answer = result.faces[0].answers[0]
    assert result.record["status"] == "ok"
    assert answer["met"] is False
    wanted = f"it is {answer['error']:.1f} levels off where 11.4 are allowed"
    assert sum(wanted in line for line in result.record["warnings"]) == 1


def test_steps_are_told_with_a_picture(crop: np.ndarray) -> None:
    told: list[Stepped] = []
    restorer = Restorer("pulse", aligned=True, offline=True, background="lanczos", steps=3, variants=3, batch_size=2)
    result = restorer.restore(
        crop, on_stage=lambda _stage, each: told.append(each) if isinstance(each, Stepped) else None
    )
    assert [each.done for each in told] == [2, 4, 6, 7, 8, 9]
    assert {each.total for each in told} == {9}
    assert "levels from the photo" in told[0].words
    assert told[0].picture().shape == (2, 3, 128, 128)
    assert len(result.variants) == 2
    assert len(result.faces[0].answers) == 3


def test_an_interrupt_keeps_the_best_and_ends_the_run(
    photo: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(pixels(photo)[::-1].copy()).save("later.png")
    seen = []
    plain = PulseFaces.search_once

    def interrupted(self: FaceSearcher, wish: Wish, limits: Any, on_step: Any) -> Any:
        def heard(glimpse: Any) -> None:
            seen.append(glimpse.step)
            if glimpse.step == 3:
                raise KeyboardInterrupt

        return plain(self, wish, limits, heard)  # type: ignore[arg-type]

    monkeypatch.setattr(PulseFaces, "search_once", interrupted)
    done = restore(capsys, "crop.png", "later.png", "--model", "pulse", *COMMON, "--json", code=130)
    record = json.loads(done.out)
    assert seen == [1, 2, 3]
    assert record["input"] == "crop.png"
    assert record["faces"][0]["answers"][0]["stopped"] == "interrupt"
    assert any("interrupted after 3 steps" in line for line in record["warnings"])
    assert Path("crop_restored.png").is_file()
    assert not Path("later_restored.png").exists()


def test_a_time_limit_ends_a_search_and_says_so(crop: np.ndarray) -> None:
    restorer = Restorer("pulse", aligned=True, offline=True, background="lanczos", steps=100_000, time_limit=0.5)
    result = restorer.restore(crop)
    answer = result.faces[0].answers[0]
    assert answer["stopped"] == "time limit"
    assert 0 < answer["steps"] < 100_000
    assert any("reached its time limit" in line for line in result.record["warnings"])


def test_a_stylegan1_prior_is_searched_with_its_mapping(
    crop: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("stylegan1_128_narrow", "stylegan1_mapping"):
        Record.read(FOLDER / f"{name}.json").write(tmp_path / f"{name}.pth")
    import hashlib

    def digest(name: str) -> str:
        return hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()

    (tmp_path / "weights.toml").write_text(
        f"""
        [face]
        architecture = "stylegan1"
        sources = ["file:stylegan1_128_narrow.pth"]
        sha256 = "{digest("stylegan1_128_narrow.pth")}"
        mapping = "face-mapping"
        [face-mapping]
        architecture = "stylegan1-mapping"
        sources = ["file:stylegan1_mapping.pth"]
        sha256 = "{digest("stylegan1_mapping.pth")}"
        [alone]
        architecture = "stylegan1"
        sources = ["file:stylegan1_128_narrow.pth"]
        sha256 = "{digest("stylegan1_128_narrow.pth")}"
        [mine]
        architecture = "pulse"
        prior = "face"
        """
    )
    monkeypatch.setenv("RESTORER_WEIGHTS", str(tmp_path / "weights.toml"))
    common: dict[str, Any] = {"aligned": True, "offline": True, "background": "lanczos", "steps": 2}
    named = Restorer("pulse", prior="face", **common).restore(crop)
    assert named.record["prior"] == "face"
    table = Restorer("mine", **common).restore(crop)
    assert np.array_equal(named.image, table.image)
    assert named.note.fingerprint != Restorer("pulse", **common).note(named.photo.sha256).fingerprint
    with pytest.raises(UsageError, match="mapping network") as error:
        Restorer("pulse", prior="alone", **common).restore(crop)
    assert "mapping = " in str(error.value.remedy)


def test_a_file_of_ones_own_is_a_prior(crop: np.ndarray, tmp_path: Path) -> None:
    own = tmp_path / "own.safetensors"
    own.write_bytes(weights.fetch(weights.resolve("tiny-prior"), offline=True).read_bytes())
    common: dict[str, Any] = {"aligned": True, "offline": True, "background": "lanczos", "steps": 2}
    named = Restorer("pulse", prior=str(own), **common).restore(crop)
    assert np.array_equal(named.image, Restorer("pulse", **common).restore(crop).image)


def test_a_search_is_no_network() -> None:
    table = weights.resolve("pulse")
    with pytest.raises(UsageError, match="is a search, not a network"):
        REGISTRY.load(table, weights.fetch(table, offline=True))
    with pytest.raises(UsageError, match="is a search"):
        load_network("pulse", offline=True)


def test_memory_that_does_not_suffice_means_fewer_at_once(crop: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    plain = PulseFaces.search_once

    def cramped(self: FaceSearcher, wish: Wish, limits: Any, on_step: Any) -> Any:
        sizes.append(len(wish.seeds))
        if len(wish.seeds) > 1:
            raise RuntimeError("CUDA out of memory.")
        return plain(self, wish, limits, on_step)  # type: ignore[arg-type]

    monkeypatch.setattr(PulseFaces, "search_once", cramped)
    restorer = Restorer("pulse", aligned=True, offline=True, background="lanczos", steps=2, variants=3)
    assert len(restorer.restore(crop).variants) == 2
    assert sizes == [3, 1, 1, 1]
