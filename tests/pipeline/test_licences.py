"""Licences of weights: every table says whether its allows commercial use, and what limits a result is said with it."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from restorer import Restorer, weights
from restorer.errors import LicenseForbidsError
from restorer.evaluation import ageing
from restorer.models import REGISTRY
from restorer.options import Options
from restorer.photo import read_note
from restorer.pipeline.choice import Available, choose
from restorer.weights import Absence, FileHeader, Table, native_file
from restorer.weights.table import read_tables, shipped_file
from tests.support.in_process import restore as run
from tests.support.parts import Detector, face_at

Capsys = pytest.CaptureFixture[str]
NETWORK = Absence("network", "a host: its name cannot be resolved")
LIMITED = {"tiny": "non-commercial (trained on faces believed CC BY-NC 4.0)"}


@pytest.fixture
def portrait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a photograph of a person, which the built-in models find and restore."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "portrait.png"
    Image.fromarray(ageing.age(ageing.photograph(), 0)).save(path)
    return path


@pytest.fixture
def grey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "grey.png"
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(path)
    return path


@pytest.mark.parametrize("table", read_tables(shipped_file()).values(), ids=lambda table: table.name)
def test_every_table_says_whether_its_licence_allows_commercial_use(table: Table) -> None:
    """A new one is classified when it is added: what is stated in words and what a program asks for agree."""
    words = table.license or ""
    if words.startswith("yours"):  # a template for files that people train themselves
        assert table.commercial is None
        return
    assert isinstance(table.commercial, bool)
    limited = any(mark in words.lower() for mark in ("non-commercial", "none", "nc-", "by-nc", "psfrgan", "s-lab"))
    assert table.commercial is not limited, words


def test_a_table_with_another_word_is_refused(tmp_path: Path) -> None:
    from restorer.errors import InvalidTableError

    file = tmp_path / "weights.toml"
    file.write_text('[mine]\narchitecture = "gfpgan"\nsources = []\ncommercial = "yes"\n')
    with pytest.raises(InvalidTableError, match="'commercial' that is neither true nor false"):
        read_tables(file)


# ------------------------------------------------------------------------------------------------- what is chosen


def chosen(missing: tuple[str, ...] = (), **given: Any) -> Any:
    available = Available(weights.tables(), dict.fromkeys(missing, NETWORK), "commercial")
    return choose(Options(license="commercial", **given), available, size=(640, 480))


def test_auto_takes_what_may_be_used_commercially() -> None:
    tables = weights.tables()
    for scale in (1.0, 2.0, 8.0):
        found = chosen(scale=scale)
        used = {found.model, found.detector, found.mask, found.background} - {"landmarks", "lanczos"}
        assert all(tables[name].commercial for name in used)
        assert (found.model, found.detector, found.barred) == ("restoreformer", "retinaface-r50", None)
    any_use = choose(Options(), Available(tables), size=(640, 480))
    assert (any_use.model, any_use.mask) == ("gfpgan-1.4", "parsenet")  # and nothing has changed for all others


@pytest.mark.parametrize("missing", [("retinaface-r50",), ("restoreformer", "retinaface-r50")])
def test_where_no_detector_is_left_faces_stay_as_they_are(missing: tuple[str, ...]) -> None:
    """The shipped tables have a built-in one; a table of one's own may have none."""
    tables = {name: table for name, table in weights.tables().items() if name != "tiny-detector-free"}
    available = Available(tables, dict.fromkeys(missing, NETWORK), "commercial")
    found = choose(Options(license="commercial"), available, size=(640, 480))
    assert (found.model, found.detector, found.replaced) == ("none", None, ())
    assert found.background == "realesr-general"
    assert str(found.barred).startswith("Faces stay as they are")
    assert "`restore models pull retinaface-r50`" in str(found.barred)


def test_a_built_in_detector_for_any_use_takes_the_place_of_one_that_cannot_be_had() -> None:
    found = chosen(("retinaface-r50",))
    assert (found.model, found.detector, found.barred) == ("restoreformer", "tiny-detector-free", None)
    assert [(each.wanted, each.taken) for each in found.replaced] == [("retinaface-r50", "tiny-detector-free")]
    only = chosen(("retinaface-r50", "restoreformer"), model="tiny-free")
    assert (only.model, only.detector, only.barred) == ("tiny-free", "tiny-detector-free", None)


def test_a_built_in_model_for_any_use_takes_the_place_of_one_that_cannot_be_had() -> None:
    found = chosen(("restoreformer",))
    assert (found.model, found.detector, found.mask, found.barred) == ("tiny-free", "retinaface-r50", "landmarks", None)
    assert [(each.wanted, each.taken) for each in found.replaced] == [("restoreformer", "tiny-free")]


def test_where_nothing_can_be_had_all_that_takes_its_place_may_be_used_commercially() -> None:
    tables = weights.tables()
    found = chosen(tuple(tables))
    assert found.background in ("tiny-upscaler", "lanczos")
    assert (found.model, found.detector, found.barred) == ("tiny-free", "tiny-detector-free", None)
    assert all(tables[name].commercial for name in (found.model, found.detector))
    for options in (Options(), Options(model="tiny-free")):  # everybody else gets the same detector
        others = choose(options, Available(tables, dict.fromkeys(tables, NETWORK)), size=(640, 480))
        assert others.detector == "tiny-detector-free"


