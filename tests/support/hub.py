"""A stand-in of the Hugging Face Hub on this machine, which the real huggingface_hub client talks to.

    with Hub() as hub:
        hub.add("owner/repo", "model.pth", content)
        # HF_ENDPOINT=hub.url, in this process or for one that is started with hub.environment()
        assert hub.downloads("model.pth") == 1

It also serves plain files below `/files/`, as mirrors do, and can misbehave as the network does: cut a connection,
change a byte, ignore HEAD or ranges, leave the length out.
"""

from __future__ import annotations

import hashlib
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from types import TracebackType
from urllib.parse import unquote, urlsplit

from restorer.bench.tools.stand_ins import Answering

_RESOLVE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")


@dataclass(frozen=True)
class Request:
    """One request that the stand-in answered: `sent` counts the bytes of the body that were sent."""

    method: str
    path: str
    range: str | None
    status: int
    sent: int


@dataclass
class Hub:
    """The stand-in; use it as a context manager.

    Attributes:
        without_head: HEAD is answered with 501 below `/files/`, as by servers that do not know it.
        without_length: bodies below `/files/` end with the connection, with no length in front.
        without_ranges: ranges are ignored; the whole file is sent.
        without_etags: no mark of the version is sent below `/files/`.
        delay: seconds before each body, so that two clients meet.
    """

    without_head: bool = False
    without_length: bool = False
    without_ranges: bool = False
    without_etags: bool = False
    delay: float = 0.0
    requests: list[Request] = field(default_factory=list)
    _files: dict[tuple[str, str, str], bytes] = field(default_factory=dict)
    _commits: dict[tuple[str, str], str] = field(default_factory=dict)
    _mirrored: dict[str, bytes] = field(default_factory=dict)
    _instead: dict[str, Callable[[bytes], bytes]] = field(default_factory=dict)
    _cuts: list[tuple[int, str]] = field(default_factory=list)
    _server: ThreadingHTTPServer | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Hub:
        hub = self

        class Handler(_Handler):
            stand_in = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    # ---------------------------------------------------------------------------------------------- what it has

    @property
    def port(self) -> int:
        """The port it listens on."""
        assert self._server is not None
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """What HF_ENDPOINT must be."""
        return f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        """Return the variables for a process that shall take this for the Hub."""
        return {"HF_ENDPOINT": self.url, "NO_PROXY": "127.0.0.1,localhost", "HF_HUB_DISABLE_TELEMETRY": "1"}

    def add(self, repo: str, file: str, data: bytes, *, revision: str = "main") -> str:
        """Put a file into a model repository; return the source text for weights.toml."""
        self._files[repo, revision, file] = data
        self._commits[repo, revision] = revision if re.fullmatch("[0-9a-f]{40}", revision) else _sha1(repo + revision)
        self._files[repo, self._commits[repo, revision], file] = data
        self._commits[repo, self._commits[repo, revision]] = self._commits[repo, revision]
        return f"hf://{repo}/{file}@{revision}"

    def add_mirror(self, file: str, data: bytes) -> str:
        """Put a plain file below /files/; return its address."""
        self._mirrored[file] = data
        return f"{self.url}/files/{file}"

    # --------------------------------------------------------------------------------------------- how it errs

    def change_byte(self, file: str, position: int = -1) -> None:
        """Serve a file with one byte changed; what is announced (size, hash) stays."""

        def changed(data: bytes) -> bytes:
            result = bytearray(data)
            result[position] ^= 0x01
            return bytes(result)

        self._instead[file] = changed

    def serve_instead(self, file: str, data: bytes) -> None:
        """Serve another content for a file; what is announced stays."""
        self._instead[file] = lambda _: data

    def serve_truly(self, file: str) -> None:
        """Serve a file as it is again."""
        self._instead.pop(file, None)

    def cut_after(self, count: int, *, file: str = "", times: int = 1) -> None:
        """Break the connection after so many bytes of a body, in the next downloads of a file (default: any)."""
        self._cuts += [(count, file)] * times

    # ------------------------------------------------------------------------------------------- what it heard

    def downloads(self, file: str = "") -> int:
        """Return how many times a body of a file was asked for."""
        return sum(request.method == "GET" and request.path.endswith(file) for request in self._of_files())

    def asked(self, file: str = "") -> int:
        """Return how many requests, of any kind, were about a file."""
        return sum(request.path.endswith(file) for request in self._of_files())

    def ranges(self, file: str = "") -> list[str | None]:
        """Return the ranges of the downloads of a file, in order."""
        return [r.range for r in self._of_files() if r.method == "GET" and r.path.endswith(file)]

    def _of_files(self) -> Iterable[Request]:
        """Return the requests about files, without the question whether anybody is there at all."""
        return [request for request in self.requests if request.path != "/"]

    # ----------------------------------------------------------------------------------------------- answering

    def content(self, file: str, data: bytes) -> bytes:
        """Return what is sent for a file."""
        return self._instead[file](data) if file in self._instead else data

    def next_cut(self, path: str) -> int | None:
        """Return after how many bytes the answer to this download breaks off; each cut is used once."""
        with self._lock:
            for index, (count, file) in enumerate(self._cuts):
                if path.endswith(file):
                    del self._cuts[index]
                    return count
        return None

    def find(self, repo: str, revision: str, file: str) -> tuple[bytes, str] | None:
        """Return the content of a repository's file and the commit it belongs to."""
        data = self._files.get((repo, revision, file))
        return None if data is None else (data, self._commits[repo, revision])

    def mirrored(self, file: str) -> bytes | None:
        """Return the content of a plain file."""
        return self._mirrored.get(file)

    def by_hash(self, sha256: str) -> tuple[str, bytes] | None:
        """Return the name and content of a stored file, as the Hub's storage finds it."""
        for (_repo, _revision, file), data in self._files.items():
            if hashlib.sha256(data).hexdigest() == sha256:
                return file, data
        return None

    def heard(self, request: Request) -> None:
        """Keep a request."""
        with self._lock:
            self.requests.append(request)


