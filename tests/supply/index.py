"""`python -m tests.supply.index`: ask a package index for every version in requirements.lock.

Each version must still be there, not be withdrawn by its authors (PEP 592), and have files of the hashes that the lock
knows. Of known holes tells `pip-audit --require-hashes -r requirements.lock`, which asks services beyond an index.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tests.supply.lock import LOCK, Locked, read

KIND = "application/vnd.pypi.simple.v1+json"


def files_of(index: str, name: str) -> list[dict[str, object]]:
    """Return what an index says of the files of a package (PEP 691); nothing of one that it does not know.

    Raises:
        HTTPError: it answers otherwise.
        URLError: it cannot be reached.
    """
    try:
        with urlopen(Request(f"{index.rstrip('/')}/{name}/", headers={"Accept": KIND}), timeout=60) as answer:
            found: list[dict[str, object]] = json.load(answer)["files"]
    except HTTPError as error:
        if error.code == 404:
            return []
        raise
    return found


def faults(locked: Iterable[Locked], index: str) -> list[str]:
    """Return what is wrong with versions, a line each."""
    found, known = [], {}
    for each in locked:
        if each.name not in known:
            known[each.name] = {
                str(hashes["sha256"]): file
                for file in files_of(index, each.name)
                if isinstance(hashes := file.get("hashes"), dict) and "sha256" in hashes
            }
        files = known[each.name]
        ours = [files[digest] for digest in each.hashes if digest in files]
        what = f"{each.name} {each.version}"
        if not ours:
            found.append(f"{what}: the index has none of its files")
        elif unknown := len(each.hashes) - len(ours):
            found.append(f"{what}: {unknown} of {len(each.hashes)} files are not in the index any more")
        if reasons := {str(file["yanked"]) for file in ours if file.get("yanked")}:
            found.append(f"{what}: withdrawn by its authors ({', '.join(sorted(reasons))})")
    return found


def main(arguments: list[str]) -> int:
    """Print what is wrong; 1 where anything is."""
    from pip._internal.models.index import PyPI

    parser = argparse.ArgumentParser(prog="python -m tests.supply.index", description=__doc__)
    parser.add_argument("--index", default=PyPI.simple_url, help="address of its simple interface (default: pip's own)")
    options = parser.parse_args(arguments)
    locked = list(read(LOCK.read_text(encoding="utf-8")))
    found = faults(locked, options.index)
    print("\n".join([*found, f"{len(locked)} versions, {len(found)} faults"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
