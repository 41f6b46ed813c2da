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


def unreachable(addresses: Iterable[str], patience: float = PATIENCE) -> dict[str, str]:
    """Return those of some addresses (`https://host[:port]/...`) whose host does not answer, each with the reason.

    A proxy that the environment names is asked in the host's place. All are asked at once; a name that does not resolve
    in time cannot be interrupted, so its thread is left behind.
    """
    servers = {address: _server(address) for address in addresses}
    results: dict[tuple[str, str, int], str | None] = {}

    def ask(server: tuple[str, str, int]) -> None:
        results[server] = _ask(*server, patience)

    threads = [threading.Thread(target=ask, args=(server,), daemon=True) for server in set(servers.values())]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + patience
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    silent = f"{patience:.0f} s without an answer"
    reasons = {address: results.get(server, silent) for address, server in servers.items()}
    return {address: reason for address, reason in reasons.items() if reason is not None}


def _server(address: str) -> tuple[str, str, int]:
    """Return (scheme, host, port) of the server to ask; the scheme is "proxy" for a proxy."""
    parts = urlsplit(address)
    scheme, host = parts.scheme, parts.hostname or ""
    proxy = urllib.request.getproxies().get(scheme)
    if proxy and not urllib.request.proxy_bypass(host):
        behind = urlsplit(proxy if "//" in proxy else f"//{proxy}")
        return "proxy", behind.hostname or proxy, behind.port or 8080
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
