"""Weights in mapped files are given back while nothing computes with them, and a run with low memory does so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from restorer.engine.device import Device, choose
from restorer.engine.mapped import MappedPages, give_back_after_use
from restorer.engine.pool import Pool
from restorer.engine.torch_engine import TorchNetwork
from restorer.evaluation.ageing import photograph
from restorer.models import REGISTRY
from restorer.weights import FileHeader, Table, load_state_dict, resolve, write
from tests.support.albums import environment
from tests.support.in_process import restore

linux = pytest.mark.skipif(sys.platform != "linux", reason="another system")
ARGUMENTS = {"out_size": 64, "narrow": 0.5}


def held(path: Path) -> int:
    """Return how many bytes of a mapped file are in this process's memory."""
    kilobytes, here = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        word = line.split()
        if "-" in word[0]:
            here = line.endswith(str(path))
        elif here and word[0] == "Rss:":
            kilobytes += int(word[1])
    return kilobytes * 1024


@pytest.fixture(params=["safetensors", "pth"])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    torch.manual_seed(0)
    state = {"one": torch.rand(1 << 18), "small": torch.rand(3), "two": torch.rand(1 << 18)}
    path = tmp_path / f"weights.{request.param}"
    save_file(state, path) if request.param == "safetensors" else torch.save(state, path)
    return path


@linux
def test_what_was_read_goes_and_comes_again(stored: Path) -> None:
    state = load_state_dict(stored, "mine")
    before = {name: value.sum() for name, value in state.items()}
    assert held(stored) > 1_900_000
    mapped = MappedPages()
    pages = mapped.of(state.values())
    assert len(pages) == 2  # a small one is left alone
    mapped.give_back(pages)
    assert held(stored) < 300_000
    assert all(torch.equal(value.sum(), before[name]) for name, value in state.items())


@linux
def test_a_file_whose_tensors_were_written_to_is_left_alone(stored: Path) -> None:
    state = load_state_dict(stored, "mine")
    state["one"][5] = 7.0
    mapped = MappedPages()
    mapped.give_back(mapped.of(state.values()))
    assert state["one"][5] == 7.0


def test_tensors_of_the_process_itself_are_left_alone(tmp_path: Path) -> None:
    mapped = MappedPages()
    assert mapped.of([torch.rand(1 << 18), torch.rand(1 << 18, device="meta")]) == []
    nowhere = MappedPages(tmp_path / "none")
    assert nowhere.of([torch.rand(1 << 18)]) == []


