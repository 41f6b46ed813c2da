"""Where a cluster is, and how many workers: what is understood, what is refused in words, what is not installed."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from restorer.cluster import order
from restorer.cluster.order import Order
from restorer.errors import MissingPackageError, UsageError
from tests.support.in_process import restore


def test_addresses_and_pools() -> None:
    for address in ("local", "auto", "10.0.0.1:6379", "ray://head.example:10001", "[::1]:6379"):
        assert Order.read(address).address == address
    assert Order.read("local", "4") == Order("local", 4, 4)
    assert Order.read("auto", "2-16", 0.5, 0.25) == Order("auto", 2, 16, 0.5, 0.25)


@pytest.mark.parametrize("address", ["", "here", "10.0.0.1", "http://a:80", "ray://a", "local:"])
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(UsageError, match="no address"):
        Order.read(address)


@pytest.mark.parametrize("workers", ["0", "4-2", "0-3", "many", "-3", "3-"])
def test_other_pools_are_refused(workers: str) -> None:
    with pytest.raises(UsageError, match="not understood"):
        Order.read("local", workers)


def test_without_ray_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(order, "find_spec", lambda name: None if name == "ray" else find_spec("os"))
    with pytest.raises(MissingPackageError) as error:
        order.check_installed()
    assert error.value.package == "ray"
    (tmp_path / "a.png").write_bytes(b"no picture")
    said = restore(capsys, str(tmp_path / "a.png"), "--cluster", "local", "--model", "none", "--offline", code=1).err
    assert "--cluster needs Ray Data" in said
    assert "ray[data]" in said


def test_options_that_contradict_each_other_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = tmp_path / "a.png"
    photo.write_bytes(b"no picture")
    for words, wanted in (
        (("--workers", "3"), "--workers is about a cluster"),
        (("--worker-cpus", "0.5"), "--worker-cpus is about a cluster"),
        (("--worker-gpus", "0.5"), "--worker-gpus is about a cluster"),
        (("--cluster", "local", "--shard", "1/2"), "--shard does not go with --cluster"),
    ):
        assert wanted in restore(capsys, str(photo), "--model", "none", "--offline", *words, code=2).err


def test_all_gpus_are_a_worker_on_each(monkeypatch: pytest.MonkeyPatch) -> None:
    from restorer.cli import batches
    from restorer.cli.request import PhotosRequest
    from restorer.options import Options

    for count, cluster, gpus in ((4, "local", 1.0), (1, None, None), (0, None, None)):
        monkeypatch.setattr(batches, "gpu_count", lambda count=count: count)
        options, request = batches.on_all_gpus(Options(device="cuda:all"), PhotosRequest())
        assert (options.device, request.cluster, request.worker_gpus) == ("cuda", cluster, gpus)
    _, request = batches.on_all_gpus(Options(device="cuda:all"), PhotosRequest(cluster="auto", worker_gpus=0.5))
    assert (request.cluster, request.worker_gpus) == ("auto", 0.5)
    plain = Options(device="cuda:1"), PhotosRequest()
    assert batches.on_all_gpus(*plain) == plain


def test_all_gpus_are_nothing_that_a_network_runs_on() -> None:
    from restorer.engine.device import choose
    from restorer.errors import DeviceUnavailableError

    with pytest.raises(DeviceUnavailableError, match="a process for each GPU"):
        choose("cuda:all")


def test_nothing_of_a_cluster_is_imported_without_one() -> None:
    """Neither by the package nor by a run on one machine; Ray Data takes seconds to import."""
    code = (
        "import sys, restorer, restorer.cluster, restorer.cli.run, restorer.batch.run\n"
        "names = ('ray', 'pyarrow', 'pandas', 'fsspec', 'restorer.cluster.run')\n"
        "print([name for name in names if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
