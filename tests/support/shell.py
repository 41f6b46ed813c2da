"""A shell whose `restore` is answered inside the test's own process: quick, and the shell stays a real one.

    with Shell(environment) as shell:
        done = shell.run('find album -name "*.jpg" -print0 | restore --files-from - -o restored/', folder)

Each `restore` that the shell starts is a small client. It hands its arguments, folder, variables and open files over a
socket to this process, which runs the command with them as if it were its own, and hands the exit code back. So torch
is imported once, and pipes, lists and redirections are what they are in a terminal.
"""

from __future__ import annotations

import io
import json
import logging
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import pytest

from restorer.cli import main

CLIENT = """
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as line:
    line.connect({address!r})
    socket.send_fds(line, [b"x"], [0, 1, 2])
    line.sendall(json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode())
    line.shutdown(socket.SHUT_WR)
    sys.exit(int(line.recv(8) or 99))
"""


@dataclass(frozen=True)
class Call:
    """One run of the command: its arguments, the folder it ran in, its exit code."""

    arguments: list[str]
    folder: Path
    code: int


@dataclass(frozen=True)
class Done:
    """How a script ended, what it printed (both streams), and the `restore` commands in it."""

    code: int
    printed: str
    calls: list[Call] = field(default_factory=list)


class Shell:
    """Bash with a `restore` and a `python` of this environment, and with commands of the test's own.

    Args:
        environment: variables for the scripts.
        commands: further commands, as name and shell script.
    """

    def __init__(self, environment: Mapping[str, str], commands: Mapping[str, str]) -> None:
        self.environment = dict(environment)
        self._commands = dict(commands)

    def __enter__(self) -> Shell:
        bash = shutil.which("bash")
        if bash is None:
            pytest.skip("bash is not installed")
        self._bash = bash
        self._folder = Path(tempfile.mkdtemp(prefix="sh"))  # not pytest's own: a socket's path must be short
        address = str(self._folder / "line")
        client = self._folder / "client.py"
        client.write_text(CLIENT.format(address=address))
        self._commands["restore"] = f'exec "{sys.executable}" -IS "{client}" "$@"'
        self._commands["python"] = f'exec "{sys.executable}" "$@"'
        (self._folder / "bin").mkdir()
        for name, script in self._commands.items():
            path = self._folder / "bin" / name
            path.write_text(f"#!{bash}\n{script}\n")
            path.chmod(0o755)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(address)
        self._listener.listen()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        shutil.rmtree(self._folder)

    def run(self, script: str, folder: Path) -> Done:
        """Run a script, which ends with the first command that fails, and return how it ended."""
        path = f"{self._folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        calls: list[Call] = []
        with tempfile.TemporaryFile() as printed:
            process = subprocess.Popen(
                [self._bash, "-euo", "pipefail", "-c", script],
                cwd=folder,
                env={**self.environment, "PATH": path},
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
            )
            try:
                while process.poll() is None:
                    if select.select([self._listener], [], [], 0.02)[0]:
                        calls.append(self._answer())
            finally:
                process.kill()
                process.wait()
            printed.seek(0)
            return Done(process.returncode, printed.read().decode(errors="replace"), calls)

    def _answer(self) -> Call:
        """Take one call and carry it out."""
        line, _ = self._listener.accept()
        with line:
            _, files, _, _ = socket.recv_fds(line, 1, 3)
            with line.makefile("rb") as request:
                arguments, folder, variables = json.load(request)
            with _as_process(files, folder, variables):
                code = carry_out(arguments)
            line.sendall(str(code).encode())
        return Call(arguments, Path(folder), code)


def carry_out(arguments: list[str]) -> int:
    """Run the command here and return its exit code."""
    try:
        main(arguments)
    except SystemExit as ended:
        return int(ended.code or 0)


@contextmanager
def _as_process(files: list[int], folder: str, variables: Mapping[str, str]) -> Iterator[None]:
    """Lend this process the standard files, the folder and the variables of another one."""
    streams, saved = (sys.stdin, sys.stdout, sys.stderr), [os.dup(number) for number in range(3)]
    before, here = dict(os.environ), Path.cwd()
    signals = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    handlers = {name: list(logging.getLogger(name).handlers) for name in ("restorer", "restorer.batch.run")}
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    sys.stdin, sys.stdout, sys.stderr = (
        io.TextIOWrapper(os.fdopen(number, mode, closefd=False), encoding="utf-8", write_through=number > 0)
        for number, mode in enumerate(("rb", "wb", "wb"))
    )
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            if not stream.closed:
                stream.flush()
        os.environ.clear()
        os.environ.update(before)
        os.chdir(here)
        sys.stdin, sys.stdout, sys.stderr = streams
        for number, copy in enumerate(saved):
            os.dup2(copy, number)
            os.close(copy)
        for number, handler in signals.items():
            signal.signal(number, handler)
        for name, kept in handlers.items():
            logging.getLogger(name).handlers[:] = kept