@pytest.fixture(scope="module")
def restorer_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A face restorer of 64 pixels, with weights by lot."""
    torch.manual_seed(1)
    network = REGISTRY["gfpgan"].build({**REGISTRY["gfpgan"].defaults, **ARGUMENTS})
    state = {name: torch.randn(value.shape) / 30 for name, value in network.state_dict().items()}
    path = tmp_path_factory.mktemp("low") / "mine.safetensors"
    write(state, path, FileHeader("gfpgan", {**REGISTRY["gfpgan"].defaults, **ARGUMENTS}, ""))
    return path


@pytest.fixture
def table(restorer_file: Path) -> Table:
    return resolve(str(restorer_file))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_picture_with_low_memory(table: Table, restorer_file: Path, precision: str) -> None:
    faces = torch.rand(1, 3, 64, 64) * 2 - 1
    found = {}
    for low in (False, True):
        network = TorchNetwork(REGISTRY.load(table, restorer_file), choose("cpu", precision, low_memory=low))
        found[low] = network(faces)
        assert torch.equal(network(faces), found[low])  # the second time its weights come again
        assert (network.facts.get("memory") == "low") == low
    assert network.facts["convolutions"] in ("direct", "packed")
    spread = (found[True] - found[False]).std() / found[False].std()
    assert spread < 1e-5, spread


@linux
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_hardly_anything_of_the_file_stays_in_memory(table: Table, restorer_file: Path, precision: str) -> None:
    whole = restorer_file.stat().st_size
    faces = torch.rand(1, 3, 64, 64) * 2 - 1
    network = TorchNetwork(REGISTRY.load(table, restorer_file), choose("cpu", precision, low_memory=True))
    peak = 0

    def look(*_: object) -> None:
        nonlocal peak
        peak = max(peak, held(restorer_file))

    for part in network._loaded.network.modules():
        if not list(part.children()):
            part.register_forward_hook(look)
    network(faces)
    assert held(restorer_file) < whole / 10
    assert peak < whole / 2
    if precision == "fp32":
        plain = TorchNetwork(REGISTRY.load(table, restorer_file), choose("cpu", "fp32"))
        plain(faces)
        assert held(restorer_file) > whole / 2


@linux
def test_weights_are_cast_without_the_whole_file_in_memory(table: Table, restorer_file: Path) -> None:
    loaded = REGISTRY.load(table, restorer_file)
    kept = next(iter(loaded.network.parameters())).data  # so that the file stays mapped
    TorchNetwork(loaded, Device("cpu", "bf16"))
    assert held(restorer_file) < restorer_file.stat().st_size / 10
    assert torch.isfinite(kept).all()


@linux
def test_a_part_that_is_called_gives_back(stored: Path) -> None:
    values = load_state_dict(stored, "mine")["two"]
    layer = nn.Linear(512, 512, bias=False)
    layer.weight = nn.Parameter(values.view(512, 512), requires_grad=False)
    assert give_back_after_use(layer) > 1_000_000
    first = layer(torch.ones(1, 512))
    assert held(stored) < 300_000
    assert torch.equal(layer(torch.ones(1, 512)), first)


def test_networks_of_either_kind_are_not_mixed_up() -> None:
    pool, detector = Pool(), resolve("tiny-detector")
    plain = pool.get(detector, Device("cpu", "fp32"), offline=True)
    assert pool.get(detector, Device("cpu", "fp32", low_memory=True), offline=True) is not plain


@pytest.mark.parametrize(
    ("precision", "low", "wanted"), [("fp32", False, 0), ("bf16", False, 1), ("fp32", True, 3), ("bf16", True, 3)]
)
def test_what_packing_leaves_behind_goes_once_and_what_calls_leave_only_with_low_memory(
    table: Table, restorer_file: Path, precision: str, low: bool, wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    trimmed: list[None] = []
    monkeypatch.setattr("restorer.engine.memory.trim_heap", lambda: trimmed.append(None))
    network = TorchNetwork(REGISTRY.load(table, restorer_file), choose("cpu", precision, low_memory=low))
    for _ in range(3):
        network(torch.rand(1, 3, 64, 64))
    assert len(trimmed) == wanted


BLOCKS = """
import resource, sys
from pathlib import Path
from restorer.engine.memory import return_large_blocks
if "{call}":
    return_large_blocks()
import torch
def here():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
torch.ones(1 << 22)  # 16 MiB, after which GNU's C library puts such blocks among others
blocks = [torch.ones(1 << 20) for _ in range(40)]  # 4 MiB each
before = here()
blocks = blocks[1::2]
print((before - here()) >> 20)
"""


@linux
def test_large_blocks_go_back_at_once_unless_the_user_tells_the_allocator_something() -> None:
    if "glibc" not in (os.confstr("CS_GNU_LIBC_VERSION") or ""):
        pytest.skip("another C library")
    own = {key: value for key, value in environment().items() if not key.startswith(("MALLOC_", "GLIBC_"))}
    gone = {}
    for call, more in ((True, {}), (True, {"MALLOC_MMAP_THRESHOLD_": str(1 << 25)})):
        words = [sys.executable, "-c", BLOCKS.format(call=call)]
        done = subprocess.run(words, env={**own, **more}, capture_output=True, text=True, check=True)
        gone[bool(more)] = int(done.stdout)
    assert gone[False] > 60
    assert gone[True] < 20


def test_the_command_says_that_it_took_less_memory(
    restorer_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(photograph()).resize((64, 64)).save(tmp_path / "a.png")
    out = tmp_path / "out.png"
    words = ("--model", str(restorer_file), "--aligned", "--background", "lanczos", "--always", "--device", "cpu")
    more = ("--precision", "fp32", "--offline", "--json", "-o", str(out))
    record = json.loads(restore(capsys, str(tmp_path / "a.png"), *words, *more, "--low-memory").out)
    (facts,) = record["networks"].values()
    assert (facts["memory"], facts["convolutions"]) == ("low", "direct")
    again = json.loads(restore(capsys, str(tmp_path / "a.png"), *words, *more).out)
    assert again["status"] == "skipped"  # the picture is the same, so it is not made anew
