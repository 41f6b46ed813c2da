"""The control groups that this process is in, which say how much of the machine it may use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT, TOLD = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def folders(controller: str, root: Path = ROOT, told: Path = TOLD) -> Iterator[Path]:
    """Yield the folder of this process's group and of each group around it; what any of them limits is limited.

    In a container the outermost folder is the container's own. Groups of the older kind have a tree for each
    controller.

    Args:
        controller: "cpu" or "memory".
        root: where groups are mounted.
        told: says which one the process is in.
    """
    for top, inside in _places(controller, root, told):
        while True:
            yield top / inside
            if inside == Path():
                break
            inside = inside.parent


def _places(controller: str, root: Path, told: Path) -> Iterator[tuple[Path, Path]]:
    """Yield trees of groups, each with the place of this process in it."""
    try:
        lines = told.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        lines = []
    inside = {name: path for _, names, path in (line.split(":", 2) for line in lines) for name in names.split(",")}
    for top, path in ((root, inside.get("", "/")), (root / controller, inside.get(controller, "/"))):
        below = Path(path.strip("/"))
        yield top, Path() if ".." in below.parts else below  # what lies outside is not seen from here
