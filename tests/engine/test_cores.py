"""How many cores a run may use, and in which type a precision computes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from restorer import weights
from restorer.engine import device as devices
from restorer.engine.device import Device
from restorer.models.base import Precision
from tests.support.albums import picture
from tests.support.in_process import restore


@pytest.fixture
def threads() -> Iterator[int]:
    """Keep torch's number of threads for the other tests."""
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


@pytest.mark.parametrize(("lines", "cores"), [("150000 100000", 2), ("100000 100000", 1), ("20000 100000", 1)])
def test_a_containers_quota_is_rounded_up(tmp_path: Path, lines: str, cores: int) -> None:
    (tmp_path / "cpu.max").write_text(f"{lines}\n")
    assert devices._cgroup_quota(tmp_path) == cores


@pytest.mark.parametrize("lines", ["max 100000", "", "150000", "150000 0"])
def test_without_a_quota_there_is_none(tmp_path: Path, lines: str) -> None:
    (tmp_path / "cpu.max").write_text(lines)
    assert devices._cgroup_quota(tmp_path) is None


def test_the_older_kind_of_quota_is_known(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("250000\n")
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000\n")
    assert devices._cgroup_quota(tmp_path) == 3


def test_the_tightest_of_the_groups_around_counts(tmp_path: Path) -> None:
    """A service's own limits stand in its group, those of a container in the outermost one."""
    told, inside = tmp_path / "told", tmp_path / "a.slice/b.service"
    inside.mkdir(parents=True)
    told.write_text("0::/a.slice/b.service\n")
    (inside / "cpu.max").write_text("max 100000\n")
    assert devices._cgroup_quota(tmp_path, told) is None
    (tmp_path / "a.slice/cpu.max").write_text("300000 100000\n")
    assert devices._cgroup_quota(tmp_path, told) == 3
    (inside / "cpu.max").write_text("100000 100000\n")
    assert devices._cgroup_quota(tmp_path, told) == 1
    told.write_text("0::/../elsewhere\n")
    (tmp_path / "cpu.max").write_text("200000 100000\n")
    assert devices._cgroup_quota(tmp_path, told) == 2
    told.write_text("4:cpu,cpuacct:/docker/x\n0::/\n")
    older = tmp_path / "cpu/docker/x"
    older.mkdir(parents=True)
    (older / "cpu.cfs_quota_us").write_text("50000\n")
    (older / "cpu.cfs_period_us").write_text("100000\n")
    assert devices._cgroup_quota(tmp_path, told) == 1


def test_cores_are_those_of_affinity_and_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    for quota, cores in ((None, 6), (2, 2), (64, 6)):
        monkeypatch.setattr(devices, "_cgroup_quota", lambda quota=quota: quota)
        assert devices.allowed_cores() == cores


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_a_precision_is_the_type_that_is_computed_in(precision: Precision, dtype: torch.dtype) -> None:
    context = Device("cpu", precision).autocast()
    assert isinstance(context, torch.autocast)
    assert context.fast_dtype == dtype
    assert context.device == "cpu"
    assert not isinstance(Device("cpu", "fp32").autocast(), torch.autocast)
    assert not isinstance(Device("cpu", precision).autocast("fp32"), torch.autocast)


@pytest.mark.parametrize(
    ("capability", "precision"), [((7, 0), "fp32"), ((7, 5), "fp32"), ((8, 0), "bf16"), ((9, 0), "bf16")]
)
def test_bf16_is_for_gpus_that_compute_in_it(
    capability: tuple[int, int], precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From Ampere on; the ones before only pretend to."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
    assert devices.choose("cuda").precision == precision
    assert devices.choose("cuda", "fp16").precision == "fp16"


def test_threads_wait_asleep_unless_someone_said_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
    for name in names:
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    devices.wait_without_spinning()
    assert not any(name in os.environ for name in names), "torch is here already, and would not hear it"
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    devices.wait_without_spinning()
    assert "GOMP_SPINCOUNT" not in os.environ
    monkeypatch.delenv("OMP_WAIT_POLICY")
    devices.configure_threads()
    assert os.environ["GOMP_SPINCOUNT"] == os.environ["KMP_BLOCKTIME"] == "0"


def test_large_tensors_lie_in_large_pages_unless_someone_said_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "THP_MEM_ALLOC_ENABLE"
    monkeypatch.setenv(name, "")  # so that it is put back
    monkeypatch.delenv(name)
    devices.configure_threads()
    assert name not in os.environ, "torch is here already, and would not hear it"
    monkeypatch.delitem(sys.modules, "torch")
    devices.configure_threads()
    assert os.environ[name] == "1"
    monkeypatch.setenv(name, "0")
    devices.configure_threads()
    assert os.environ[name] == "0"


@pytest.mark.parametrize(
    ("network", "reported", "wanted"),
    [("glean-128", True, None), ("glean-128", False, "1"), ("gfpgan-1.4", True, "1"), ("auto", True, "1")],
)
def test_what_loses_by_large_pages_has_none_where_a_host_takes_free_ones_back(
    network: str, reported: bool, wanted: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name, file = "THP_MEM_ALLOC_ENABLE", tmp_path / "page_reporting_order"
    if reported:
        file.write_text("9\n")
    monkeypatch.setattr(devices, "_REPORTED", file)
    monkeypatch.setenv(name, "")  # so that it is put back
    monkeypatch.delenv(name)
    monkeypatch.delitem(sys.modules, "torch")
    devices.configure_threads(network=network)
    assert os.environ.get(name) == wanted
    monkeypatch.setenv(name, "1")
    devices.configure_threads(network=network)
    assert os.environ[name] == "1", "somebody asked for them"


def test_networks_without_large_pages_are_known_by_all_their_names() -> None:
    tables = {weights.resolve(name).name: weights.resolve(name) for name in devices._SMALL_PAGES}
    assert sorted(tables) == ["codeformer", "glean-128"]
    assert {*tables, *(alias for table in tables.values() for alias in table.aliases)} == {*devices._SMALL_PAGES}


def test_kernels_of_few_sizes_are_kept_unless_someone_said_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    names = "ONEDNN_PRIMITIVE_CACHE_CAPACITY", "DNNL_PRIMITIVE_CACHE_CAPACITY"
    for name in names:
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    devices.configure_threads()
    assert not any(name in os.environ for name in names), "torch is here already, and would not hear it"
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setenv(names[1], "64")
    devices.configure_threads()
    assert names[0] not in os.environ
    monkeypatch.delenv(names[1])
    devices.configure_threads()
    assert os.environ[names[0]] == "320"


def test_a_run_says_which_network_faces_go_through_before_torch_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    picture(Path("a.png"))
    said = []
    monkeypatch.setattr(devices, "configure_threads", lambda *given: said.append(given))
    restore(capsys, "a.png", "--model", "tiny", "--background", "lanczos", "--offline", "--threads", "1")
    assert said == [(1, "tiny")]


@pytest.mark.usefixtures("threads")
def test_a_run_computes_with_as_many_threads_as_it_has_cores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not with as many as the machine has: a container's share of it is what counts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    picture(Path("a.png"))
    torch.set_num_threads(2)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    command = ("a.png", "--model", "tiny", "--background", "lanczos", "--offline", "--overwrite")
    restore(capsys, *command)
    assert torch.get_num_threads() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "3,1")
    restore(capsys, *command)
    assert torch.get_num_threads() == 3, "who sets it has decided; also for networks that are loaded already"
