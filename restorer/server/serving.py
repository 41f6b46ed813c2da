"""The server as it runs: its socket, its addresses, and its end."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restorer.errors import MissingPackageError, UsageError
from restorer.formatting import install_line
from restorer.options import Options
from restorer.server.guard import HERE, Guard, Keys
from restorer.server.limits import Limits

if TYPE_CHECKING:
    import uvicorn

WHOLE = frozenset({"0.0.0.0", "::"})
"""Names of all addresses that a machine has."""
_NEEDED = ("starlette", "uvicorn", "python_multipart")
_BACKLOG = 128


@dataclass(frozen=True)
class Place:
    """Where a server is reached.

    Attributes:
        host: the name or number that it listens at.
        port: 0 = any that is free.
        hosts: other names by which it is called, such as that of a proxy in front of it.
        token: for programs; None = a new one.
    """

    host: str = "127.0.0.1"
    port: int = 8321
    hosts: tuple[str, ...] = ()
    token: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether other machines reach it."""
        return self.host not in HERE


def check_packages() -> None:
    """Raise `MissingPackageError` where what serves is not installed."""
    from importlib.util import find_spec

    lacking = [name for name in _NEEDED if find_spec(name) is None]
    if lacking:
        raise MissingPackageError(
            lacking[0],
            f"`restore serve` needs {', '.join(lacking)}, which {'is' if len(lacking) == 1 else 'are'} not installed.",
            f"Type: {install_line(' '.join(_NEEDED).replace('_', '-'))}",
        )


class Server:
    """A server that is ready: its socket is open, its address known; `run` serves until it is stopped.

    Args:
        options: what holds where a request says nothing.
        place: where it is reached.
        out: the folder that results are saved into; None = there is none.
        presets: named sets of options that the page offers.
        limits: how much is taken on.
        say: tells the user one line.

    Raises:
        MissingPackageError: the packages of the extra are not installed.
        UsageError: nothing can listen there.
    """

    def __init__(
        self,
        options: Options,
        place: Place,
        *,
        out: Path | None = None,
        presets: Mapping[str, Mapping[str, Any]] | None = None,
        limits: Limits | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        check_packages()
        self._place, self._say = place, say
        self._socket = _bound(place)
        self.port: int = self._socket.getsockname()[1]
        self.keys = Keys(place.token, always=place.is_open)
        self._options, self._out, self._limits = options, out, limits or Limits()
        self._presets = presets
        self._running: uvicorn.Server | None = None
        self._stopped = False

    def address(self) -> str:
        """Return an address that opens the page once."""
        return f"{self.base}/?token={self.keys.ticket()}"

    @property
    def base(self) -> str:
        """The address without any token."""
        host = self._place.host
        if host in WHOLE:
            host = _address_of_this_machine()
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def run(self, on_ready: Callable[[], None] | None = None) -> None:
        """Serve until `stop` is called, or a signal asks for the end; then let go of all that came in.

        Args:
            on_ready: told once requests are answered.
        """
        import uvicorn

        from restorer.server.interface import application
        from restorer.server.service import Service

        service = Service(self._options, out=self._out, presets=self._presets, limits=self._limits, say=self._say)
        try:
            app = Guard(
                application(service),
                self.keys,
                hosts=self._place.hosts,
                open=self._place.is_open,
                most=self._limits.upload,
                cookie=f"restore_{self.port}",
            )
            config = uvicorn.Config(
                app,
                log_config=None,
                lifespan="off",
                server_header=False,
                access_log=False,
                timeout_graceful_shutdown=max(1, round(self._limits.grace)),
                timeout_keep_alive=30,
                backlog=_BACKLOG,
                h11_max_incomplete_event_size=64 * 1024,
                proxy_headers=False,
            )
            server = uvicorn.Server(config)
            self._running = server
            service.warm()
            if on_ready is not None:
                on_ready()  # the socket listens already: whoever comes now waits a moment
            if not self._stopped:
                server.run(sockets=[self._socket])
        finally:
            service.close()
            self._socket.close()

    def stop(self) -> None:
        """End it, from another thread."""
        self._stopped = True
        if self._running is not None:
            self._running.should_exit = True


def _bound(place: Place) -> socket.socket:
    """Return a socket that listens; raises `UsageError` where none can."""
    try:
        family, kind, protocol, _name, where = socket.getaddrinfo(
            place.host, place.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(where)
        made.listen(_BACKLOG)
    except OSError as error:
        raise UsageError(
            f"Nothing can listen at {place.host}:{place.port}: {error.strerror or error}.",
            "Choose another --port, such as 0 for any that is free, or another --host.",
        ) from error
    return made


def _address_of_this_machine() -> str:
    """Return the number by which others reach this machine, as far as it can be told without asking anybody."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent; the system only says which way it would go
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()


def names(given: Iterable[str]) -> tuple[str, ...]:
    """Return names of hosts as they stand in requests, out of what was typed: with or without a port."""
    return tuple(each.strip().lower().rsplit(":", 1)[0] if each.count(":") == 1 else each.strip() for each in given)
