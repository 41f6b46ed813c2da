"""Proxies between the tool and its weights: sound ones, with and without passwords, and all that goes wrong with them.

What is asked for lies on a host that has no address, so that nothing gets to it but by the proxy.
"""

from __future__ import annotations

import http.client
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from urllib.parse import quote, urlsplit

from restorer.bench.survive.asking import HUB, Case
from restorer.bench.tools.stand_ins import Answering, Forked

SECRET = "s3cret-w/rd"
_HOST, _NOBODY = "weights.invalid", "127.0.0.1:1"
_ALLOWED = "Basic " + b64encode(f"anna:{SECRET}".encode()).decode()
_HTML = b"<!DOCTYPE html><html><body>Please sign in</body></html>"


class _Proxy(Answering):
    """Answers by its user's name, which tells how: proxies have no path of their own."""

    hub = 0

    def answer(self) -> None:
        """Answer."""
        way = WAYS.get(urlsplit(self.path).path.split("/")[1] if "://" in self.path else self.path.split(".")[0])
        if not self.path.startswith(("http://", "/")) and self.command != "CONNECT":
            self.plain(400, b"")
        elif way is None:
            self.forward()
        else:
            way(self)

    def plain(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        """Send an answer of the proxy's own."""
        self.send_response(status)
        for name, value in (("Content-Length", str(len(body))), *headers):
            self.send_header(name, value)
        self.end_headers()
        if not self.is_head:
            self.wfile.write(body)

    def forward(self) -> None:
        """Ask the Hub, and hand on what it says."""
        if self.command == "CONNECT":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"\x15\x03\x01\x00\x02\x02\x50")  # TLS: something is wrong
            self.hang_up()
            return
        parts = urlsplit(self.path)
        connection = http.client.HTTPConnection("127.0.0.1", self.hub, timeout=20)
        path = "/sound/" + parts.path.split("/", 2)[2] if parts.path.count("/") > 1 else "/"
        connection.request(self.command, path)
        answer = connection.getresponse()
        body = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("server", "date"):
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        connection.close()


def _by_password(proxy: _Proxy) -> None:
    if proxy.headers.get("Proxy-Authorization") == _ALLOWED:
        proxy.forward()
    else:
        proxy.plain(407, _HTML, ("Proxy-Authenticate", 'Basic realm="office"'))


def _status(code: int, *headers: tuple[str, str], body: bytes = _HTML) -> Callable[[_Proxy], None]:
    return lambda proxy: proxy.plain(code, body, *headers)


def _no_http(proxy: _Proxy) -> None:
    proxy.wfile.write(b"\0\1\2 what?\r\n\r\n")
    proxy.hang_up()


def _headers_without_end(proxy: _Proxy) -> None:
    proxy.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(100_000):
        proxy.wfile.write(b"X-%d: y\r\n" % number)
    proxy.hang_up()


WAYS: dict[str, Callable[[_Proxy], None]] = {
    "password": _by_password,
    **{str(code): _status(code) for code in (400, 403, 404, 407, 500, 502, 503, 504)},
    "407-ntlm": _status(407, ("Proxy-Authenticate", "NTLM")),
    "html": _status(200, ("Content-Type", "text/html")),
    "sign-in": _status(302, ("Location", "http://login.invalid/")),
    "in-a-circle": lambda proxy: proxy.plain(302, b"", ("Location", proxy.path)),
    "hangs-up": lambda proxy: proxy.hang_up(),
    "no-http": _no_http,
    "headers-without-end": _headers_without_end,
    "silent": lambda _: time.sleep(60),
}
"""How it answers what is asked for below `/NAME/`, or of a host that begins with `NAME.`, by name."""


def proxy(hub: int) -> Forked:
    """Return a proxy before the Hub of a port."""
    return Forked(type("_ProxyOf", (_Proxy,), {"hub": hub}))


