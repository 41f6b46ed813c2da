"""Single faces that are restored in their own way: `--adjust 2:strength=0.5,model=gpen-512`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from restorer import Options, Restorer
from restorer.errors import RestorerError, UsageError
from restorer.options.adjusting import adjustments, adjustments_as_text
from restorer.pipeline.components import Components
from restorer.pipeline.result import Result
from restorer.server import choices
from tests.support.in_process import restore as run
from tests.support.parts import Colour, Detector, Everything, face_at

FACES = [face_at((40, 50), 16), face_at((110, 50), 16)]
NEAR = [face_at((60, 50), 16), face_at((82, 50), 16)]
GREY = np.full((100, 150, 3), 120, np.uint8)
RED, BLUE = (1.0, -1.0, -1.0), (-1.0, -1.0, 1.0)


def plain(**options: Any) -> Result:
    found = Detector(options.pop("found", FACES))
    return Restorer(
        Colour(),
        detector=found,
        mask=Everything(),
        background="lanczos",
        scale=1,
        match_color=False,
        always=True,
        **options,
    ).restore(GREY)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("2:strength=0.5", ("2:strength=0.5",)),
        (" 3 : fidelity = 0.25 , strength=.5", ("3:strength=0.5,fidelity=0.25",)),
        ("2:strength=0.5,3:model=gpen-512,fidelity=auto", ("2:strength=0.5", "3:model=gpen-512,fidelity=auto")),
        (["3:strength=1", "2:model=gfpgan-1.4", "3:strength=0.25"], ("2:model=gfpgan-1.4", "3:strength=0.25")),
        ({2: {"strength": 0.5, "model": "restoreformer++"}}, ("2:model=restoreformer++,strength=0.5",)),
        ((), ()),
    ],
)
def test_what_is_said_of_single_faces_is_always_written_alike(given: Any, wanted: tuple[str, ...]) -> None:
    assert Options.of(adjust=given).adjust == wanted
    assert adjustments_as_text(wanted) == wanted
    assert adjustments_as_text([str(each) for each in adjustments(wanted).values()]) == wanted


@pytest.mark.parametrize(
    "wrong",
    ["2", "2:", "strength=0.5", "0:strength=1", "2:size=3", "2:strength=2", "2:strength=-0.1", "2:strength=nan",
     "2:strength=half", "2:fidelity=1.5", "2:model=../a.pth", "2:model=/etc/passwd", "2:model=a b", "x:strength=1",
     "2:strength=0.5;3:strength=1", "99999999:strength=1"],
)  # fmt: skip
def test_what_is_no_adjustment_is_refused(wrong: str) -> None:
    with pytest.raises(UsageError):
        Options.of(adjust=wrong)


def test_the_strength_of_one_face_is_that_of_no_other() -> None:
    whole, half, none = plain(), plain(adjust="2:strength=0.5"), plain(adjust={2: {"strength": 0.0}})
    assert tuple(whole.image[50, 110]) == (255, 0, 0)
    assert tuple(half.image[50, 110]) == (188, 60, 60)
    assert tuple(none.image[50, 110]) == (120, 120, 120)
    for other in (half, none):
        assert np.array_equal(other.image[:, :75], whole.image[:, :75])
    assert [face.adjusted for face in half.record.faces] == [None, {"strength": 0.5}]
    assert half.record.as_dict()["faces"][1]["adjusted"] == {"strength": 0.5}
    assert np.array_equal(plain(strength=0.5).image, plain(adjust="1:strength=0.5,2:strength=0.5").image)
    assert len({each.note.fingerprint for each in (whole, half, none)}) == 3


@pytest.fixture
def two_models(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Let the built-in model paint red and any other one blue."""
    painters = {"tiny": Colour(RED), "gpen-512": Colour(BLUE, size=512)}
    monkeypatch.setattr(Components, "face_model", lambda own: painters[own.options.model])
    monkeypatch.setattr(Components, "mask", lambda _own: (Everything(), None))
    monkeypatch.setattr(Components, "fallbacks", lambda _own: [])

    def restored(found: list[Any] = FACES, **options: Any) -> Result:
        restorer = Restorer("tiny", detector=Detector(found), background="lanczos", scale=1, match_color=False,
                            always=True, offline=True, **options)  # fmt: skip
        return restorer.restore(GREY)

    return restored


