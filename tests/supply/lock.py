"""`python -m tests.supply.lock`: write requirements.lock, every version and hash for all Pythons and systems.

It is what `uv pip compile --universal` makes of pyproject.toml with the tests' extra: one line for each version, with a
marker where it is for some Pythons or systems only, and the hashes of its files. With it an install is repeatable:

    pip install --require-hashes -r requirements.lock && pip install --no-deps .
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements.lock"
OLDEST = "3.10"
COMMAND = (
    *("uv", "pip", "compile", "--universal", "--python-version", OLDEST, "--extra", "test", "--generate-hashes"),
    *("--no-emit-index-url", "--no-header", "--no-annotate", "--quiet", "--upgrade", "pyproject.toml"),
)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True)
class Locked:
    """A version of a package.

    Attributes:
        requirement: `name==version`, with a marker where it is not for all.
        hashes: sha256 of its files, in hexadecimal digits.
    """

    requirement: Requirement
    hashes: tuple[str, ...]

    @property
    def name(self) -> str:
        """As indices spell it."""
        return canonicalize_name(self.requirement.name)

    @property
    def version(self) -> str:
        """The only one that it may be."""
        (only,) = self.requirement.specifier
        return only.version

    def holds(self, environment: dict[str, str]) -> bool:
        """Return whether it is for a Python and system, see `packaging.markers.default_environment`."""
        marker = self.requirement.marker
        return marker is None or marker.evaluate(environment)


def read(text: str) -> Iterator[Locked]:
    """Read a lock.

    Raises:
        ValueError: a line is no `name==version` with hashes.
    """
    for entry in text.replace("\\\n", " ").splitlines():
        if not entry.strip() or entry.startswith("#"):
            continue
        stated, *rest = entry.split(" --hash=", 1)
        locked = Locked(Requirement(stated.strip()), tuple(_HASH.findall("--hash=" + "".join(rest))))
        if [each.operator for each in locked.requirement.specifier] != ["=="] or not locked.hashes:
            raise ValueError(f"not a version with hashes: {entry[:80]}")
        yield locked


def main() -> int:
    """Write the lock anew."""
    found = subprocess.run(COMMAND, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    count = sum(1 for _ in read(found))
    LOCK.write_text(f"# Written by `python -m tests.supply.lock`; see docs/security.md.\n{found}", encoding="utf-8")
    print(f"{LOCK.name}: {count} versions")
    return 0


if __name__ == "__main__":
    sys.exit(main())