def cases(port: int) -> Iterator[Case]:
    """Yield the cases, for a proxy on a port of this machine."""
    sound = f"http://127.0.0.1:{port}"
    user = f"http://anna:{quote(SECRET, safe='')}@127.0.0.1:{port}"
    for way in WAYS:
        if way != "password":
            yield from _of_both(f"that answers: {way}", way, {"http_proxy": sound}, "refused")
            yield from _over_tls(f"that answers TLS: {way}", way, {"https_proxy": sound})
    yield from _over_tls("that speaks no TLS behind it", "sound", {"https_proxy": sound})
    for name in ("http_proxy", "HTTP_PROXY"):
        yield from _of_both(f"by {name}", "sound", {name: sound}, "fetched")
    yield from _of_both("by ALL_PROXY", "sound", {"ALL_PROXY": sound}, "fetched")
    yield from _of_both("by all_proxy", "sound", {"all_proxy": sound}, "fetched")
    yield from _of_both("that a password opens", "password", {"http_proxy": user}, "fetched")
    yield from _of_both("without its password", "password", {"http_proxy": sound}, "refused")
    wrong = user.replace("anna", "emil")
    yield from _of_both("with a wrong name", "password", {"http_proxy": wrong}, "refused")
    yield from _of_both("without a scheme", "sound", {"http_proxy": sound.removeprefix("http://")}, "fetched")
    for words in _NO_PROXIES:
        yield from _of_both(f"at {words}", "sound", {"http_proxy": words.replace("PORT", str(port))}, "refused")
    secret = quote(SECRET, safe="")
    for words in (f"http://anna:{secret}@127.0.0.1:1", f"http://anna:{secret}@nowhere.invalid:8080",
                  f"http://anna:{secret}@127.0.0.1:99999", f"socks5://anna:{secret}@127.0.0.1:{port}"):  # fmt: skip
        name = words.replace(secret, "...").replace(str(port), "PORT")
        yield from _of_both(f"at {name}", "sound", {"http_proxy": words}, "refused")
    for words in ("*", f"{_HOST},127.0.0.1", f".invalid,{_NOBODY}"):
        name = f"left out by no_proxy={words}"
        yield from _of_both(name, "sound", {"http_proxy": sound, "no_proxy": words}, "refused")
    for words in ("", ",,, ,", "[::1", "other.invalid:80", "10.0.0.0/8", "é", "*.invalid", "http://x/y"):
        name = f"with no_proxy={words!r}"
        yield from _of_both(name, "sound", {"http_proxy": sound, "no_proxy": words}, "")


_NO_PROXIES = (
    "http://127.0.0.1:1", "http://nowhere.invalid:8080", "http://127.0.0.1:99999", "http://127.0.0.1:-1",
    "http://127.0.0.1:word", "http://[::1", "http://", "://", "/", "nonsense", "http:///", "socks4://127.0.0.1:PORT",
    "socks5://127.0.0.1:PORT", "socks5h://127.0.0.1:PORT", "https://127.0.0.1:PORT", "ftp://127.0.0.1:PORT",
    "file:///etc/passwd", "http://user@:pass@:@/", "é://ü", " ", "http://127.0.0.1 PORT",
)  # fmt: skip
"""What stands in the variable and is no proxy."""


def _of_both(name: str, way: str, environment: dict[str, str], wanted: str) -> Iterator[Case]:
    variables = {"HF_ENDPOINT": f"http://{_HOST}/{way}", **environment}
    for kind, source in (("Hub", HUB), ("mirror", f"http://{_NOBODY}/{way}/files/thing.pth")):
        yield Case(
            f"a proxy before the {kind}", f"{kind} behind a proxy {name}", source, variables, None, wanted, _TOLD
        )


def _over_tls(name: str, way: str, environment: dict[str, str]) -> Iterator[Case]:
    address = f"https://{way}.{_HOST}"
    variables = {"HF_ENDPOINT": address, **environment}
    for kind, source in (("Hub", HUB), ("mirror", f"{address}/files/thing.pth")):
        yield Case(
            f"a proxy before the {kind}", f"{kind} behind a proxy {name}", source, variables, None, "refused", _TOLD
        )


_TOLD = (SECRET, quote(SECRET, safe=""))
