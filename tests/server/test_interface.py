"""The HTTP interface over a real socket: what is answered, what is refused, and that hostile requests are harmless."""

from __future__ import annotations

import http.client
import io
import json
import re
import socket
import threading
import uuid
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from restorer.options import Options
from restorer.server.limits import Limits
from restorer.upscaling.lanczos import Lanczos
from tests.server.conftest import BROKEN, PLAIN, picture

pytest.importorskip("starlette", reason="the extra [serve] is not installed")
pytest.importorskip("uvicorn", reason="the extra [serve] is not installed")

from restorer.server.serving import Place, Server


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    """Sends requests to a server, as a browser or as a program."""

    port: int
    headers: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            sent = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
            connection.request(method, path, body, sent)
            got = connection.getresponse()
            return Answer(got.status, {name.lower(): value for name, value in got.getheaders()}, got.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, None, **headers)

    def send(self, path: str, data: bytes, name: str = "a.png", **given: object) -> Answer:
        body, kind = form(data, name, **given)
        return self.ask("POST", path, body, content_type=kind)

    def over(self, job: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the events of a job until it is over."""
        told = self.get(f"/jobs/{job['job']}/events").body.decode()
        return [json.loads(line[6:]) for line in told.splitlines() if line.startswith("data: ")]


def form(data: bytes, name: str, **given: object) -> tuple[bytes, str]:
    """Return a form with a photo and some fields, and its type."""
    mark = uuid.uuid4().hex
    parts = [
        f'--{mark}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, value in given.items()
    ]
    quoted = name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    head = f'--{mark}\r\nContent-Disposition: form-data; name="photo"; filename="{quoted}"\r\n\r\n'
    parts += [head.encode("utf-8", "surrogateescape"), data, f"\r\n--{mark}--\r\n".encode()]
    return b"".join(parts), f"multipart/form-data; boundary={mark}"


def emptied(client: Client) -> bool:
    """Tell whether a client's photos go; what is removed after an answer takes a moment."""
    pause = threading.Event()
    for _ in range(300):
        if client.get("/photos").json == {"photos": []}:
            return True
        pause.wait(0.1)
    return False


class Running:
    """Servers in threads of this process."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._ends = folder, list[Any]()

    def start(self, place: Place | None = None, options: Options = PLAIN, **more: Any) -> tuple[Server, Client]:
        server = Server(options, place or Place(port=0), say=lambda _line: None, **more)
        ready = threading.Event()
        thread = threading.Thread(target=server.run, args=(ready.set,))
        thread.start()
        assert ready.wait(60)
        self._ends.append((server, thread))
        return server, Client(server.port)

    def stop(self) -> None:
        for server, thread in self._ends:
            server.stop()
            thread.join(60)
            assert not thread.is_alive()


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = Running(tmp_path)
    yield made
    made.stop()
    assert not list(tmp_path.glob("restore-serve-*")), "uploads are left"


def opened(server: Server, client: Client) -> Client:
    """Return a browser that has opened the page."""
    answer = client.get("/?token=" + server.address().split("=")[1], sec_fetch_mode="navigate")
    assert answer.status == 303
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    return Client(client.port, {"Cookie": cookie.split(";")[0], "Sec-Fetch-Mode": "cors"})


def test_a_photo_goes_in_and_its_result_comes_out(running: Running, tmp_path: Path) -> None:
    _, client = running.start(out=tmp_path / "out")
    answer = client.send("/photos", picture(), "old photo.png", scale=3)
    assert answer.status == 202
    job = answer.json
    assert answer.headers["location"] == f"/jobs/{job['job']}" == job["links"]["self"]
    events = client.over(job)
    assert events[-1]["state"] == "done"
    assert events[-1]["done"] == 1
    assert {event["job"] for event in events} == {job["job"]}
    result = client.get(job["links"]["result"])
    assert result.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(result.body)).size == (288, 192)
    saved = client.get(job["links"]["result"] + "?download").headers["content-disposition"]
    assert saved.startswith("attachment")
    assert "old%20photo_restored.png" in saved
    record = client.get(job["links"]["record"]).json
    assert (record["status"], record["scale"], record["input"]) == ("ok", 3.0, "old photo.png")
    assert client.get(job["links"]["faces"]).json == []
    again = client.ask(
        "POST",
        f"/photos/{job['photo']}/jobs?instead=1",
        b'{"scale": 2, "format": "tiff"}',
        content_type="application/json",
    ).json
    assert client.over(again)[-1]["state"] == "done"
    assert client.get(again["links"]["result"]).headers["content-type"] == "image/tiff"
    shown = client.get(f"/jobs/{again['job']}/shown")
    assert Image.open(io.BytesIO(shown.body)).format == "PNG"
    assert Image.open(io.BytesIO(client.get(f"/photos/{job['photo']}/file").body)).size == (96, 64)
    listed = client.get("/photos").json["photos"]
    assert [each["job"]["job"] for each in listed] == [again["job"]]
    archive = zipfile.ZipFile(io.BytesIO(client.get(f"/zip?job={job['job']}&job={again['job']}&job={job['job']}").body))
    assert archive.namelist() == ["old photo_restored.png", "old photo_restored.tif", "old photo_restored_2.png"]
    assert archive.read("old photo_restored.png") == result.body
    assert client.ask("POST", f"/jobs/{job['job']}/save").json["saved"] == "old photo_restored.png"
    assert (tmp_path / "out" / "old photo_restored.png").read_bytes() == result.body
    assert client.ask("DELETE", f"/photos/{job['photo']}").status == 204
    assert client.get(job["links"]["result"]).status == 404


def test_all_in_one_call_leaves_nothing_behind(running: Running) -> None:
    _, client = running.start()
    answer = client.send("/restore", picture(format="JPEG"), "a.jpg", scale="1,5")
    assert answer.status == 200
    assert answer.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(answer.body)).size == (144, 96)
    assert emptied(client)
    broken = client.send("/restore", BROKEN)
    assert broken.status == 422
    assert broken.json["error"]["remedy"]
    assert emptied(client)


@pytest.mark.parametrize(
    ("path", "given", "status", "kind"),
    [
        ("/restore", {"scale": "many"}, 422, "Usage"),
        ("/restore", {"scael": 2}, 422, "UnknownOption"),
        ("/restore", {"model": "/etc/passwd"}, 422, "Usage"),
        ("/restore", {"hole": "/etc/passwd"}, 422, "UnknownOption"),
        ("/restore", {"scale": 100_000}, 413, "TooLarge"),
        ("/photos", {"model": "none", "min_likeness": 1}, 422, "Usage"),
    ],
)
def test_errors_are_json_with_what_to_do(
    running: Running, path: str, given: dict[str, Any], status: int, kind: str
) -> None:
    _, client = running.start()
    answer = client.send(path, picture(), **given)
    assert answer.status == status
    error = answer.json["error"]
    assert error["kind"] == kind
    assert error["message"]
    assert error["remedy"]
    assert client.get("/photos").json == {"photos": []}


def test_what_is_not_understood_is_said(running: Running) -> None:
    _, client = running.start()
    for answer, status in [
        (client.get("/nothing/here"), 404),
        (client.get("/photos/x"), 404),
        (client.get("/jobs/../../etc/passwd"), 404),
        (client.get("/static/../service.py"), 404),
        (client.get("/static/%2e%2e/service.py"), 404),
        (client.ask("PUT", "/photos"), 405),
        (client.ask("POST", "/restore", b"{}", content_type="application/json"), 400),
        (client.send("/restore", b"", "photo.jpg"), 422),
        (client.ask("POST", "/restore", b"no form", content_type="multipart/form-data; boundary=x"), 400),
        (client.get("/zip"), 400),
    ]:
        assert answer.status == status, answer
        assert answer.json["error"]["message"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:80"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_requests_from_other_sites_are_refused(running: Running, headers: dict[str, str]) -> None:
    server, client = running.start()
    browser = opened(server, client)
    answer = Client(browser.port, {**browser.headers, **headers}).send("/restore", picture())
    assert answer.status == 403
    assert answer.json["error"]["kind"] == "ForeignRequest"
    assert client.get("/photos").json == {"photos": []}


def test_an_address_opens_the_page_once(running: Running) -> None:
    server, client = running.start()
    address = server.address()
    assert address.startswith(f"http://127.0.0.1:{server.port}/?token=")
    path = address[address.index("/?") :]
    navigation = {"sec_fetch_mode": "navigate", "accept": "text/html"}
    shut = client.get("/", **navigation)
    assert shut.status == 401
    assert "token" in shut.body.decode()
    entered = client.get(path, **navigation)
    assert (entered.status, entered.headers["location"]) == (303, "/")
    assert client.get(path, **navigation).status == 401
    browser = opened(server, client)
    page = browser.get("/", **navigation)
    assert page.status == 200
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    wrong = {**browser.headers, "Cookie": browser.headers["Cookie"] + "x"}
    assert Client(client.port, wrong).get("/about").status == 401


def test_nothing_is_fetched_from_elsewhere(running: Running) -> None:
    _, client = running.start()
    folder = Path(__file__).parents[2] / "restorer" / "server" / "static"
    files = [path for path in folder.rglob("*") if path.suffix in (".html", ".css", ".js", ".json")]
    assert len(files) > 10
    for path in files:
        text = client.get("/static/" + path.relative_to(folder).as_posix()).body.decode()
        assert text == path.read_text("utf-8")
        assert not re.search(r"https?://|//[\w.]+\.\w+/|@import|<style|<script>|\son\w+=", text), path


def test_beyond_this_machine_every_request_needs_the_token(running: Running) -> None:
    server, client = running.start(Place("0.0.0.0", 0, token="a token of ours"))
    assert not server.address().startswith("http://0.0.0.0")
    assert client.get("/about").status == 401
    assert client.send("/restore", picture()).status == 401
    assert client.get("/about", authorization="Bearer another").status == 401
    assert client.get("/about", authorization="Bearer a token of ours").status == 200
    assert client.get("/about", authorization="Bearer a token of ours", host="192.0.2.7:80").status == 200
    assert client.get("/about", authorization="Bearer a token of ours", host="evil.example").status == 403
    assert opened(server, client).get("/about").status == 200


def test_a_proxy_may_have_another_name(running: Running) -> None:
    _, client = running.start(Place(port=0, hosts=("photos.example",)))
    assert client.get("/about", host="photos.example").status == 200
    assert client.get("/about", host="photos.example.evil").status == 403


def test_names_of_files_are_only_ever_names(running: Running, tmp_path: Path) -> None:
    _, client = running.start(out=tmp_path / "out")
    for name in ("../../../evil.png", "/etc/evil.png", "..\\..\\evil.png", "C:\\evil.png"):
        job = client.send("/photos", picture(), name).json
        client.over(job)
        assert client.ask("POST", f"/jobs/{job['job']}/save").status == 200
    assert {path.name for path in tmp_path.rglob("*evil*")} == {"evil_restored.png"}
    script = client.send("/photos", picture(), '<script>alert(1)</script>"\r\nX: y.png').json
    assert "<" not in script["name"]
    client.over(script)
    answer = client.get(script["links"]["result"] + "?download")
    assert "x" not in answer.headers
    assert "\r" not in answer.headers["content-disposition"]


def test_a_picture_is_never_taken_for_a_page(running: Running) -> None:
    _, client = running.start()
    assert client.send("/photos", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "a.svg").status == 422
    for data, kind in [
        (b"GIF89a/*<script>alert(1)</script>*/", "image/gif"),
        (picture() + b"<script>alert(1)</script>", "image/png"),
    ]:
        job = client.send("/photos", data, "a.html").json
        answer = client.get(f"/photos/{job['photo']}/file")
        assert answer.headers["content-type"] == kind
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_file_of_a_gigabyte_is_refused_before_it_is_sent(running: Running) -> None:
    _, client = running.start(limits=Limits(upload=200_000))
    body, kind = form(picture(), "a.png")
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as raw:
        head = f"POST /restore HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {2**30}\r\n\r\n"
        raw.sendall(head.encode() + body[:1000])
        assert raw.recv(4096).startswith(b"HTTP/1.1 413")
    # and one that does not say how long it is, once it is too long
    chunk = b"8000\r\n" + bytes(0x8000) + b"\r\n"
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as raw:
        head = (
            f"POST /restore HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        start = body[: body.index(b"\r\n\r\n") + 4]
        raw.sendall(head.encode() + f"{len(start):x}\r\n".encode() + start + b"\r\n")
        with suppress(OSError):  # it hangs up, as it may
            for _ in range(100):
                raw.sendall(chunk)
        raw.settimeout(30)
        with suppress(ConnectionError):  # what it said may be lost with the connection that it closed
            assert raw.recv(4096).startswith(b"HTTP/1.1 413")
    assert client.get("/photos").json == {"photos": []}


def test_a_bomb_is_refused(running: Running) -> None:
    _, client = running.start(limits=Limits(pixels=50_000_000))
    stream = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(stream, "PNG")
    answer = client.send("/restore", stream.getvalue(), "bomb.png")
    assert answer.status == 413
    assert "megapixels" in answer.json["error"]["message"]


def test_too_much_at_once_is_told_when_to_come_again(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    opening = threading.Event()
    plain = Lanczos.upscale

    def upscale(part: Lanczos, *given: Any, **more: Any) -> np.ndarray:
        assert opening.wait(60)
        return plain(part, *given, **more)

    monkeypatch.setattr(Lanczos, "upscale", upscale)
    _, client = running.start(limits=Limits(waiting=2))
    jobs = [client.send("/photos", picture()).json for _ in range(2)]
    answer = client.send("/photos", picture())
    assert answer.status == 429
    assert int(answer.headers["retry-after"]) >= 1
    assert len(client.get("/photos").json["photos"]) == 2
    waiting = client.ask("DELETE", f"/jobs/{jobs[1]['job']}")
    assert waiting.json["state"] == "cancelled"
    opening.set()
    assert client.over(jobs[0])[-1]["state"] == "done"
    assert client.send("/photos", picture()).status == 202


def test_who_goes_away_frees_the_job(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    reached, opening = threading.Event(), threading.Event()
    plain = Lanczos.upscale

    def upscale(part: Lanczos, *given: Any, **more: Any) -> np.ndarray:
        reached.set()
        assert opening.wait(60)
        return plain(part, *given, **more)

    monkeypatch.setattr(Lanczos, "upscale", upscale)
    _, client = running.start()
    body, kind = form(picture(), "a.png")
    with socket.create_connection(("127.0.0.1", client.port)) as raw:
        head = (
            f"POST /restore HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        raw.sendall(head.encode() + body)
        assert reached.wait(60)
    assert emptied(client)
    opening.set()
    assert client.send("/restore", picture()).status == 200


def test_fifty_photos_of_eight_clients(running: Running) -> None:
    server, client = running.start()
    browsers = [opened(server, client) for _ in range(8)]

    def one(number: int) -> bytes:
        answer = browsers[number % 8].send("/restore", picture(seed=number))
        assert answer.status == 200
        return answer.body

    with ThreadPoolExecutor(50) as pool:
        results = list(pool.map(one, range(50)))
    assert len({*results}) == 50


def test_the_interface_describes_itself(running: Running) -> None:
    _, client = running.start()
    told = client.get("/openapi.json").json
    assert told["openapi"].startswith("3.1")
    from restorer.server.interface import Interface

    routes = {route.path for route in Interface(None).routes()}  # type: ignore[arg-type]
    assert set(told["paths"]) == routes
    about = client.get("/about").json
    fields = told["components"]["schemas"]["Form"]["properties"]
    assert set(fields) == {"photo", "mask", *(option["name"] for option in about["options"])}
    assert fields["strength"]["maximum"] == 1
    page = client.get("/docs").body.decode()
    assert all(path in page for path in told["paths"])


def test_every_language_has_every_text() -> None:
    folder = Path(__file__).parents[2] / "restorer" / "server" / "static" / "languages"
    texts = {path.stem: json.loads(path.read_text("utf-8")) for path in folder.glob("*.json")}
    assert set(texts) == {"de", "en", "es", "fr", "zh"}
    for language, told in texts.items():
        assert set(told) == set(texts["en"]), language
        for key, text in told.items():
            fields = set(re.findall(r"\{\w+\}", text))
            assert fields == set(re.findall(r"\{\w+\}", texts["en"][key])), (language, key)


def test_damage_is_drawn_by_http(running: Running) -> None:
    _server, client = running.start()
    body, kind = form(picture(), "a.png")
    told = client.ask("POST", "/photos", body, content_type=kind).json
    place = f"/photos/{told['photo']}/mask"
    mask = io.BytesIO()
    Image.fromarray(np.pad(np.full((8, 8), 255, np.uint8), ((20, 36), (30, 58)))).save(mask, "PNG")
    assert client.ask("GET", place).status == 404
    assert client.ask("PUT", place, mask.getvalue(), content_type="image/png").json["mask"] == "a_mask.png"
    assert client.ask("GET", place).body == mask.getvalue()
    job = client.ask("POST", f"/photos/{told['photo']}/jobs", b"{}", content_type="application/json").json
    assert "--mask a_mask.png" in job["command"]
    assert job["options"]["damage"] == "a_mask.png"
    assert client.ask("PUT", place, picture((10, 10)), content_type="image/png").status == 422
    foreign = client.ask("PUT", place, mask.getvalue(), content_type="image/png", origin="http://evil.example")
    assert foreign.status == 403
    assert client.ask("DELETE", place).status == 204
    assert client.ask("GET", place).status == 404
