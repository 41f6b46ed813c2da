"""What servers that stand for others have in common: they keep quiet, and live in a process of their own."""

from __future__ import annotations

import os
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import Pipe


class Answering(BaseHTTPRequestHandler):
    """Answers whatever is asked by `answer`, and keeps quiet."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def do_CONNECT(self) -> None:
        self.answer()

    def answer(self) -> None:
        """Answer the request."""
        raise NotImplementedError

    def hang_up(self) -> None:
        """End the connection."""
        self.wfile.flush()
        self.close_connection = True
        self.connection.close()

    @property
    def is_head(self) -> bool:
        """Whether only headers are asked for."""
        return self.command == "HEAD"


class Forked:
    """A server in a process of its own; use it as a context manager. `port` is where it listens.

    Args:
        handler: what answers.
    """

    def __init__(self, handler: type[Answering]) -> None:
        self._handler = handler

    def __enter__(self) -> Forked:
        here, there = Pipe()
        self._process = os.fork()
        if self._process == 0:
            server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler)
            server.daemon_threads = True
            there.send(server.server_address[1])
            threading.Thread(target=_leave_with, args=(os.getppid(),), daemon=True).start()
            null = os.open(os.devnull, os.O_WRONLY)  # clients that hang up are no news
            os.dup2(null, 2)
            server.serve_forever()
        self.port = int(here.recv())
        return self

    def __exit__(self, *_: object) -> None:
        os.kill(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)


def _leave_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)
