"""Tries beside what a photo is shown as, faces that are blended anew together, and what a page is told it may offer."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from restorer.options import Options
from restorer.pipeline.components import Components
from restorer.server import choices
from restorer.server.service import KEPT_JOBS, result_of
from tests.server.conftest import Start, picture
from tests.server.test_service import FACES, done, send
from tests.support.in_process import restore
from tests.support.parts import Colour, Detector, Everything, face_at


@pytest.fixture
def neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two faces so near to each other that what is pasted of one reaches into the other."""
    found = Detector([face_at((40, 50), 16), face_at((64, 50), 16)])
    for name, part in (("detector", found), ("face_model", Colour())):
        monkeypatch.setattr(Components, name, lambda _self, part=part: part)
    monkeypatch.setattr(Components, "mask", lambda _self: (Everything(), None))


def test_all_faces_are_blended_anew_with_one_strength(start: Start, neighbours: None) -> None:
    service = start(FACES)
    upload = send(service, picture((160, 100)))
    with service.attended("me"):
        wanted = np.asarray(Image.open(result_of(done(service, upload, strength=0.5))))
        shown = done(service, upload)
        differ = []
        for face in (1, 2):
            (x0, y0, x1, y1), file = service.blended(shown, face, 0.5, [1, 2])
            assert np.array_equal(np.asarray(Image.open(io.BytesIO(file))), wanted[y0:y1, x0:x1])
            alone = np.asarray(Image.open(io.BytesIO(service.blended(shown, face, 0.5)[1])))
            differ.append(not np.array_equal(alone, wanted[y0:y1, x0:x1]))
        assert all(differ), "they reach into each other, or this says nothing"


def test_a_try_leaves_what_is_shown_as_it_is(start: Start, two_faces: Colour) -> None:
    service = start(FACES)
    upload = send(service, picture((160, 100)))
    with service.attended("me"):
        shown = done(service, upload)
        faces = upload.faces
        for number in range(KEPT_JOBS + 3):
            attempt = service.submit(upload, {"faces": "2", "strength": number / 20}, aside=True)
            assert attempt.over.wait(60)
        assert upload.faces == faces
        assert attempt.as_dict()["aside"] is True
        assert service.blended(shown, 1, 0.5)[0] != service.blended(attempt, 2, 0.5)[0]
        assert service.job(shown.identity) is shown, "tries go before results that are shown"
        assert result_of(shown).exists()


def test_a_photo_is_listed_with_its_result_not_with_a_try(start: Start) -> None:
    from starlette.testclient import TestClient

    from restorer.server.interface import application

    service = start(FACES)
    upload = send(service, client="testclient")
    shown = done(service, upload)
    attempt = service.submit(upload, aside=True)
    assert attempt.over.wait(60)
    app = application(service)

    async def known(scope: dict, receive: object, send: object) -> None:  # type: ignore[type-arg]
        scope.setdefault("state", {})["client"] = "testclient"
        await app(scope, receive, send)  # type: ignore[arg-type]

    with TestClient(known) as client:  # type: ignore[arg-type]
        (told,) = client.get("/photos").json()["photos"]
        assert told["job"]["job"] == shown.identity
        about = client.get("/about").json()
        again = client.post(f"/photos/{upload.identity}/jobs?aside=1", json={}).json()
        assert again["aside"] is True
    assert about["at_hand"] == choices.models_at_hand()
    assert "tiny" in about["at_hand"]
    assert about["presets"] == {}


def test_presets_are_told_without_what_no_request_can_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from restorer.server.serving import Server
    from restorer.storage.folders import config_folder

    folder = config_folder() / "presets"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mine.toml").write_text("scale = 4\nreport = true\n")
    (folder / "wrong.toml").write_text('scale = "many"\n')
    told: list[Server] = []
    monkeypatch.setattr(Server, "run", lambda server, _on_ready: told.append(server))
    said = restore(capsys, "serve", "--port", "0", "--offline").err
    (server,) = told
    presets = {name: choices.offered_of(values) for name, values in (server._presets or {}).items()}
    assert presets["mine"] == {"scale": 4.0}
    assert presets["old-photo"] == {"repair": "auto", "tone": "auto", "grain": True}
    assert "save_mask" not in presets["archive"]
    assert "wrong" not in presets
    assert "The preset wrong is left out" in said
    for values in presets.values():
        assert choices.read(Options(offline=True), values)
