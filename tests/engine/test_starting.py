"""Loading torch: ahead of its import, and out of the garbage collector's sight."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from restorer.cli.photos import _computes
from restorer.cli.request import PhotosRequest
from restorer.engine import starting
from restorer.options import Options
from tests.support.albums import environment

SCRIPT = """
import gc, sys, threading
from restorer.engine import starting
from restorer.engine.device import choose, configure_threads
assert "torch" not in sys.modules
if {own}:
    configure_threads(1)
starting.load_ahead()
ahead = [each for each in threading.enumerate() if each.name == "load"]
assert choose("cpu").name == "cpu"
assert gc.isenabled()
assert (gc.get_freeze_count() > 100_000) == {own}, gc.get_freeze_count()
for each in ahead:
    each.join()
import torch
assert float(torch.ones(3).sum()) == 3
print("loaded", len(ahead))
"""


@pytest.mark.parametrize("own", [True, False])
def test_torch_is_loaded_and_its_objects_are_left_alone_in_a_program_of_our_own(own: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(own=own)], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("loaded")
    assert not done.stderr


LEAN = """
import sys
from restorer import weights
from restorer.engine import starting
from restorer.engine.device import choose, configure_threads
from restorer.models import REGISTRY
from restorer.models.searching import SearchArchitecture

if {own}:
    configure_threads(1)
choose("cpu")
import torch
from restorer.networks.skip_init import SkipInit
assert ("torch._decomp" not in sys.modules) == ({own} and torch.__version__.startswith(starting._TRIED))
built = 0
for table in weights.tables().values():
    architecture = REGISTRY.architecture_of(table)
    if isinstance(architecture, SearchArchitecture) or architecture.read_whole:
        continue
    with SkipInit(), torch.device("meta"):
        architecture.build(REGISTRY.arguments(table))
    built += 1
assert built > 15, built
waits = [name for name in starting.LATER if isinstance(sys.modules.get(name), starting._Later)]
assert ("torch._meta_registrations" in waits) == ({own} and torch.__version__.startswith(starting._TRIED)), waits
assert sys.modules["torch._meta_registrations"].aten is torch.ops.aten
assert "torch._decomp" in sys.modules
assert not isinstance(sys.modules["torch._meta_registrations"], starting._Later)
exported = torch.export.export(torch.nn.Linear(2, 3).eval(), (torch.ones(1, 2),))
assert exported.module()(torch.ones(1, 2)).shape == (1, 3)
from torch._subclasses.fake_tensor import FakeTensorMode
with FakeTensorMode():
    assert torch.linalg.cholesky(torch.eye(3)).shape == (3, 3)
print("planned", built)
"""


@pytest.mark.parametrize("own", [True, False])
def test_networks_are_planned_without_what_torch_imports_for_its_compiler(own: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LEAN.format(own=own)], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("planned")


FIRST = """
import gc, sys
from restorer.engine import starting
from restorer.engine.device import apply_threads, configure_threads

configure_threads(1)
apply_threads()
import torch
assert ("torch._decomp" not in sys.modules) == torch.__version__.startswith(starting._TRIED)
assert gc.get_freeze_count() > 100_000
assert torch.get_num_threads() == 1
for package, _, short in (name.rpartition(".") for name in starting.LATER if name in sys.modules):
    assert short in vars(sys.modules[package])  # as if it had been imported
assert hasattr(torch._meta_registrations, "register_meta")
print("lean")
"""


def test_also_where_a_network_is_asked_for_before_the_device() -> None:
    done = subprocess.run([sys.executable, "-c", FIRST], env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("lean")


WITHOUT_THE_LOCK = """
import sys, threading, time
from restorer.engine import starting

starting.load_ahead()
assert not starting._libraries() or {*starting._BEFORE} <= {*sys.modules}
ahead = [each for each in threading.enumerate() if each.name == "load"]
turns = 0
while any(each.is_alive() for each in ahead):
    turns += 1
    time.sleep(0.0005)
assert "torch" not in sys.modules
mapped = open("/proc/self/maps").read() if ahead else ""
assert all(str(path) in mapped for path in starting._libraries())
print("turns", turns if ahead else 1000)
"""


def test_python_goes_on_while_libraries_are_loaded() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_LOCK], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[1]) >= 20


def test_what_waits_and_has_no_package_here_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "LATER", ("nowhere.bindings", "restorer.nothing"))
    for name in starting.LATER:
        monkeypatch.setitem(sys.modules, name, starting._Later(name))
    import restorer

    starting._put_in_place()
    assert "nowhere.bindings" not in sys.modules
    assert vars(restorer).pop("nothing") is sys.modules["restorer.nothing"]


def test_of_a_torch_that_was_not_tried_nothing_is_left_for_later(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    assert starting._version() == torch.__version__
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert not starting._version().startswith(starting._TRIED)


def test_where_torch_is_there_nothing_is_done() -> None:
    import gc

    import torch  # noqa: F401 - it is there from here on

    before, frozen = threading.active_count(), gc.get_freeze_count()
    starting.load_ahead()
    starting.load_torch(own=True)
    assert threading.active_count() == before
    assert gc.get_freeze_count() == frozen


def test_a_library_that_is_none_is_left_to_torch_to_complain_about(tmp_path: Path) -> None:
    (tmp_path / "libtorch_cpu.so").write_bytes(b"none")
    starting._load([tmp_path / "libtorch_global_deps.so", tmp_path / "libtorch_cpu.so"])


@pytest.mark.parametrize(
    ("request_", "options", "wanted"),
    [
        ({}, {}, True),
        ({}, {"model": "none"}, True),
        ({}, {"background": "lanczos"}, True),
        ({}, {"model": "none", "background": "lanczos"}, False),
        ({"dry_run": True}, {}, False),
        ({"cluster": "local"}, {}, False),
        ({}, {"device": "cuda:all"}, False),
    ],
)
def test_it_is_loaded_ahead_only_where_this_process_may_need_it(
    request_: dict[str, object], options: dict[str, object], wanted: bool
) -> None:
    assert _computes(PhotosRequest(**request_), Options.of(**options)) is wanted  # type: ignore[arg-type]
