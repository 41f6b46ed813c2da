"""Is there a network at all? Asked once, of all hosts at the same time, so that "no" comes within seconds.

Clients that download patiently (several tries, long timeouts) are right while a line is merely slow, and leave a user
without any network waiting for minutes. So every host gets three seconds to say anything at all first.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
import urllib.request
from collections.abc import Iterable
from urllib.parse import urlsplit

PATIENCE = 3.0
"""Seconds that a host gets to say anything at all."""


_SPAN, _LEAST_RATE = 30.0, 200  # seconds, and bytes a second within them, below which a line is none


class SourceError(Exception):
    """Raised inside this package when one source cannot give the file; the next is tried.

    Attributes:
        reason: why, in words for the user.
        actual: the file's sha256 where that is the reason.
    """

    def __init__(self, reason: str, *, actual: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.actual = actual


class Slowness:
    """Sees a server that keeps a download going with a byte now and then, and would keep a run waiting for days.

    Args:
        ending: what is said behind the reason.
    """

    def __init__(self, ending: str = "") -> None:
        self._begin, self._count, self._ending = time.monotonic(), 0, ending

    def check(self, more: int = 0) -> None:
        """Hear of bytes that came; raise `SourceError` where a span of time has brought next to nothing."""
        now = time.monotonic()
        self._count += more
        if now - self._begin < _SPAN:
            return
        if self._count < _SPAN * _LEAST_RATE:
            raise SourceError(f"it sends less than {_LEAST_RATE} bytes a second{self._ending}")
        self._begin, self._count = now, 0


def unreachable(addresses: Iterable[str], patience: float = PATIENCE) -> dict[str, str]:
    """Return those of some addresses (`https://host[:port]/...`) whose host does not answer, each with the reason.

    A proxy that the environment names is asked in the host's place. All are asked at once; a name that does not resolve
    in time cannot be interrupted, so its thread is left behind.
    """
    servers: dict[str, tuple[str, str, int]] = {}
    results: dict[tuple[str, str, int], str | None] = {}
    for address in addresses:
        try:
            servers[address] = _server(address)
        except ValueError:  # which may tell a password
            servers[address] = ("proxy", address, -1)
            results[servers[address]] = "the proxy that the environment names has an address that makes no sense"

    def ask(server: tuple[str, str, int]) -> None:
        results[server] = _ask(*server, patience)

    threads = [
        threading.Thread(target=ask, args=(server,), daemon=True) for server in {*servers.values()} - results.keys()
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + patience
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    silent = f"{patience:.0f} s without an answer"
    reasons = {address: results.get(server, silent) for address, server in servers.items()}
    return {address: reason for address, reason in reasons.items() if reason is not None}


def proxies() -> dict[str, str]:
    """Return the proxies that the environment, or the system, names, by scheme; `ALL_PROXY` is for both."""
    found = urllib.request.getproxies()
    every = found.get("all")
    return {"http": every, "https": every, **found} if every else found


def _server(address: str) -> tuple[str, str, int]:
    """Return (scheme, host, port) of the server to ask; the scheme is "proxy" for a proxy.

    Raises:
        ValueError: the proxy's address makes no sense.
    """
    parts = urlsplit(address)
    scheme, host = parts.scheme, parts.hostname or ""
    proxy = proxies().get(scheme)
    if proxy and not urllib.request.proxy_bypass(host):
        behind = urlsplit(proxy if "//" in proxy else f"//{proxy}")
        if not behind.hostname:
            raise ValueError("no host")
        return "proxy", behind.hostname, behind.port or 8080
    return scheme, host, parts.port or (443 if scheme == "https" else 80)


def _ask(scheme: str, host: str, port: int, patience: float) -> str | None:
    """Return why a server says nothing; None as soon as it says anything, even that it does not know HEAD."""
    try:
        with contextlib.ExitStack() as stack:
            connection = stack.enter_context(socket.create_connection((host, port), timeout=patience))
            if scheme == "proxy":
                return None
            if scheme == "https":
                context = ssl.create_default_context()
                connection = stack.enter_context(context.wrap_socket(connection, server_hostname=host))
            connection.sendall(f"HEAD / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            connection.recv(1)  # nothing at all is an answer too: it hung up, as some do on HEAD
    except ssl.SSLError:
        return None  # it answers; whether its certificate is good is for the client that downloads to judge
    except socket.gaierror:
        return "its name cannot be resolved"
    except TimeoutError:
        return f"{patience:.0f} s without an answer"
    except ConnectionResetError:
        return None
    except OSError as error:
        return error.strerror or str(error)
    return None
