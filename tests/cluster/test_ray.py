"""A real cluster: three raylets on this machine, as `ray.cluster_utils` starts them for tests of Ray itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from restorer.batch.journal import NAME
from tests.support.albums import PLAIN, ROOT, Album, album, command, environment, files, run

ray = pytest.importorskip("ray", reason="the extra `cluster` is not installed")
pytestmark = [pytest.mark.skipif(os.name == "nt", reason="Ray's test clusters are for Linux and macOS")]

GOOD, BROKEN = 30, 3
STORE = 100 * 2**20
"""Bytes of a raylet's object store."""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Album:
    return album(tmp_path_factory.mktemp("tree") / "album", GOOD, BROKEN)


@pytest.fixture(scope="module")
def calm(tree: Album) -> dict[str, bytes]:
    """What one machine makes of the album."""
    run(tree.folder.parent, "album", "-o", "calm", *PLAIN, "--offline", code=1)
    return files(tree.folder.parent / "calm")


class Machines:
    """Three raylets of one CPU each; the first is the head, where the driver is too."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.others = [self.add() for _ in range(2)]

    def add(self) -> Any:
        return self.cluster.add_node(num_cpus=1, object_store_memory=STORE)

    @property
    def address(self) -> str:
        return str(self.cluster.address)


@pytest.fixture
def machines() -> Iterator[Machines]:
    made = Machines()
    yield made
    made.cluster.shutdown()


def begun(folder: Path, *words: str) -> subprocess.Popen[str]:
    """Start `restore` in a folder."""
    return subprocess.Popen(
        command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder, env=environment()
    )


def wait_for(folder: Path, count: int, process: subprocess.Popen[str]) -> None:
    """Wait until so many results are in a folder, or the process has ended."""
    while process.poll() is None and sum(1 for _ in folder.rglob("*_restored.*")) < count:
        time.sleep(0.05)


def left_over(folder: Path) -> list[str]:
    return [str(path) for path in folder.rglob(".restorer*") if path.name != NAME]


@pytest.mark.slow
def test_a_cluster_of_this_machine_gives_the_same(tree: Album, calm: dict[str, bytes]) -> None:
    words = ("album", "-o", "local", *PLAIN, "--offline", "--cluster", "local", "--workers", "2", "--json")
    done = run(tree.folder.parent, *words, code=1)
    assert len([json.loads(line) for line in done.stdout.splitlines()]) == GOOD + BROKEN
    found = files(tree.folder.parent / "local")
    assert found.keys() == calm.keys()
    assert all(found[name] == calm[name] for name in calm if name != NAME)
    assert left_over(tree.folder.parent / "local") == []


@pytest.mark.slow
def test_a_worker_and_a_machine_die_and_nothing_is_lost_or_done_twice(
    tree: Album, calm: dict[str, bytes], machines: Machines
) -> None:
    out = tree.folder.parent / "killed"
    words = ("album", "-o", "killed", *PLAIN, "--offline", "--cluster", machines.address, "--json")
    process = begun(tree.folder.parent, *words)
    wait_for(out, 4, process)
    workers = subprocess.run(["pgrep", "-f", "ray::MapWorker"], capture_output=True, text=True, check=False)
    if workers.stdout.split():
        os.kill(int(workers.stdout.split()[0]), signal.SIGKILL)
    wait_for(out, 10, process)
    machines.cluster.remove_node(machines.others[0], allow_graceful=False)
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 1, stderr
    told = [json.loads(line) for line in stdout.splitlines()]
    names = [f"album/{path.as_posix()}" for path in (*tree.good, *tree.broken)]
    assert sorted(each["input"] for each in told) == sorted(names)
    found = files(out)
    assert {name: data for name, data in found.items() if name != NAME} == {
        name: data for name, data in calm.items() if name != NAME
    }
    assert left_over(out) == []
    again = run(tree.folder.parent, "album", "-o", "killed", *PLAIN, "--offline", code=1)
    assert f"{GOOD} done already" in again.stderr


@pytest.mark.slow
def test_the_heads_death_ends_in_words_and_ctrl_c_leaves_nothing(tree: Album, machines: Machines) -> None:
    folder = tree.folder.parent
    process = begun(folder, "album", "-o", "stopped", *PLAIN, "--offline", "--cluster", machines.address)
    wait_for(folder / "stopped", 3, process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "The same command goes on where this one stopped." in said
    assert left_over(folder / "stopped") == []
    process = begun(folder, "album", "-o", "lost", *PLAIN, "--offline", "--cluster", machines.address)
    wait_for(folder / "lost", 3, process)
    machines.cluster.remove_node(machines.cluster.head_node, allow_graceful=False)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 1, said
    assert "cluster" in said.splitlines()[-2]
    again = run(folder, "album", "-o", "lost", *PLAIN, "--offline", code=1)
    assert "done already" in again.stderr


POISON = """
import os, signal, sys
from importlib.machinery import PathFinder

class Poison:
    def find_spec(self, name, path=None, target=None):
        if name != "restorer.batch.one":
            return None
        spec = PathFinder.find_spec(name, path)
        load = spec.loader.exec_module
        def exec_module(module):
            load(module)
            take = module.OnePhoto.take
            def deadly(one, job):
                if job.source.name == "poison.png":
                    os.kill(os.getpid(), signal.SIGKILL)
                return take(one, job)
            module.OnePhoto.take = deadly
        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Poison())
"""
"""What every Python of the cluster runs first: whoever restores a photo of one name dies of it."""


@pytest.mark.slow
def test_a_photo_that_kills_its_process_twice_fails_by_name_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = album(tmp_path / "album", 12, 0)
    poison = sorted(made.folder / path for path in made.good)[5].rename(made.folder / "poison.png")
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(POISON)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path / "hook"), str(ROOT))))
    machines = Machines()
    try:
        words = ("album", "-o", "out", *PLAIN, "--offline", "--cluster", machines.address, "--json")
        done = run(tmp_path, *words, code=1)
    finally:
        machines.cluster.shutdown()
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(told) == 12
    (failed,) = [each for each in told if each["status"] == "failed"]
    assert (failed["error"]["kind"], failed["input"]) == ("ProcessKilled", f"album/{poison.name}")
    assert len([name for name in files(tmp_path / "out") if name != NAME]) == 11
    assert left_over(tmp_path / "out") == []
    again = run(tmp_path, "album", "-o", "out", *PLAIN, "--offline", code=1)
    assert "11 done already" in again.stderr
    assert "1 failed (all in an earlier run" in again.stderr


def test_a_cluster_that_is_not_there_is_said(tree: Album) -> None:
    words = ("album", "-o", "none", *PLAIN, "--offline", "--cluster", "127.0.0.1:9")
    done = run(tree.folder.parent, *words, code=1)
    assert "cannot be joined" in done.stderr
    assert "Traceback" not in done.stderr
