"""`python -m tests.supply.sbom FILE`: write the bill of materials of this version as CycloneDX 1.6, JSON.

It names every version of requirements.lock with its hashes, and the weights that come with the package with theirs. The
same repository gives the same bytes: nothing in it tells when or where it was written.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from restorer.version import __version__
from tests.supply.lock import LOCK, ROOT, Locked, read

WEIGHTS = ROOT / "restorer" / "data"


def bill(locked: Iterable[Locked], weights: Iterable[Path]) -> str:
    """Return the bill of materials."""
    own = Component(
        name="restorer",
        version=__version__,
        type=ComponentType.APPLICATION,
        bom_ref="restorer",
        licenses=[LicenseExpression("Apache-2.0")],
        purl=PackageURL("pypi", None, "restorer", __version__),
    )
    parts = [_package(each) for each in locked] + [_weights(path) for path in weights]
    content = "\n".join(f"{part.bom_ref.value} {sorted(str(each.content) for each in part.hashes)}" for part in parts)
    made = Bom(components=parts, serial_number=uuid5(NAMESPACE_URL, f"restorer {__version__}\n{content}"))
    made.metadata.component = own
    made.metadata.timestamp = None  # type: ignore[assignment]  # the library sets one; it would change every file
    made.register_dependency(own, parts)
    return JsonV1Dot6(made).output_as_string(indent=2) + "\n"


def _package(locked: Locked) -> Component:
    return Component(
        name=locked.name,
        version=locked.version,
        type=ComponentType.LIBRARY,
        bom_ref=f"{locked.name}=={locked.version}",
        purl=PackageURL("pypi", None, locked.name, locked.version),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in locked.hashes],
    )


def _weights(path: Path) -> Component:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Component(
        name=path.name,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=f"weights {path.name}",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
    )


def main(arguments: list[str]) -> int:
    """Write the file."""
    (target,) = arguments
    text = bill(read(LOCK.read_text(encoding="utf-8")), sorted(WEIGHTS.glob("*.safetensors")))
    Path(target).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
