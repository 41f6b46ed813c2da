"""The lock fits what the project asks for, a wheel is the same bytes twice, the bill of materials names all of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.supply import index, sbom
from tests.supply.lock import LOCK, ROOT, Locked, read

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
A, B = "a" * 64, "b" * 64


@pytest.fixture(scope="module")
def locked() -> list[Locked]:
    return list(read(LOCK.read_text(encoding="utf-8")))


def environment(python: str, system: str = "linux") -> dict[str, str]:
    found: dict[str, str] = dict(default_environment())  # type: ignore[arg-type]
    names = {"linux": "Linux", "win32": "Windows", "darwin": "Darwin"}
    return found | {
        "python_version": python, "python_full_version": f"{python}.1", "sys_platform": system,
        "platform_system": names[system], "platform_machine": "arm64" if system == "darwin" else "x86_64",
        "platform_python_implementation": "CPython", "implementation_name": "cpython", "extra": "",
    }  # fmt: skip


@pytest.mark.parametrize("system", ["linux", "win32", "darwin"])
@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_has_a_version_of_everything_that_is_asked_for(locked: list[Locked], python: str, system: str) -> None:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    here = environment(python, system)
    versions: dict[str, str] = {}
    for each in locked:
        if each.holds(here):
            assert each.name not in versions, "one version of each for a Python and system"
            versions[each.name] = each.version
    for line in [*table["dependencies"], *table["optional-dependencies"]["test"]]:
        asked = Requirement(line)
        if asked.marker is None or asked.marker.evaluate(here):
            version = versions[canonicalize_name(asked.name)]
            assert asked.specifier.contains(version, prereleases=True), f"{line}, but {version} in requirements.lock"


def test_what_a_lock_must_not_say_is_refused() -> None:
    (good,) = read(
        f"# a remark\n\nPillow==1.2 ; python_version >= '3.11' \\\n    --hash=sha256:{A} \\\n    --hash=sha256:{B}\n"
    )
    assert (good.name, good.version, good.hashes) == ("pillow", "1.2", (A, B))
    assert not good.holds(environment("3.10"))
    for line in (f"pillow>=1.2 --hash=sha256:{A}", "pillow==1.2", "pillow==1.2 --hash=sha256:abc"):
        with pytest.raises(ValueError, match="pillow"):
            list(read(line))


def test_a_wheel_is_the_same_bytes_whenever_and_wherever_it_is_built(tmp_path: Path) -> None:
    wheels = []
    for number, when in enumerate((1_000_000_000, 1_700_000_000)):
        tree = tmp_path / str(number) / "repository"
        for name in ("restorer", "docs"):
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__", "images"))
        for name in ("pyproject.toml", "README.md", "LICENSE", "weights.toml", "CHANGELOG.md"):
            shutil.copy(ROOT / name, tree / name)
        for path in tree.rglob("*"):
            os.utime(path, (when, when))
            path.chmod((0o700, 0o755)[number] if path.is_dir() else (0o600, 0o644)[number])
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / f"out{number}")]
        subprocess.run(command, cwd=tree, check=True, capture_output=True, timeout=300)
        (wheel,) = (tmp_path / f"out{number}").iterdir()
        wheels.append(wheel)
    one, other = (wheel.read_bytes() for wheel in wheels)
    assert wheels[0].name == wheels[1].name
    assert one == other


def test_the_bill_of_materials_names_everything_and_is_the_same_twice(locked: list[Locked], tmp_path: Path) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    for name in "ab":
        assert sbom.main([str(tmp_path / name)]) == 0
    text = (tmp_path / "a").read_text(encoding="utf-8")
    assert text == (tmp_path / "b").read_text(encoding="utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    told = json.loads(text)
    names = {part["name"] for part in told["components"]}
    assert names == {each.name for each in locked} | {path.name for path in sbom.WEIGHTS.glob("*.safetensors")}
    assert "timestamp" not in told["metadata"]
    other = sbom.bill(locked[1:], [])
    assert json.loads(other)["serialNumber"] != told["serialNumber"]


@pytest.fixture
def package_index() -> Iterator[tuple[str, dict[str, list[dict[str, Any]]]]]:
    """Yield an index's address and its packages: name to files."""
    packages: dict[str, list[dict[str, Any]]] = {}

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.strip("/").split("/")[-1]
            if name == "broken":
                return self.send_error(503)
            if name not in packages:
                return self.send_error(404)
            assert self.headers["Accept"] == index.KIND
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"files": packages[name]}).encode())
            return None

        def log_message(self, *_words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/simple", packages
    server.shutdown()
    thread.join()
    server.server_close()


def entry(name: str, *hashes: str) -> Locked:
    return Locked(Requirement(f"{name}==1.0"), hashes)


def test_an_index_is_asked_for_every_version(package_index: tuple[str, dict[str, list[dict[str, Any]]]]) -> None:
    address, packages = package_index
    packages["good"] = [{"hashes": {"sha256": A}, "yanked": False}, {"hashes": {"sha256": B}}]
    packages["withdrawn"] = [{"hashes": {"sha256": A}, "yanked": "a hole in it"}]
    packages["changed"] = [{"hashes": {"sha256": B}}]
    assert index.faults([entry("good", A), entry("good", A, B)], address) == []
    assert index.faults([entry("withdrawn", A)], address) == ["withdrawn 1.0: withdrawn by its authors (a hole in it)"]
    assert index.faults([entry("changed", A)], address) == ["changed 1.0: the index has none of its files"]
    assert index.faults([entry("changed", A, B)], address) == [
        "changed 1.0: 1 of 2 files are not in the index any more"
    ]
    assert index.faults([entry("unheard-of", A)], address) == ["unheard-of 1.0: the index has none of its files"]
    with pytest.raises(OSError, match="503"):
        index.faults([entry("broken", A)], address)