def test_weights_that_are_named_are_refused_with_the_alternatives(capsys: Capsys, grey: Path) -> None:
    for named, instead in (
        (("--model", "gfpgan"), "Use restoreformer"),
        (("--model", "tiny"), "Use restoreformer"),
        (("--detector", "tiny-detector"), "retinaface-r50"),
        (("--model", "none", "--min-likeness", "0.5"), "--min-likeness"),
    ):
        done = run(capsys, "grey.png", "--license", "commercial", *named, code=None)
        assert done.code == (2 if "none" in named else 3)
        assert instead in " ".join(done.err.split())
    assert not list(grey.parent.glob("*_restored*"))
    with pytest.raises(LicenseForbidsError, match="may not be used commercially") as caught:
        Restorer(license="commercial", min_likeness=0.5)
    assert str(caught.value.remedy).startswith("Leave ")


def test_a_file_of_ones_own_is_taken_where_its_owner_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = weights.resolve("tiny")
    about = native_file.read(Path(str(weights.cached(tiny))))
    assert about is not None
    toml = tmp_path / "own.toml"
    fields = f'architecture = "lightglean"\nsources = ["file:{weights.cached(tiny)}"]\nsha256 = "{tiny.sha256}"\n'
    monkeypatch.setenv("RESTORER_WEIGHTS", str(toml))
    toml.write_text(f"[mine]\n{fields}")
    with pytest.raises(LicenseForbidsError, match="mine says nothing of commercial use"):
        Restorer("mine", license="commercial")
    toml.write_text(f"[mine]\n{fields}commercial = true\n")
    assert Restorer("mine", aligned=True, license="commercial").components.model == "mine"


@pytest.mark.parametrize("commercial", [True, False, None])
def test_a_file_carries_it_along(commercial: bool | None, tmp_path: Path) -> None:
    import torch

    path = tmp_path / "a.safetensors"
    native_file.write({"weight": torch.zeros(1)}, path, FileHeader("gfpgan", commercial=commercial))
    assert weights.resolve(str(path)).commercial is commercial


# --------------------------------------------------------------------------------------------------- what is said


def test_a_limit_stands_in_summary_record_note_and_report(capsys: Capsys, portrait: Path) -> None:
    done = run(capsys, "portrait.png", "--offline", "-o", "out/", "--report")
    said = " ".join(done.err.split())
    assert said.count("Licence: tiny limits commercial use") == 1
    note = read_note(Path("out/portrait_restored.png"))
    assert note is not None
    page = Path("out/report.html").read_text("utf-8")
    for name, words in LIMITED.items():
        assert f"{name}: {words}" in note.license
        assert f"{name} may be limited in its use: {words}" in page
    again = run(capsys, "portrait.png", "--offline", "-o", "again.png", "--json")
    assert json.loads(again.out)["licenses"] == LIMITED
    quiet = run(capsys, "portrait.png", "--offline", "-o", "quiet.png", "-q")
    assert "Licence" not in quiet.err


def test_only_what_ran_limits_a_result(grey: Path) -> None:
    result = Restorer("tiny", detector=Detector([]), background="lanczos").restore(grey)
    assert result.record["licenses"] == {}
    assert result.note.license == ""
    found = Restorer("tiny", detector="tiny-detector", background="lanczos").restore(grey)
    assert set(found.record["licenses"]) == {"tiny-detector"}  # it looked, and found nobody
    assert Restorer("tiny", background="lanczos").restore(grey).record["licenses"] == {}  # what looks is for any use
    one = Restorer("tiny", detector=Detector([face_at((30, 30), 20)]), background="lanczos").restore(grey)
    assert set(one.record["licenses"]) == {"tiny"}


def test_a_commercial_run_without_any_weights_takes_those_in_the_package(capsys: Capsys, portrait: Path) -> None:
    done = run(capsys, "portrait.png", "--license", "commercial", "--offline", "--json")
    record = json.loads(done.out)
    assert (record["status"], record["model"], record["detector"]) == ("ok", "tiny-free", "tiny-detector-free")
    assert [face["restored"] for face in record["faces"]] == [True]
    assert record["licenses"] == {}
    assert "Licence" not in done.err


@pytest.fixture
def no_free_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables as somebody's own file may have them: no detector for any use is built in."""
    tables = {name: table for name, table in weights.tables().items() if name != "tiny-detector-free"}
    monkeypatch.setattr(weights, "tables", lambda: tables)


@pytest.mark.usefixtures("no_free_detector")
def test_a_commercial_run_without_a_detector_enlarges_says_so_and_exits_3(capsys: Capsys, portrait: Path) -> None:
    done = run(capsys, "portrait.png", "--license", "commercial", "--offline", "--json", code=3)
    record = json.loads(done.out)
    assert (record["status"], record["model"], record["detector"], record["faces"]) == ("ok", "none", None, [])
    assert record["licenses"] == {}
    assert Path(record["output"]).is_file()
    said = " ".join(done.err.split())
    assert said.count("Faces stay as they are") == 1
    assert any(line.startswith("Faces stay as they are") for line in record["warnings"])
    strict = run(capsys, "portrait.png", "--license", "commercial", "--offline", "--no-fallback", "--overwrite", code=3)
    assert "Faces stay as they are" in " ".join(strict.err.split())
    assert all(REGISTRY.architecture_of(weights.resolve(name)).role == "upscaler" for name in [record["background"]])


@pytest.mark.usefixtures("no_free_detector")
def test_python_hears_it_too(portrait: Path, caplog: pytest.LogCaptureFixture) -> None:
    Restorer(license="commercial", offline=True).restore(portrait)
    told = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert sum(line.startswith("Faces stay as they are") for line in told) == 1