def _sha1(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class _Handler(Answering):
    """Answers as the Hub does: metadata and a redirect to storage on another host, which sends the file."""

    stand_in: Hub
    server_version = "HubStandIn"

    def answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if match := _RESOLVE.fullmatch(path):
            self._resolve(match["repo"], unquote(match["revision"]), match["file"])
        elif path.startswith("/storage/"):
            stored = self.stand_in.by_hash(path.rsplit("/", 1)[0].rsplit("/", 1)[1])
            if stored is None:
                self._status(404)
            else:
                self._body(self.stand_in.content(stored[0], stored[1]), f'"{path.split("/")[2]}"', plain=False)
        elif path.startswith("/files/"):
            self._mirror(path.removeprefix("/files/"))
        else:
            self._status(404)

    def _resolve(self, repo: str, revision: str, file: str) -> None:
        found = self.stand_in.find(repo, revision, file)
        if found is None:
            known = any(key[0] == repo for key in self.stand_in._commits)
            self._status(404, {"X-Error-Code": "EntryNotFound" if known else "RepoNotFound"})
            return
        data, commit = found
        sha256 = hashlib.sha256(data).hexdigest()
        # Another name of the same machine, so that the client sees another host, as the Hub's storage is.
        self._status(
            302,
            {
                "Location": f"http://localhost:{self.stand_in.port}/storage/{sha256}/{file.rsplit('/', 1)[-1]}",
                "X-Repo-Commit": commit,
                "X-Linked-Size": str(len(data)),
                "X-Linked-ETag": f'"{sha256}"',
                "Accept-Ranges": "bytes",
            },
        )

    def _mirror(self, file: str) -> None:
        if self.command == "HEAD" and self.stand_in.without_head:
            self._status(501)
            return
        data = self.stand_in.mirrored(file)
        if data is None:
            self._status(404)
            return
        etag = None if self.stand_in.without_etags else f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
        self._body(self.stand_in.content(file, data), etag, plain=True)

    def _body(self, data: bytes, etag: str | None, *, plain: bool) -> None:
        """Send a file or a part of it, or as much of it as the next cut allows."""
        asked = self.headers.get("Range")
        start, status = 0, 200
        condition = self.headers.get("If-Range")
        if asked and not self.stand_in.without_ranges and condition in (None, etag):
            start, status = int(asked.removeprefix("bytes=").split("-")[0]), 206
            if start >= len(data):
                self._status(416, {"Content-Range": f"bytes */{len(data)}"})
                return
        headers = {"Accept-Ranges": "bytes"}
        if etag:
            headers["ETag"] = etag
        if status == 206:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        if plain and self.stand_in.without_length:
            headers["Connection"] = "close"
            self.close_connection = True
        else:
            headers["Content-Length"] = str(len(data) - start)
        time.sleep(self.stand_in.delay)
        body = data[start:] if self.command == "GET" else b""
        cut = self.stand_in.next_cut(self.path) if body else None
        sent = body if cut is None else body[:cut]
        self.stand_in.heard(Request(self.command, self.path, asked, status, len(sent)))
        self._headers(status, headers)
        self.wfile.write(sent)
        if cut is not None:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True

    def _status(self, status: int, headers: dict[str, str] | None = None) -> None:
        self.stand_in.heard(Request(self.command, self.path, self.headers.get("Range"), status, 0))
        self._headers(status, {**(headers or {}), "Content-Length": "0"})

    def _headers(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
