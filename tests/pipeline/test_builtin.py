"""What "auto" does where nothing can be had: the built-in models take over and say so; names never fall back."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from restorer import Restorer, weights
from restorer.errors import WeightsUnavailableError
from restorer.faces.mask import LandmarkMask
from restorer.options import Options
from restorer.pipeline.components import Components
from restorer.weights import Table
from tests.conftest import Restore
from tests.support.in_process import restore as run
from tests.support.parts import Detector, face_at

BUILT_IN, BUILT_IN_DETECTOR, BUILT_IN_UPSCALER = "tiny", "tiny-detector-free", "tiny-upscaler"
DETECTOR, PARSER = "retinaface-r50", "parsenet"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(60, 200, (12, 12, 3)).astype(np.uint8))
    small.resize((160, 160), Image.Resampling.BICUBIC).save(path)
    return path


@pytest.mark.parametrize(("scale", "wanted"), [(2.0, "gfpgan-1.4"), (8.0, "glean-128")])
def test_auto_takes_the_built_in_models_where_nothing_is_to_be_had(
    scale: float, wanted: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "restorer.pipeline")
    components = Components(Options(scale=scale, offline=True))
    assert components.model == BUILT_IN
    assert components.detector_name() == BUILT_IN_DETECTOR
    (line,) = components.fallbacks()
    assert line == "Offline, as asked for: using the small built-in models; `restore models pull` gets better ones."
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
    assert [each.split(":")[0] for each in told] == [wanted, DETECTOR]
    assert all("--offline" in each for each in told)


def test_each_part_falls_back_for_itself() -> None:
    said: list[str] = []
    components = Components(Options(model="gfpgan", offline=True), notify=said.append)
    assert components.model == "gfpgan-1.4"
    with pytest.raises(WeightsUnavailableError):
        components.face_model()
    assert components.detector_name() == BUILT_IN_DETECTOR
    with pytest.raises(WeightsUnavailableError):
        components.fallbacks()
    named = Components(Options(detector=DETECTOR, offline=True))
    assert named.model == BUILT_IN
    with pytest.raises(WeightsUnavailableError):
        named.detector()
    background = Components(Options(background="realesr-general", offline=True))
    with pytest.raises(WeightsUnavailableError):
        background.background((100, 100))


def test_the_built_in_model_asks_for_nothing_else(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_options: object) -> dict[str, weights.Absence]:
        raise AssertionError("nobody needs to know what could be downloaded")

    monkeypatch.setattr(weights, "missing", refuse)
    restorer = Restorer("tiny", scale=2)
    components = restorer.components
    assert components.detector_name() == BUILT_IN_DETECTOR
    assert components.background_name((100, 100)) == BUILT_IN_UPSCALER
    assert components.mask_name == "landmarks"
    assert isinstance(components.mask()[0], LandmarkMask)
    result = restorer.restore(photo)
    assert result.record["background"] == BUILT_IN_UPSCALER
    advice, *others = result.record["warnings"]  # the drawn picture is pale, and is told what would help
    assert advice.startswith("The print has faded; ")
    assert others == ["No face was found; only the picture as a whole was enlarged."]


def test_a_photo_is_restored_with_an_empty_cache(photo: Path) -> None:
    said: list[str] = []
    restorer = Restorer(detector=Detector([face_at((80, 70), 40)]), notify=said.append, offline=True)
    result = restorer.restore(photo)
    record = result.record
    assert (record["model"], record["detector"], record["background"]) == (BUILT_IN, "given", BUILT_IN_UPSCALER)
    assert record["mask"] == "LandmarkMask"
    assert record["faces"][0]["restored"] is True
    lines = [line for line in record["warnings"] if "built-in model" in line]
    assert len(lines) == 1
    assert lines[0] in said


def test_without_a_parser_the_mask_is_drawn(photo: Path) -> None:
    components = Components(Options(model="gfpgan", offline=True))
    assert components.mask_name == PARSER
    mask, line = components.mask()
    assert isinstance(mask, LandmarkMask)
    assert line is not None
    assert "landmarks" in line


def test_a_photo_too_large_for_the_built_in_upscaler_is_resampled() -> None:
    components = Components(Options(model="tiny", device="cpu"))
    background, line = components.background((20_000, 20_000))
    assert background.name == "lanczos"
    assert line is not None
    assert "20000 x 20000" in line


def test_a_file_that_the_host_does_not_have_is_replaced_too(
    photo: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A host that answers, and then has no such file: what "auto" chose is replaced all the same."""
    caplog.set_level(logging.INFO, "restorer.pipeline")
    fetch = weights.fetch

    def absent(table: Table, **options: Any) -> Path:
        if table.name == "gfpgan-1.4":
            raise WeightsUnavailableError(table.name, "The weights of gfpgan-1.4 are gone.")
        return fetch(table, **options)

    monkeypatch.setattr(weights, "missing", lambda *_a, **_k: {})
    monkeypatch.setattr(weights, "fetch", absent)
    said: list[str] = []
    restorer = Restorer(detector=Detector([face_at((80, 70), 40)]), background="lanczos", notify=said.append)
    record = restorer.restore(photo).record
    assert record["model"] == BUILT_IN
    (line,) = [line for line in record["warnings"] if "built-in model" in line]
    assert line.startswith("gfpgan-1.4 cannot be had (-v says why): ")
    assert said[0].startswith("The print has faded; ")
    assert said[1:] == [line]
    assert "gfpgan-1.4: The weights of gfpgan-1.4 are gone; tiny takes its place." in caplog.messages
    with pytest.raises(WeightsUnavailableError, match=r"gone.*fallback=False"):
        Restorer(detector=Detector([face_at((80, 70), 40)]), background="lanczos", fallback=False).restore(photo)
    with pytest.raises(WeightsUnavailableError, match="gone"):
        Restorer("gfpgan", detector=Detector([face_at((80, 70), 40)])).restore(photo)


