"""Networks are loaded once and shared by all who ask for the same; with the last one who uses it, a network goes."""

from __future__ import annotations

import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from restorer import weights
from restorer.engine.device import Device
from restorer.engine.network import Network
from restorer.engine.pool import POOL, Pool, engines
from restorer.engine.torch_engine import TorchEngine, TorchNetwork
from restorer.errors import UsageError, WeightsUnavailableError
from restorer.options import Options
from restorer.pipeline.components import Components
from restorer.weights import Table

FP32 = Device("cpu", "fp32")
BF16 = Device("cpu", "bf16")


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the networks that are loaded, as they are."""
    seen: list[str] = []
    load = TorchEngine.load

    def counted(engine: TorchEngine, table: Table, path: Path, device: Device) -> TorchNetwork:
        seen.append(table.name)
        return load(engine, table, path, device)

    monkeypatch.setattr(TorchEngine, "load", counted)
    return seen


def test_the_same_table_twice_is_one_network(loads: list[str]) -> None:
    pool, table = Pool(), weights.resolve("tiny-detector")
    first = pool.get(table, FP32, offline=True)
    assert pool.get(weights.resolve("tiny-detector"), Device("cpu", "fp32"), offline=True) is first
    assert (first.name, first.device, first.precision) == ("tiny-detector", FP32, "fp32")
    assert loads == ["tiny-detector"]
    assert len(pool) == 1


def test_a_network_whose_file_has_gone_is_loaded_from_where_its_weights_are_now(
    loads: list[str], tmp_path: Path
) -> None:
    """It may have to read them once more: in fp32, when bf16 fails."""
    pool = Pool()
    shipped = weights.fetch(weights.resolve("tiny-detector"), offline=True)
    first, second = tmp_path / "a" / "mine.safetensors", tmp_path / "b" / "mine.safetensors"
    for file in (first, second):
        file.parent.mkdir()
        file.write_bytes(shipped.read_bytes())
    held = pool.get(weights.resolve(str(first)), BF16, offline=True)
    assert pool.get(weights.resolve(str(second)), BF16, offline=True) is held
    first.unlink()
    now = pool.get(weights.resolve(str(second)), BF16, offline=True)
    assert now is not held
    assert pool.get(weights.resolve(str(second)), BF16, offline=True) is now
    assert len(loads) == 2


def test_another_precision_table_or_name_is_another_network(loads: list[str]) -> None:
    pool, table = Pool(), weights.resolve("tiny-detector")
    others = [
        pool.get(table, FP32, offline=True),
        pool.get(table, BF16, offline=True),
        pool.get(weights.resolve("tiny-upscaler"), FP32, offline=True),
        pool.get(replace(table, name="mine"), FP32, offline=True),  # records name it
    ]
    assert len({id(network) for network in others}) == len(pool) == len(loads) == 4
    assert [network.precision for network in others] == ["fp32", "bf16", "fp32", "fp32"]
    assert Pool().get(table, FP32, offline=True) is not others[0]


def test_a_network_goes_with_its_last_user(loads: list[str]) -> None:
    pool, table = Pool(), weights.resolve("tiny-detector")
    users = [pool.get(table, FP32, offline=True) for _ in range(2)]
    users.pop()
    gc.collect()
    assert len(pool) == 1
    users.clear()
    gc.collect()
    assert len(pool) == 0
    users.append(pool.get(table, FP32, offline=True))
    assert loads == ["tiny-detector"] * 2


def test_of_many_threads_the_first_loads_and_the_others_wait(loads: list[str]) -> None:
    pool, table, together = Pool(), weights.resolve("tiny-detector"), threading.Barrier(8)

    def ask(_number: int) -> Network:
        together.wait()
        return pool.get(table, FP32, offline=True)

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(ask, range(8)))
    assert len({id(network) for network in found}) == 1
    assert loads == ["tiny-detector"]


def test_two_restorers_share_what_they_have_in_common(loads: list[str]) -> None:
    pool = Pool()
    options = Options(model="tiny", detector="tiny-detector", device="cpu", precision="fp32", offline=True)
    one, other = Components(options, pool=pool), Components(replace(options, scale=4.0, seed=None), pool=pool)
    models = [components.network(weights.resolve("tiny")) for components in (one, other)]
    detectors = [components.network(weights.resolve("tiny-detector")) for components in (one, other)]
    assert models[0] is models[1]
    assert detectors[0] is detectors[1]
    assert sorted(loads) == ["tiny", "tiny-detector"]
    low = Components(replace(options, precision="bf16"), pool=pool)
    assert low.network(weights.resolve("tiny")) is not models[0]
    assert Components(options).network(weights.resolve("tiny")) is POOL.get(weights.resolve("tiny"), FP32, offline=True)


def test_what_cannot_be_had_is_an_error_and_leaves_nothing() -> None:
    pool, table = Pool(), weights.resolve("tiny-detector")
    with pytest.raises(UsageError, match="no engine 'abacus'") as found:
        pool.get(table, FP32, engine="abacus", offline=True)
    assert "torch" in str(found.value.remedy)
    with pytest.raises(WeightsUnavailableError):
        pool.get(weights.resolve("gfpgan"), FP32, offline=True)
    assert len(pool) == 0


def test_torch_is_an_engine() -> None:
    assert engines()["torch"].name == "torch"
