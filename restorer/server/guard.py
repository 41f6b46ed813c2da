"""Who may speak to the server: hosts, origins, tokens, and the bytes of a request.

A page of another site can make a browser send requests to this machine. It cannot hide where they come from: browsers
name the origin of all that changes anything, and a name that was made to lead here (DNS rebinding) stands in the Host
header. So both are checked on every request. Whoever else uses this machine, or the network where the server is open
to it, needs a token.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
import threading
from collections.abc import Iterable
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from restorer.errors import RestorerError
from restorer.server.refusals import ForeignRequestError, RefusalError, TokenRequiredError
from restorer.server.storeroom import too_large

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HERE = frozenset({"localhost", "127.0.0.1", "::1"})
FIELDS = 1 << 20
"""Bytes of a request beside the photo in it."""
MOST_SESSIONS = 1000
HEADERS = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
"""What every answer says: nothing from elsewhere, nothing inside other pages, no guessing of types."""


class Keys:
    """The tokens of a server.

    Args:
        token: for programs, by the header `Authorization: Bearer TOKEN`; None = a new one.
        always: whether every request needs one; otherwise browsers alone do.
    """

    def __init__(self, token: str | None = None, *, always: bool = False) -> None:
        self.token = token or secrets.token_urlsafe(24)
        self.always = always
        self._tickets: set[str] = set()
        self._sessions: dict[str, None] = {}
        self._lock = threading.Lock()

    def ticket(self) -> str:
        """Return a token that opens the page once."""
        made = secrets.token_urlsafe(18)
        with self._lock:
            self._tickets.add(made)
        return made

    def open(self, ticket: str) -> str | None:
        """Return the name of a new session for a token of `ticket`, which is used up; None for any other text."""
        with self._lock:
            found = next((each for each in self._tickets if hmac.compare_digest(each.encode(), ticket.encode())), None)
            if found is None:
                return None
            self._tickets.discard(found)
            session = secrets.token_urlsafe(18)
            self._sessions[session] = None
            while len(self._sessions) > MOST_SESSIONS:
                del self._sessions[next(iter(self._sessions))]
            return session

    def knows(self, session: str) -> bool:
        """Whether a session was begun here."""
        with self._lock:
            return session in self._sessions

    def is_token(self, text: str) -> bool:
        """Whether a text is the token for programs."""
        return hmac.compare_digest(text.encode(), self.token.encode())


class Guard:
    """Lets in what may come in, and says who it is: `scope["state"]["client"]`.

    Args:
        app: what is behind it.
        keys: the tokens.
        hosts: names beside those of this machine by which the server is called.
        open: whether the server is reached from elsewhere: then any address of a machine may be its name.
        most: bytes of a photo's file.
        cookie: the name of the cookie; one server's is not another's on the same machine.
    """

    def __init__(
        self, app: ASGIApp, keys: Keys, *, hosts: Iterable[str] = (), open: bool = False, most: int, cookie: str
    ) -> None:
        self._app, self._keys, self._most, self._cookie = app, keys, most, cookie
        self._open = open
        own = socket.gethostname().lower()
        self._hosts = HERE | {each.lower() for each in hosts} | ({own, f"{own}.local"} if open else set())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message["headers"], *own]
            await send(message)

        try:
            self._check_names(scope, headers)
            session = self._ticket(scope)
            if session is not None:
                await _enter(session, self._cookie)(scope, receive, answer)
                return
            scope.setdefault("state", {})["client"] = self._client(scope, headers)
            limited = _Limited(receive, self._most + FIELDS, headers.get("content-length"))
        except RefusalError as error:
            await _refused(error, headers)(scope, receive, answer)
            return
        await self._app(scope, limited, answer)

    def _check_names(self, scope: Scope, headers: dict[str, str]) -> None:
        """Raise `ForeignRequestError` for another host's request, or one that another site's page made."""
        host = headers.get("host", "")
        if not self._is_ours(_name_of(host)):
            raise ForeignRequestError(
                "The request was sent to a name that is not this server's.",
                "Use the address that the server printed, or start it with --allow-host NAME.",
            )
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            raise ForeignRequestError("The request comes from a page of another site.", "Use this server's own page.")
        if scope["method"] not in ("GET", "HEAD") and headers.get("sec-fetch-site", "same-origin") not in (
            "same-origin",
            "none",
        ):
            raise ForeignRequestError("The request comes from a page of another site.", "Use this server's own page.")

    def _is_ours(self, name: str) -> bool:
        if name in self._hosts:
            return True
        if not self._open:
            return False
        try:  # a number is no name that somebody else could let lead here
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _ticket(self, scope: Scope) -> str | None:
        """Return a new session where the address has a token that opens one."""
        if scope["path"] != "/" or scope["method"] != "GET":
            return None
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        return self._keys.open(given) if given else None

    def _client(self, scope: Scope, headers: dict[str, str]) -> str:
        """Return who asks: a browser by its session, a program by its address; raises `TokenRequiredError`."""
        cookies: SimpleCookie = SimpleCookie(headers.get("cookie", ""))
        session = cookies[self._cookie].value if self._cookie in cookies else ""
        if session and self._keys.knows(session):
            return session
        kind, _, token = headers.get("authorization", "").partition(" ")
        peer = scope.get("client")
        address = peer[0] if peer else "local"
        if kind.lower() == "bearer" and self._keys.is_token(token.strip()):
            return address
        if self._keys.always or kind or "origin" in headers or "sec-fetch-mode" in headers:
            raise TokenRequiredError(
                "This needs a token.",
                "Open the address that the server printed last, or send its token as 'Authorization: Bearer TOKEN'.",
            )
        return address


class _Limited:
    """Receives a request's bytes up to a bound."""

    def __init__(self, receive: Receive, most: int, length: str | None) -> None:
        self._receive, self._most, self._count = receive, most, 0
        if length is not None and (not length.isdecimal() or int(length) > most):
            raise too_large(most)

    async def __call__(self) -> Message:
        message = await self._receive()
        self._count += len(message.get("body", b""))
        if self._count > self._most:
            raise too_large(self._most)
        return message


def _name_of(host: str) -> str:
    """Return the name out of a Host header, without its port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _enter(session: str, cookie: str) -> ASGIApp:
    """Return an answer that leads to the page, with the cookie that opens it from now on."""
    from starlette.responses import RedirectResponse

    answer = RedirectResponse("/", status_code=303)
    answer.set_cookie(cookie, session, httponly=True, samesite="strict", path="/")
    return answer


def _refused(error: RefusalError, headers: dict[str, str]) -> ASGIApp:
    """Return a refusal: a sentence for people who came with a browser, JSON for programs."""
    from starlette.responses import HTMLResponse

    if "text/html" not in headers.get("accept", ""):
        return as_response(error)
    words = f"{error.message} {error.remedy or ''}".replace("&", "&amp;").replace("<", "&lt;")
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<title>restore</title><link rel="icon" href="data:,"><h1>restore</h1><p>{words}</p></html>'
    )
    return HTMLResponse(page, status_code=error.status)


def as_response(error: RestorerError) -> Response:
    """Return an error as an answer: JSON with kind, message and remedy, and when to ask again."""
    from starlette.responses import JSONResponse

    from restorer.server.jobs import as_json
    from restorer.server.refusals import status_of

    seconds = getattr(error, "seconds", None)
    headers = {} if seconds is None else {"Retry-After": str(seconds)}
    if status_of(error) == 413:
        headers["Connection"] = "close"  # the rest of the request is not waited for
    return JSONResponse({"error": as_json(error)}, status_of(error), headers)