def test_each_face_may_have_its_own_model(two_models: Callable[..., Result]) -> None:
    result = two_models(adjust="2:model=gpen-512,strength=0.5")
    assert tuple(result.image[50, 40]) == (255, 0, 0)
    assert tuple(result.image[50, 110]) == (60, 60, 188)
    assert result.record.components["model"]["name"] == "tiny"
    assert result.record.components["model of face 2"]["name"] == "gpen-512"
    assert result.record.components["model of face 2"]["sha256"]
    assert "gpen-512" in result.record.licenses
    alone = two_models(adjust=["1:model=gpen-512", "2:model=gpen-512"])
    assert "tiny" not in alone.record.licenses
    assert tuple(alone.image[50, 40]) == (0, 0, 255)


def test_faces_of_other_models_are_neighbours_all_the_same(two_models: Callable[..., Result]) -> None:
    """Where two faces overlap, each keeps what is its own, whatever restores the other."""
    red = two_models(NEAR)
    result = two_models(NEAR, adjust="2:model=gpen-512")
    owned = result.image.astype(int)
    assert owned[50, 60, 0] > 230
    assert owned[50, 82, 2] > 230
    left = np.abs(owned[:, :60] - red.image[:, :60].astype(int))
    assert left.max() < 60  # the other's border reaches no further than it does for one model


def test_what_cannot_be_done_is_said() -> None:
    record = plain(adjust=["5:strength=0.5", "2:strength=0.5"], faces="1").record
    assert record.faces[1].adjusted is None
    assert any("speaks of face 5, but 2 were found" in line for line in record.warnings)
    assert any("face 2, which was left as it is" in line for line in record.warnings)
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"model": "tiny", "adjust": "2:fidelity=0.5"}, "no fidelity"),
        ({"model": "tiny", "adjust": "2:model=gpen-521"}, "there is none"),
        ({"model": "tiny", "adjust": "2:model=tiny.safetensors"}, "there is none"),
        ({"model": "tiny", "adjust": "2:model=pulse"}, "searches for a face"),
        ({"model": "tiny", "adjust": "2:model=realesrgan-x2"}, "realesrgan-x2"),
        ({"model": "none", "adjust": "2:strength=0.5"}, "restores none"),
        ({"model": "tiny", "license": "commercial", "adjust": "2:model=gpen-512"}, "commercial"),
    )
    for options, words in wrong:
        with pytest.raises(RestorerError, match=words):
            Restorer(**options)


def test_one_face_in_its_own_way_as_it_is_typed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.png")
    monkeypatch.setattr(Components, "detector", lambda _own: Detector(FACES))
    monkeypatch.setattr(Components, "face_model", lambda _own: Colour())
    monkeypatch.setattr(Components, "mask", lambda _own: (Everything(), None))
    typed = [str(tmp_path / "a.png"), "--scale", "1", "--model", "tiny", "--background", "lanczos", "--offline",
             "--always", "--adjust", "2:strength=0.5", "--adjust", "1:strength=0.25", "--json"]  # fmt: skip
    record = json.loads(run(capsys, *typed).out)
    assert [face["adjusted"] for face in record["faces"]] == [{"strength": 0.25}, {"strength": 0.5}]
    words = choices.command("a.png", Options(model="tiny", adjust="2:strength=0.5,1:strength=0.25"), Options())  # type: ignore[arg-type]
    assert words == "restore a.png --model tiny --adjust 1:strength=0.25 --adjust 2:strength=0.5"
    given = choices.read(Options(), {"adjust": "2:strength=0.5,model=gpen-512;1:strength=0.25"})
    assert given.adjust == ("1:strength=0.25", "2:model=gpen-512,strength=0.5")
    assert "is outside its range" in run(capsys, "a.png", "--adjust", "2:strength=7", code=2).err
