"""`restore serve` under as many requests as there is time for: good photos, changed ones, and what is no request.

Each answer is a picture, or an error in words with a status of its own; memory, files and threads stay what they are.
"""

from __future__ import annotations

import http.client
import json
import signal
import socket
import time
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from restorer.bench.survive import records, running
from restorer.bench.survive.counting import Tally
from restorer.bench.survive.mutating import mutated
from restorer.bench.survive.running import Run
from restorer.bench.survive.samples import SUFFIXES, kinds, saved, scanner_profile, scene
from restorer.bench.survive.soak import growth, look
from restorer.errors import PhotoError
from restorer.photo import read_photo

if TYPE_CHECKING:
    from restorer.bench.survive.campaign import Plan

SCANNERS = 6
"""Profiles of scanners among the first photos: what the server keeps of profiles, four at most, it has from then on."""
PACE = 10.0
"""Requests a second at most: 36,000 in an hour, as many as a day has of one every 2.4 seconds."""
STATUSES = frozenset({200, 202, 204, 303, 307, 400, 401, 403, 404, 405, 406, 409, 411, 413, 415, 422, 429, 503})
"""That the interface may answer with."""
_JUNK = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"POST /restore HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
    b"POST /restore HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
    b"\0" * 5000,
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 5000 + b"\r\n",
)
_PATHS = (
    "/", "/docs", "/openapi.json", "/../../../../etc/passwd", "/static/..%2f..%2f..%2fetc/passwd", "/jobs/nobody",
    "/jobs/..%2f..", "/photos/%00", "/jobs/" + "9" * 3000, "/photos/x/mask", "/jobs/<script>alert(1)",
)  # fmt: skip


