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
