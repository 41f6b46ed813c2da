"""Caches that will not take a download: read-only, full, another user's, of the wrong kind, damaged, used by two."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from restorer.bench.survive.asking import HUB, Case, ask
from restorer.bench.survive.badhub import CONTENT

STRANGER = 65534
"""The user that cases become who are no owner of the cache; only a process of the system's own can become one."""
Before = Callable[[Path], object]


def cases(port: int) -> Iterator[Case]:
    """Yield the cases, for a server on a port of this machine that answers soundly."""
    endpoint = f"http://127.0.0.1:{port}/sound"
    environment = {"HF_ENDPOINT": endpoint, "NO_PROXY": "127.0.0.1,localhost"}
    for kind, source in (("Hub", HUB), ("mirror", f"{endpoint}/files/thing.pth")):
        for name, (before, wanted) in _states(source, environment).items():
            yield Case(f"a cache for the {kind}", f"{kind}, cache {name}", source, environment, before, wanted)


def _states(source: str, environment: dict[str, str]) -> dict[str, tuple[Before, str]]:
    """Return what is done to a cache before it is used, and what must come of it."""

    def filled(folder: Path) -> None:
        ask(Case("", "", source, environment), folder)

    def after(*steps: Before) -> Before:
        return lambda folder: [step(folder) for step in steps]

    found: dict[str, tuple[Before, str]] = {
        "full at 64 KiB": (_limited(2**16), "refused"),
        "full at its last byte": (_limited(len(CONTENT) - 1), "refused"),
        "full at the first byte": (_limited(0), "refused"),
        "that is a file": (_as_file, "refused"),
        "that is a link to nowhere": (_as_link("nowhere/at/all"), ""),
        "that is a link in a circle": (_as_link("cache"), "refused"),
        "with a folder where the file should be": (after(filled, _each(_to_folder)), ""),
        "with empty files": (after(filled, _each(_emptied)), ""),
        "with a flipped bit": (after(filled, _each(_flipped)), ""),
        "with a flipped bit, and times set back": (after(filled, _each(_flipped_and_dated)), ""),
        "with notes that are none": (after(filled, _each(_scribbled)), ""),
        "with files cut short": (after(filled, _each(_cut)), ""),
        "with links in a circle": (after(filled, _each(_to_circle)), ""),
        "with pipes": (after(_prepared, _piped), ""),
        "left by a run that was killed": (_killed(source, environment), "fetched"),
        "used by five at once": (_crowded(source, environment), "fetched"),
        "on a disk of 256 KiB": (_small_disk, "refused"),
    }
    if os.geteuid() == 0:
        found |= {
            "that is read-only": (after(_prepared, _modes(0o555), _stranger), "refused"),
            "that is read-only and has the file": (after(filled, _modes(0o755), _stranger), "fetched"),
            "of another user, closed": (after(filled, _modes(0o700), _stranger), "refused"),
            "of another user, open, not yet filled": (after(_prepared, _modes(0o777), _stranger), "fetched"),
            "of another user, open, with the file": (after(filled, _modes(0o777), _stranger), "fetched"),
            "of another user, open, with damage": (after(filled, _each(_flipped), _modes(0o777), _stranger), ""),
            "of another user, sticky, with damage": (after(filled, _each(_flipped), _modes(0o1777), _stranger), ""),
            "with files that nobody may read": (after(filled, _each(lambda p: p.chmod(0)), _open, _stranger), ""),
            "filled under a mask of 077": (after(_masked(0o077), filled, _open, _stranger), ""),
            "under a mask of 777": (after(_prepared, _modes(0o777), _stranger, _masked(0o777)), ""),
        }
    return found


# ------------------------------------------------------------------------------------------------- what is done to it


def _places(folder: Path) -> tuple[Path, Path]:
    return folder / "cache", folder / "hub"


def _prepared(folder: Path) -> None:
    for place in _places(folder):
        place.mkdir(exist_ok=True)


def _limited(size: int) -> Before:
    def limit(_: Path) -> None:
        import resource  # which Windows has not

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


def _small_disk(folder: Path) -> None:
    """Put a small disk there in a world of this process's own; where that may not be, limit files."""
    _prepared(folder)
    try:
        os.unshare(os.CLONE_NEWNS)  # type: ignore[attr-defined, unused-ignore]  # from Python 3.12 on
    except (AttributeError, OSError):
        _limited(2**18)(folder)
        return
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    for place in _places(folder):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(place)], check=True)


def _as_file(folder: Path) -> None:
    for place in _places(folder):
        place.write_text("no folder")


def _as_link(target: str) -> Before:
    def link(folder: Path) -> None:
        for place in _places(folder):
            place.symlink_to(place.name if target == "cache" else target)

    return link


def _each(change: Before) -> Before:
    """Return what does something to each file below the caches, links left alone."""

    def changed(folder: Path) -> None:
        for place in _places(folder):
            for path in sorted(place.rglob("*")):
                if path.is_file() and not path.is_symlink():
                    change(path)

    return changed


def _to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _to_circle(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _emptied(path: Path) -> None:
    path.write_bytes(b"")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _scribbled(path: Path) -> None:
    if path.stat().st_size < len(CONTENT):
        path.write_bytes(b"[[[\xff" * 99)


def _flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    if data:
        data[len(data) // 2] ^= 1
        path.write_bytes(data)


def _flipped_and_dated(path: Path) -> None:
    if path.stat().st_size == len(CONTENT):
        before = path.stat()
        _flipped(path)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _piped(folder: Path) -> None:
    """Put a pipe, which waits for whoever opens it, wherever a file would come to lie."""
    for name in ("cache/locks", "cache/weights"):
        (folder / name).mkdir(parents=True)
    for name in ("cache/digests.json", "cache/locks/x.lock", "hub/.locks"):
        os.mkfifo(folder / name)


def _modes(mode: int) -> Before:
    """Return what gives all folders a mode, and their files the same without the right to be run."""

    def change(folder: Path) -> None:
        folder.chmod(0o755)
        for place in _places(folder):
            for path in (place, *place.rglob("*")):
                if path.exists() and not path.is_symlink():
                    path.chmod(mode if path.is_dir() else mode & 0o666)

    return change


def _open(folder: Path) -> None:
    folder.chmod(0o755)
    for place in _places(folder):
        for path in (place, *place.rglob("*")):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o777)


def _masked(mask: int) -> Before:
    return lambda _: os.umask(mask)


def _stranger(_: Path) -> None:
    """Become another user, for good."""
    os.setgroups([])
    os.setresgid(STRANGER, STRANGER, STRANGER)
    os.setresuid(STRANGER, STRANGER, STRANGER)


def _killed(source: str, environment: dict[str, str]) -> Before:
    def kill(folder: Path) -> None:
        for moment in (0.02, 0.05, 0.1, 0.3):
            process = os.fork()
            if process == 0:
                signal.setitimer(signal.ITIMER_REAL, moment)
                signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
                ask(Case("", "", source, environment), folder)
                os._exit(0)
            os.waitpid(process, 0)

    return kill


def _crowded(source: str, environment: dict[str, str]) -> Before:
    def crowd(folder: Path) -> None:
        processes = []
        for _ in range(4):
            process = os.fork()
            if process == 0:
                code = 1
                try:
                    code = 0 if ask(Case("", "", source, environment), folder) == "fetched" else 2
                finally:
                    os._exit(code)
            processes.append(process)
        ended = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]
        if any(ended):
            raise AssertionError(f"of four at once, these were not served: {ended}")
        shutil.rmtree(folder / "config", ignore_errors=True)

    return crowd