def test_missing_asks_all_hosts_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[set[str]] = []

    def silent(addresses: object) -> dict[str, str]:
        asked.append(set(addresses))  # type: ignore[call-overload]
        return dict.fromkeys(asked[-1], "no answer")

    monkeypatch.setattr("restorer.weights.fetching.unreachable", silent)
    tables = [weights.resolve(name) for name in ("gfpgan", "retinaface-r50", "tiny", "gpen-256")]
    found = weights.missing(tables)
    assert len(asked) == 1
    assert set(found) == {"gfpgan-1.4", "retinaface-r50", "gpen-256"}
    assert "no answer" in found["gfpgan-1.4"].reason
    assert {name: each.kind for name, each in found.items()} == {
        "gfpgan-1.4": "network", "retinaface-r50": "network", "gpen-256": "source",
    }  # fmt: skip
    assert {each.kind for each in weights.missing(tables, offline=True).values()} == {"offline"}


def test_the_command_says_one_line_and_exits_well(restore: Restore, photo: Path) -> None:
    done = restore("photo.png", "--offline", "--json")
    record = json.loads(done.stdout)
    assert record["status"] == "ok"
    assert record["model"] == "tiny"
    told = [line for line in done.stderr.splitlines() if "built-in model" in line]
    assert len(told) == 1
    assert told[0].strip() in record["warnings"]
    assert len(told[0]) < 120
    named = restore("photo.png", "--offline", "--model", "gfpgan", "--overwrite", code=3)
    assert "gfpgan-1.4 (349 MB) is not on this machine, and --offline forbids fetching it." in named.stderr
    restore("photo.png", "--offline", "--detector", "retinaface-r50", "--overwrite", code=3)


def test_a_quiet_run_says_that_it_falls_back_and_a_strict_one_does_not_fall_back(
    photo: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For cron: under -q nothing but the line about the built-in models; --no-fallback refuses them, whatever part."""
    monkeypatch.chdir(photo.parent)
    assert run(capsys, "photo.png", "--offline", "-q").err.count("built-in models") == 1
    assert run(capsys, "photo.png", "--offline", "-q").err == ""  # nothing is done, so nothing is weak
    strict = run(capsys, "photo.png", "--offline", "-q", "--no-fallback", "--overwrite", code=3).err
    assert "gfpgan-1.4" in strict
    assert "--no-fallback" in strict
    run(capsys, "photo.png", "--offline", "--no-fallback", "-o", "strict.png", "--model", "none", code=3)
    assert not Path("strict.png").exists()
    run(capsys, "photo.png", "--offline", "--no-fallback", "-o", "strict.png", "--model", "tiny")
    run(capsys, "photo.png", "--offline", "--no-fallback", "--fallback", "-o", "loose.png")
    spoken = run(capsys, "photo.png", "--offline", "-v", "-o", "spoken.png").err
    for name in ("gfpgan-1.4", DETECTOR, "realesr-general"):
        assert f"{name}: --offline forbids fetching it" in " ".join(spoken.split())


def test_a_dry_run_names_models_and_downloads(
    photo: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photo.parent)
    monkeypatch.setattr(weights, "missing", lambda *_a, **_k: {})  # as with a network
    said = " ".join(run(capsys, "photo.png", "--dry-run").err.split())
    assert (
        "Models: faces by gfpgan-1.4, found by retinaface-r50; everything else by realesr-general. "
        "To be downloaded first, 548 MB in all: gfpgan-1.4 (349 MB), retinaface-r50 (109 MB), parsenet (85 MB), "
        "realesr-general (4.9 MB)."
    ) in said
    said = " ".join(run(capsys, "photo.png", "--dry-run", "--model", "tiny").err.split())
    assert "Models: faces by tiny, found by tiny-detector-free; everything else by tiny-upscaler." in said
    assert "downloaded" not in said
    said = " ".join(run(capsys, "photo.png", "--dry-run", "--model", "none", "--background", "lanczos").err.split())
    assert "Models: everything by lanczos." in said
    monkeypatch.undo()
    monkeypatch.chdir(photo.parent)
    said = " ".join(run(capsys, "photo.png", "--dry-run", "--offline").err.split())
    assert "Models: faces by tiny," in said
    assert "using the small built-in models" in said
    run(capsys, "photo.png", "--dry-run", "--offline", "--no-fallback", code=3)
    assert "Models" not in run(capsys, "photo.png", "--dry-run", "--offline", "-q").err


def test_python_logs_a_fallback_as_a_warning(photo: Path, caplog: pytest.LogCaptureFixture) -> None:
    restorer = Restorer(detector=Detector([face_at((80, 70), 40)]), offline=True)
    for _ in range(2):
        restorer.restore(photo)
    assert [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING] == [
        "Offline, as asked for: using the small built-in models; `restore models pull` gets better ones."
    ]
