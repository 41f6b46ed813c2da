"""Runs of the whole command in forked processes: started in a hundredth of the time, watched, limited, and killed."""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from restorer.bench.survive.sandbox import MOST_WAITED, forkable, limit_memory, seconds_of
from restorer.engine.device import keep_few_kernels, use_huge_pages, wait_without_spinning

PLAIN = ("--offline", "--json", "--model", "none", "--background", "lanczos")
"""Options of a run without networks."""
_LOOK = 0.2  # seconds between looks at how much a run has had; they cost more than to ask whether it has ended
_LOADED = (
    "torch", "cv2", "PIL.Image", "PIL.ImageCms", "restorer.cli", "restorer.cli.photos", "restorer.cli.run",
    "restorer.batch.run", "restorer.pipeline.restorer", "restorer.pipeline.components", "restorer.report.writer",
    "restorer.models", "restorer.weights", "numpy.ma", "numpy.random", "restorer.imaging.fading",
    "restorer.imaging.screens", "restorer.imaging.alpha", "restorer.cli.downloads", "restorer.cli.signals",
    "restorer.cli.typed", "restorer.cli.viewer", "rich._emoji_codes", "xml.dom.expatbuilder", "hmac",
)  # fmt: skip


@dataclass(frozen=True)
class Ran:
    """How a run of the command ended.

    Attributes:
        code: its exit code; negative where a signal ended it.
        out: what it printed on stdout.
        err: on stderr.
        seconds: that it took.
        mib: the most memory that it had.
        hung: whether it was ended because it took too long.
    """

    code: int
    out: str
    err: str
    seconds: float
    mib: float
    hung: bool = False
    _cache: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        """What `--json` printed; a line that a kill cut off is left out."""
        found = []
        for line in self.out.split("\n")[:-1]:
            if line.startswith("{"):
                found.append(json.loads(line))
        return found


def prepare() -> None:
    """Load what runs need, so that forked ones need not; thread pools are left for them to make.

    What torch reads from the environment when it is imported is what a run of its own would set.
    """
    keep_few_kernels()
    use_huge_pages()
    wait_without_spinning()
    for name in _LOADED:
        importlib.import_module(name)
    from PIL import Image

    Image.init()
    for name in ("pillow_heif", "pi_heif"):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            continue


class Run:
    """A run that is under way.

    Args:
        folder: where it works; what it prints lies beside it.
        arguments: of the command.
        before: what is done in its process first.
        memory: bytes that it may take beyond what it begins with; None = no limit.
        number: tells the files of what is printed apart, where several runs work in one folder.
    """

    def __init__(
        self, folder: Path, arguments: Sequence[str], before: Callable[[], object] | None = None,
        *, memory: int | None = None, number: int = 0,
    ) -> None:  # fmt: skip
        self._files = [folder.parent / f".{folder.name}-{number}.{name}" for name in ("out", "err")]
        for file in self._files:
            file.touch()  # a kill may come before the process has
        sys.stdout.flush()
        sys.stderr.flush()
        self._begin = time.monotonic()
        self._ended: tuple[int, float] | None = None
        with forkable():
            self.process = os.fork()
            if self.process == 0:
                _live(folder, list(arguments), before, self._files, memory)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal."""
        if self._ended is None:
            os.kill(self.process, number)

    def is_over(self) -> bool:
        """Return whether it has ended."""
        return self._ended is not None or self._waited(os.WNOHANG)

    def _waited(self, how: int) -> bool:
        process, status, usage = os.wait4(self.process, how)
        if process == 0:
            return False
        self._ended = os.waitstatus_to_exitcode(status), usage.ru_maxrss / 1024
        return True

    def wait(self, seconds: float = 120.0) -> Ran:
        """Return how it ended, after so many more seconds of a core by force."""
        hung, begin, used, looked = False, time.monotonic(), seconds_of(self.process), 0.0
        while not self.is_over():
            waited = time.monotonic() - begin
            if waited > looked + _LOOK:
                looked = waited
                if max(waited / MOST_WAITED, seconds_of(self.process) - used) > seconds:
                    self.kill()
                    hung = True
                    self._waited(0)
                    break
            time.sleep(0.005)
        assert self._ended is not None
        out, err = (file.read_bytes().decode("utf-8", "replace") for file in self._files)
        for file in self._files:
            file.unlink()
        return Ran(self._ended[0], out, err, time.monotonic() - self._begin, self._ended[1], hung)


def restore(
    folder: Path, *arguments: str, before: Callable[[], object] | None = None, memory: int | None = None,
    seconds: float = 120.0,
) -> Ran:  # fmt: skip
    """Run the command to its end; see `Run`."""
    return Run(folder, arguments, before, memory=memory).wait(seconds)


def _live(
    folder: Path, arguments: list[str], before: Callable[[], object] | None, files: list[Path], memory: int | None
) -> None:
    """Be the command; never returns."""
    code = 70
    try:
        for number, file in enumerate(files, 1):
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(descriptor, number)
            os.close(descriptor)
        for name, number in (("stdout", 1), ("stderr", 2)):  # whatever stands in their place where this was forked
            setattr(sys, name, open(number, "w", encoding="utf-8", errors="backslashreplace", closefd=False))  # noqa: SIM115
        os.chdir(folder)
        settings = folder.parent / ".settings"
        os.environ |= {
            "RESTORER_CONFIG": str(settings / "config"), "RESTORER_CACHE": str(settings / "cache"),
            "HF_HOME": str(settings / "hub"), "COLUMNS": "5000", "NO_COLOR": "1", "TERM": "dumb",
            "OMP_NUM_THREADS": "1",  # a fork takes no threads along, and OpenMP would wait for those that it had
        }  # fmt: skip
        signal.signal(signal.SIGINT, signal.default_int_handler)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if memory is not None:
            limit_memory(memory)
        import torch

        from restorer.cli import main

        torch.set_num_threads(1)
        if before is not None:
            before()
        try:
            main(arguments)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1 if end.code else 0
    except BaseException:  # noqa: BLE001 - it must not get into the process that was forked
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)
