"""A server that answers as none should: it stands for the Hub, and for a mirror below `/files/`."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

from restorer.bench.tools.stand_ins import Answering, Forked

CONTENT = bytes(range(256)) * 4000
"""What the file is that is asked for: 1 MB."""
COMMIT = "a" * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class _Handler(Answering):
    """Answers by the first part of the path, which names how; the rest of it is as the Hub, or a mirror, has it."""

    def answer(self) -> None:
        """Answer."""
        parts = self.path.split("/", 2)
        way = WAYS.get(parts[1]) if len(parts) == 3 else None
        if way is None:
            self.plain(200, b"")  # is anybody there?
            return
        way(self)

    def plain(self, status: int, body: bytes, *headers: tuple[str, str], length: int | None = None) -> None:
        """Send an answer, of which the Hub's headers say that it is the file that was asked for."""
        self.send_response(status)
        own = {"X-Repo-Commit": COMMIT, "ETag": f'"{SHA256}"', "X-Linked-ETag": f'"{SHA256}"'}
        own |= {"X-Linked-Size": str(len(CONTENT)), "Content-Length": str(len(body) if length is None else length)}
        for name, value in {**own, **dict(headers)}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


def _status(code: int, *headers: tuple[str, str], body: bytes = b"") -> Callable[[_Handler], None]:
    return lambda handler: handler.plain(code, body, *headers)


def _drip(handler: _Handler) -> None:
    """Send a byte a second, for ever."""
    handler.plain(200, b"", length=len(CONTENT))
    if handler.is_head:
        return
    for byte in CONTENT:
        handler.wfile.write(bytes([byte]))
        handler.wfile.flush()
        time.sleep(1.0)


def _endless(handler: _Handler) -> None:
    """Send without a length, and without an end, up to 300 MB."""
    handler.plain(200, b"", ("Content-Length", ""), ("Connection", "close"))
    handler.close_connection = True
    for _ in range(0 if handler.is_head else 300):
        handler.wfile.write(CONTENT)


def _cut(handler: _Handler) -> None:
    """Break off after a tenth, each time at the same place."""
    handler.plain(200, CONTENT[: len(CONTENT) // 10], length=len(CONTENT))
    handler.hang_up()


def _silent(handler: _Handler) -> None:
    """Say nothing for a minute."""
    time.sleep(60)


def _changing(handler: _Handler) -> None:
    """Be another version at each request, and break off in the middle of each."""
    _changing.count += 1  # type: ignore[attr-defined]
    data = bytes([_changing.count % 256]) * len(CONTENT)  # type: ignore[attr-defined]
    etag = f'"{hashlib.sha256(data).hexdigest()}"'
    start = int((handler.headers.get("Range") or "bytes=0-")[6:].split("-")[0])
    span = f"bytes {start}-{len(data) - 1}/{len(data)}"
    more = (("Content-Range", span),) if start else ()
    half = data[start : start + len(data) // 2]
    handler.plain(206 if start else 200, half, ("ETag", etag), ("X-Linked-ETag", etag), *more, length=len(data) - start)
    if not handler.is_head and len(half) < len(data) - start:
        handler.hang_up()


def _no_http(handler: _Handler) -> None:
    """Answer in no language that a client knows."""
    handler.wfile.write(b"\0\1\2 what?\r\n\r\n")
    handler.hang_up()


_changing.count = 0  # type: ignore[attr-defined]
_HTML = b"<!DOCTYPE html><html><body>Please sign in</body></html>"
WAYS: dict[str, Callable[[_Handler], None]] = {
    "sound": lambda handler: handler.plain(200, CONTENT),
    **{str(code): _status(code) for code in (400, 401, 403, 404, 410, 418, 500, 502, 503, 504)},
    "429": _status(429, ("Retry-After", "3600")),
    "429-limits": _status(429, ("RateLimit", '"api";r=0;t=3600'), ("RateLimit-Policy", '"api";q=1;w=3600')),
    "401-gated": _status(401, ("X-Error-Code", "GatedRepo")),
    "html": _status(200, ("Content-Type", "text/html"), body=_HTML),
    "empty": _status(200),
    "gzip": _status(200, ("Content-Encoding", "gzip"), body=b"\x1f\x8b\x08\0 no gzip at all"),
    "other-bytes": lambda handler: handler.plain(200, CONTENT[::-1]),
    "one-bit": lambda handler: handler.plain(200, CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])),
    "longer": lambda handler: handler.plain(200, CONTENT + b"more"),
    "shorter": lambda handler: handler.plain(200, CONTENT[:-9]),
    "length-that-lies": lambda handler: handler.plain(200, CONTENT[:50], length=10**15),
    "length-of-words": lambda handler: handler.plain(200, CONTENT, ("Content-Length", "many")),
    "headers-of-words": lambda handler: handler.plain(
        200, CONTENT, ("X-Linked-Size", "-7"), ("ETag", "../../../etc/passwd"), ("X-Linked-ETag", "../../x")
    ),
    "commit-that-climbs": lambda handler: handler.plain(200, CONTENT, ("X-Repo-Commit", "../../../../climbed")),
    "redirect-without-end": lambda handler: handler.plain(302, b"", ("Location", handler.path + "x")),
    "redirect-to-a-file": _status(302, ("Location", "file:///etc/passwd")),
    "redirect-to-nothing": _status(302, ("Location", "")),
    "range-that-lies": lambda handler: handler.plain(206, CONTENT, ("Content-Range", "bytes 7-9/10")),
    "no-http": _no_http,
    "hangs-up": lambda handler: handler.hang_up(),
    "cut": _cut, "changing": _changing, "drip": _drip, "endless": _endless, "silent": _silent,
}  # fmt: skip
"""How it answers, by name."""


def bad_hub() -> Forked:
    """Return the server."""
    return Forked(_Handler)