class Client:
    """Asks a server.

    Args:
        port: of the server, on this machine.
        seed: decides what is asked.
    """

    def __init__(self, port: int, seed: int) -> None:
        self._port, self._seed = port, seed
        self._rng = np.random.default_rng(seed)
        self._kinds = kinds()

    def ask(self, number: int) -> tuple[str, str, str]:
        """Ask once; return the kind of the request, how it ended, and what was wrong ("" for nothing)."""
        ways: tuple[tuple[str, Callable[[int], tuple[str, str]]], ...] = (
            ("a photo", self._good), ("a photo", self._good), ("a changed photo", self._changed),
            ("a wrong form", self._wrong), ("an address", self._address), ("no request", self._junk),
            ("a photo in steps", self._steps), ("a client that hangs up", self._hangs_up),
        )  # fmt: skip
        kind, way = ways[number % len(ways)]
        try:
            outcome, words = way(number)
        except (OSError, http.client.HTTPException) as error:
            return kind, "LOST", f"{type(error).__name__}: {error}"
        return kind, outcome, words

    def _send(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def _form(self, photo: bytes, name: str, **fields: str) -> tuple[bytes, dict[str, str]]:
        border = uuid.UUID(int=int(self._rng.integers(2**62))).hex
        parts = [f'--{border}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
                 for key, value in fields.items()]  # fmt: skip
        head = f'--{border}\r\nContent-Disposition: form-data; name="photo"; filename="{name}"\r\n\r\n'.encode()
        body = b"".join((*parts, head, photo, f"\r\n--{border}--\r\n".encode()))
        return body, {"Content-Type": f"multipart/form-data; boundary={border}"}

    def _good(self, number: int) -> tuple[str, str]:
        from PIL import Image

        pixels = np.roll(scene(24, 32), number, axis=1)
        extra = {"icc_profile": scanner_profile(number // 8)} if number % 8 == 0 and number < 8 * SCANNERS else {}
        body, headers = self._form(saved(Image.fromarray(pixels), "PNG", **extra), f"{number}.png", scale="2")
        status, answer = self._send("POST", "/restore", body, headers)
        if status != 200:
            return "LOST", f"{status}: {answer[:300]!r}"
        return ("restored", "") if read_photo(answer).size == (64, 48) else ("LOST", "another picture")

    def _changed(self, number: int) -> tuple[str, str]:
        kind = self._kinds[number // 8 % len(self._kinds)]
        body, headers = self._form(mutated(kind, self._seed, 2_000_000_000 + number), f"a{SUFFIXES[kind]}")
        status, answer = self._send("POST", "/restore", body, headers)
        if status == 200:
            try:
                read_photo(answer)
            except PhotoError as error:
                return "LOST", f"a result that cannot be read: {error}"
            return "restored", ""
        return self._refused(status, answer)

    def _refused(self, status: int, answer: bytes) -> tuple[str, str]:
        if status not in STATUSES:
            return "LOST", f"status {status}: {answer[:300]!r}"
        told = json.loads(answer) if answer[:1] == b"{" else {}
        told = told.get("error", told)
        if status >= 400 and not (told.get("kind") and told.get("message")):
            return "LOST", f"status {status} without words: {answer[:300]!r}"
        return f"status {status}", ""

    def _wrong(self, number: int) -> tuple[str, str]:
        fields = ({"scale": "-3"}, {"model": "../../x"}, {"nothing": "x"}, {"hole": "/etc/passwd"}, {"faces": "["},
                  {"scale": "9" * 400}, {"device": "cuda:99"})[number // 8 % 7]  # fmt: skip
        body, headers = self._form(b"" if number % 3 == 0 else b"no photo", "../../../x.png", **fields)
        return self._refused(*self._send("POST", "/restore", body if number % 5 else body[:-9], headers))

    def _address(self, number: int) -> tuple[str, str]:
        path = _PATHS[number // 8 % len(_PATHS)]
        method = ("GET", "DELETE", "PUT", "POST", "OPTIONS")[number // 8 % 5]
        status, answer = self._send(method, path)
        if b"root:" in answer:
            return "LOST", f"{path} gave a file of the machine"
        return (f"status {status}", "") if status in STATUSES else ("LOST", f"{method} {path}: status {status}")

    def _junk(self, number: int) -> tuple[str, str]:
        with socket.create_connection(("127.0.0.1", self._port), timeout=20) as connection:
            connection.settimeout(5)
            try:
                connection.sendall(_JUNK[number // 8 % len(_JUNK)])
                connection.shutdown(socket.SHUT_WR)
                connection.recv(1000)
            except OSError:
                return "no answer", ""
        return "answered", ""

    def _steps(self, number: int) -> tuple[str, str]:
        from PIL import Image

        body, headers = self._form(saved(Image.fromarray(scene(24, 32)), "JPEG"), f"{number}.jpg")
        status, answer = self._send("POST", "/photos", body, headers)
        if status != 202:
            return "LOST", f"{status}: {answer[:300]!r}"
        status, answer = self._send("DELETE", json.loads(answer)["links"]["photo"])
        return ("given up", "") if status in (200, 204) else self._refused(status, answer)

    def _hangs_up(self, number: int) -> tuple[str, str]:
        body, headers = self._form(b"\x89PNG" * 9000, f"{number}.png")
        head = f"POST /restore HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nContent-Type: {headers['Content-Type']}\r\n"
        with socket.create_connection(("127.0.0.1", self._port), timeout=20) as connection:
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[: number % len(body)])
        return "gone", ""


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def attempt(plan: Plan) -> Tally:
    """Ask until the time is up, then end the server by a signal."""
    running.prepare()
    tally, port, begin = Tally("serving"), _free_port(), time.monotonic()
    (work := plan.folder / "work").mkdir()
    run = Run(work, ("serve", "--port", str(port), "--offline", "--model", "tiny", "--background", "lanczos"))
    client, number, seen = Client(port, plan.seed), 0, []
    while not run.is_over():
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            time.sleep(0.1)
    begun = time.monotonic()
    while time.monotonic() - begin < plan.seconds and not run.is_over():
        start = time.monotonic()
        kind, outcome, words = client.ask(number)
        if words:
            tally.lose(kind, f"serve-{plan.seed}-{number}", words)
        else:
            tally.add(kind, outcome, seconds=time.monotonic() - start)
        number += 1
        time.sleep(max(begun + number / PACE - time.monotonic(), 0.0))
        if number % 20 == 0 and not run.is_over():
            seen.append((number, *look(run.process)))
    problems = growth(seen)
    if run.is_over():
        problems.append("the server ended by itself")
    run.kill(signal.SIGTERM)
    ran = run.wait(60.0)
    problems += [problem for problem in records.said(ran) if "control" not in problem]
    for problem in problems:
        tally.lose("the server", f"serve-{plan.seed}", problem)
    if seen:
        tally.mib = seen[-1][1], "at the end"
    return tally
