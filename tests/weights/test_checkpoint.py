"""Reading checkpoints: nothing inside them runs, wrappers come off, and files of our own say what they are."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from restorer import weights
from restorer.errors import (
    CheckpointLayoutError,
    HashMismatchError,
    InvalidTableError,
    OutputExistsError,
    UnsafeCheckpointError,
    UsageError,
)
from restorer.models import REGISTRY
from restorer.models.importer import import_checkpoint
from restorer.weights.checkpoint import open_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol", "ignore:.*torch.jit.*:FutureWarning")

SMALL = {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_conv": 2, "upscale": 2, "act_type": "prelu"}
"""Arguments of a compact upscaler, a real architecture that is small enough to fill at random."""


class Program:
    """Pickles as a call of any function."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def upstream() -> dict[str, torch.Tensor]:
    """Return a compact upscaler's checkpoint as upstream names it: `body.N.weight`."""
    torch.manual_seed(5)
    network = REGISTRY["srvggnet"].build(SMALL)
    return {key.removeprefix("net."): torch.randn_like(value) for key, value in network.state_dict().items()}


def result(table: weights.Table) -> torch.Tensor:
    """Return what the network of a table makes of a fixed picture."""
    network = REGISTRY.load(table, weights.fetch(table)).network
    with torch.inference_mode():
        output: torch.Tensor = network(torch.linspace(-1, 1, 3 * 16 * 16).reshape(1, 3, 16, 16))
    return output


# ------------------------------------------------------------------------------------------------ nothing runs


@pytest.mark.parametrize("form", ["zip", "old", "pickle", "pickle4", "safetensors suffix"])
@pytest.mark.parametrize(
    ("function", "name"), [(os.system, "system"), (exec, "exec"), (os.mkdir, "mkdir")], ids=["system", "exec", "mkdir"]
)
def test_a_program_in_a_checkpoint_is_refused_unrun(
    tmp_path: Path, form: str, function: Callable[..., object], name: str
) -> None:
    marker = tmp_path / "it_ran"
    argument = {os.system: f"mkdir {marker}", exec: f"import os; os.mkdir({str(marker)!r})"}.get(function, str(marker))
    content = {"params_ema": {"weight": torch.ones(3), "extra": Program(function, argument)}}
    file = tmp_path / ("evil.safetensors" if form == "safetensors suffix" else "evil.pth")
    if form.startswith("pickle"):
        content["params_ema"]["weight"] = 1
        file.write_bytes(pickle.dumps(content, protocol=4 if form == "pickle4" else 2))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=form != "old")
    with pytest.raises(UnsafeCheckpointError, match=name) as caught:
        weights.load_state_dict(file, "thing")
    assert caught.value.exit_code == 3
    assert str(file) in caught.value.message
    assert not marker.exists()
    with pytest.raises(UnsafeCheckpointError):
        import_checkpoint(file, tmp_path / "out.safetensors")
    assert not marker.exists()
    assert not (tmp_path / "out.safetensors").exists()
    if form.startswith("pickle"):
        pickle.loads(file.read_bytes())  # noqa: S301
    else:
        torch.load(io.BytesIO(file.read_bytes()), weights_only=False)
    assert marker.exists(), "it would have run elsewhere"


def test_a_whole_module_is_refused(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pth")
    with pytest.raises(UnsafeCheckpointError, match="Linear"):
        weights.load_state_dict(tmp_path / "module.pth", "thing")


class Wrapped(torch.nn.Module):
    """A network inside an object, as authors wrap theirs for a program."""

    def __init__(self) -> None:
        super().__init__()
        layers = torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Conv2d(4, 3, 1).half().float()
        self.model = torch.nn.Sequential(*layers)
        self.register_buffer("seen", torch.arange(6).reshape(2, 3).T)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.model(x) + self.seen.sum()  # type: ignore[operator]
        return result


@pytest.mark.parametrize("how", ["trace", "script"])
def test_of_a_compiled_program_the_tensors_are_taken_and_nothing_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    module = Wrapped().eval()
    trace: Any = torch.jit.trace
    program = trace(module, torch.ones(1, 3, 8, 8)) if how == "trace" else torch.jit.script(module)
    save: Any = torch.jit.save
    save(program, tmp_path / "program.pt")
    monkeypatch.setattr(torch.jit, "load", lambda *_: pytest.fail("it was run"))
    found = weights.load_state_dict(tmp_path / "program.pt", "thing")
    wanted = module.state_dict()
    assert set(found) == set(wanted)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    os.truncate(tmp_path / "program.pt", (tmp_path / "program.pt").stat().st_size // 2)
    with pytest.raises(CheckpointLayoutError, match=r"program\.pt"):
        weights.load_state_dict(tmp_path / "program.pt", "thing")


@pytest.mark.parametrize("harm", ["calls", "beyond", "stride", "endless", "no storage"])
def test_a_program_that_asks_for_more_is_refused_unrun(tmp_path: Path, harm: str) -> None:
    """Pickles by hand: a call of the system, tensors larger than their bytes, and an object inside itself."""
    marker = tmp_path / "marker"
    storage = b"(Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nI4\ntQ"
    storage = b"(Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nI4\ntQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"I0\n(I%d\nt(I%d\ntI00\n}tR"
    body = {
        "calls": f"cos\nsystem\n(Vtouch {marker}\ntR".encode(),
        "beyond": tensor % (5, 1),
        "stride": tensor % (2, 1000),
        "endless": b"}p0\nVown\ng0\ns",
        "no storage": (tensor % (4, 1)).replace(b"V0\n", b"V7\n"),
    }[harm]
    with zipfile.ZipFile(tmp_path / "program.pt", "w") as archive:
        archive.writestr("a/data.pkl", b"c__torch__\nNet\n)\x81}Vweight\n" + body + b"sb.")
        archive.writestr("a/data/0", bytes(16))
        archive.writestr("a/code/__torch__.py", "")
        archive.writestr("a/constants.pkl", b").")
    with pytest.raises((UnsafeCheckpointError, CheckpointLayoutError), match=r"program\.pt"):
        weights.load_state_dict(tmp_path / "program.pt", "thing")
    assert not marker.exists()
    fine = b"c__torch__\nNet\n)\x81}Vweight\n" + tensor % (4, 1) + b"sb."
    with zipfile.ZipFile(tmp_path / "other.pt", "w") as archive:
        archive.writestr("a/data.pkl", fine)
        archive.writestr("a/data/0", bytes(16))
        archive.writestr("a/constants.pkl", b").")
    assert weights.load_state_dict(tmp_path / "other.pt", "thing")["weight"].shape == (4,)


@pytest.mark.parametrize("damage", ["empty", "text", "cut zip", "cut old", "cut safetensors", "no tensors", "png"])
def test_what_is_no_checkpoint_is_an_error_that_names_it(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "file.pth"
    if damage == "cut zip":
        torch.save(upstream(), file)
    elif damage == "cut old":
        torch.save(upstream(), file, _use_new_zipfile_serialization=False)
    elif damage == "cut safetensors":
        save_file(upstream(), file)
    elif damage == "no tensors":
        torch.save({"epoch": 3, "state_dict": {}}, file)
    else:
        file.write_bytes({"empty": b"", "text": b"just words\n" * 9, "png": b"\x89PNG\r\n\x1a\n" + bytes(90)}[damage])
    if damage.startswith("cut"):
        os.truncate(file, file.stat().st_size - 300)
    with pytest.raises(CheckpointLayoutError, match=r"file\.pth") as caught:
        weights.load_state_dict(file, "thing")
    assert caught.value.exit_code == 3


# -------------------------------------------------------------------------------------------------- wrappers


def _ema(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key: value + 1 for key, value in state.items()}


WRAPPED: dict[str, Callable[[dict[str, torch.Tensor]], Any]] = {
    "bare": lambda state: state,
    "params": lambda state: {"params": state},
    "params beside the average": lambda state: {"params": _ema(state), "params_ema": state},
    "rosinality": lambda state: {"g": _ema(state), "d": {"w": torch.ones(5)}, "g_ema": state, "g_optim": {"state": {}}},
    "mmagic": lambda state: {"meta": {"iter": 3, "time": "now"}, "state_dict": OrderedDict(state), "optimizer": {}},
    "mmagic, two generators": lambda state: {
        "state_dict": {
            **{f"generator.{key}": value for key, value in _ema(state).items()},
            **{f"generator_ema.{key}": value for key, value in state.items()},
            "discriminator.w": torch.ones(5),
        }
    },
    "epoch": lambda state: {"epoch": 7, "net_state_dict": state},
    "parallel": lambda state: {f"module.{key}": value for key, value in state.items()},
    "two wrappers": lambda state: {"state_dict": {"params_ema": state}},
    "parameters": lambda state: {key: torch.nn.Parameter(value) for key, value in state.items()},
}


@pytest.mark.parametrize("old", [False, True], ids=["zip", "old"])
@pytest.mark.parametrize("wrapping", WRAPPED)
def test_every_wrapper_comes_off(tmp_path: Path, wrapping: str, old: bool) -> None:
    state = {"body.0.weight": torch.randn(2, 3), "body.0.bias": torch.randn(2)}
    torch.save(WRAPPED[wrapping](state), tmp_path / "file.pth", _use_new_zipfile_serialization=not old)
    found = weights.load_state_dict(tmp_path / "file.pth", "thing")
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], state[key]) for key in state)
    assert not any(value.requires_grad for value in found.values())


def test_files_are_known_by_their_content(tmp_path: Path) -> None:
    state = {"w": torch.randn(3)}
    torch.save(state, tmp_path / "zip.safetensors")
    save_file(state, tmp_path / "safe.pth")
    for name in ("zip.safetensors", "safe.pth"):
        assert torch.equal(weights.load_state_dict(tmp_path / name, "thing")["w"], state["w"])


def test_what_a_file_holds_besides_is_counted(tmp_path: Path) -> None:
    state = {"w": torch.zeros(4)}
    torch.save({"g_ema": state, "g": {"w": torch.zeros(4)}, "d": {"w": torch.zeros(9)}, "step": 3}, tmp_path / "a.pt")
    assert open_checkpoint(tmp_path / "a.pt", "thing").left == {"g": 4, "d": 9}
    torch.save({"generator_ema.w": torch.zeros(4), "discriminator.w": torch.zeros(9)}, tmp_path / "b.pt")
    assert open_checkpoint(tmp_path / "b.pt", "thing").left == {"discriminator": 9}


def test_tensors_saved_on_a_gpu_come_to_the_cpu(shared: Path) -> None:
    state = weights.load_state_dict(shared / "weights" / "retinaface_mobilenet0.25.pth", "thing")
    assert len(state) == 300
    assert {value.device.type for value in state.values()} == {"cpu"}
    assert not any(key.startswith("module.") for key in state)


# ---------------------------------------------------------------------------------------------- files of our own


def test_import_writes_what_the_network_uses_and_loads_the_same(tmp_path: Path) -> None:
    state = upstream()
    source = tmp_path / "upstream.pth"
    torch.save({"params": _ema(state), "params_ema": state}, source)
    original = weights.Table("original", "srvggnet", {"act_type": "prelu"}, (f"file:{source}",), sha256=_sha256(source))
    done = import_checkpoint(source)
    assert done.path == tmp_path / "upstream.safetensors"
    assert done.architecture == "srvggnet"
    assert done.dropped == {"params": sum(value.numel() for value in state.values())}
    assert done.written_bytes < 0.75 * done.source_bytes
    about = weights.about(done.path)
    assert about is not None
    assert about.origin == "upstream.pth"
    assert about.origin_sha256 == _sha256(source)
    assert {key: about.arguments[key] for key in SMALL} == SMALL
    table = weights.resolve(str(done.path))
    assert (table.architecture, table.name) == ("srvggnet", "upstream")
    assert torch.equal(result(table), result(original))
    again = import_checkpoint(source, tmp_path / "again.safetensors")
    assert again.path.read_bytes() == done.path.read_bytes(), "the same checkpoint gives the same bytes"
    assert done.path.stat().st_mode & 0o777 == source.stat().st_mode & 0o777
    assert not list(tmp_path.glob(".*"))


def test_a_file_of_our_own_is_not_translated_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(upstream(), tmp_path / "upstream.pth")
    table = weights.resolve(str(import_checkpoint(tmp_path / "upstream.pth").path))

    def convert(*_: object) -> None:
        raise AssertionError("translated twice")

    monkeypatch.setattr(type(REGISTRY["srvggnet"]), "convert", convert)
    assert result(table).shape == (1, 3, 32, 32)


def test_half_precision_is_loaded_as_float32(tmp_path: Path) -> None:
    state = upstream()
    about = weights.FileHeader("srvggnet", SMALL)
    weights.write({f"net.{key}": value.half() for key, value in state.items()}, tmp_path / "half.safetensors", about)
    weights.write({f"net.{key}": value for key, value in state.items()}, tmp_path / "full.safetensors", about)
    half, full = (result(weights.resolve(str(tmp_path / f"{name}.safetensors"))) for name in ("half", "full"))
    assert half.dtype == torch.float32
    assert (half - full).abs().max() < 0.02 * full.std()


def test_a_changed_byte_in_a_file_of_our_own_is_refused(tmp_path: Path) -> None:
    torch.save(upstream(), tmp_path / "upstream.pth")
    path = import_checkpoint(tmp_path / "upstream.pth").path
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    table = weights.resolve(str(path))
    with pytest.raises(HashMismatchError) as caught:
        weights.fetch(table)
    assert caught.value.expected == table.payload_sha256
    assert path.exists()
    os.truncate(path, len(content) - 100)
    with pytest.raises(HashMismatchError):
        weights.fetch(table)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x05",
        struct.pack("<Q", 1 << 40) + b"{}",
        struct.pack("<Q", 9) + b"not JSON!",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 60) + json.dumps({"__metadata__": {"layout": "restorer", "architecture": "x"}}).encode()[:60],
    ],
    ids=range(7),
)
def test_what_only_resembles_a_file_of_our_own_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.safetensors").write_bytes(content)
    assert weights.about(tmp_path / "a.safetensors") is None


def test_tensors_that_share_memory_are_written_apart(tmp_path: Path) -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    state = {"a": whole, "b": whole, "c": whole[1], "d": whole.t()}
    weights.write(state, tmp_path / "a.safetensors", weights.FileHeader("srvggnet"))
    written = load_file(tmp_path / "a.safetensors")
    assert all(torch.equal(written[key], value) for key, value in state.items())


def test_import_refuses_with_a_reason(tmp_path: Path) -> None:
    source = tmp_path / "upstream.pth"
    torch.save(upstream(), source)
    out = tmp_path / "out.safetensors"
    out.write_text("precious")
    with pytest.raises(OutputExistsError):
        import_checkpoint(source, out)
    assert out.read_text() == "precious"
    import_checkpoint(source, out, overwrite=True)
    with pytest.raises(UsageError, match="already"):
        import_checkpoint(out)
    with pytest.raises(UsageError, match="no file"):
        import_checkpoint(tmp_path / "absent.pth")
    with pytest.raises(UsageError, match="no architecture 'gfpgn'"):
        import_checkpoint(source, tmp_path / "b.safetensors", architecture="gfpgn")
    with pytest.raises(CheckpointLayoutError, match="gfpgan"):
        import_checkpoint(source, tmp_path / "b.safetensors", architecture="gfpgan")
    with pytest.raises(InvalidTableError, match="colour"):
        import_checkpoint(source, tmp_path / "b.safetensors", architecture="srvggnet", arguments={"colour": 1})
    torch.save({"what.weight": torch.ones(3)}, source)
    with pytest.raises(CheckpointLayoutError, match="none of the architectures"):
        import_checkpoint(source, tmp_path / "b.safetensors")
    assert not (tmp_path / "b.safetensors").exists()


def test_wrong_shapes_are_named_before_a_tensor_reaches_the_network(tmp_path: Path) -> None:
    state = upstream()
    state["body.0.weight"] = state["body.0.weight"][:, :2]
    file = tmp_path / "wrong.pth"
    torch.save(state, file)
    table = weights.Table("wrong", "srvggnet", SMALL, (f"file:{file}",), sha256=_sha256(file))
    with pytest.raises(CheckpointLayoutError, match=r"body\.0\.weight has shape \[8, 2, 3, 3\], not \[8, 3, 3, 3\]"):
        REGISTRY.load(table, file)


def _sha256(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"hello\n" * 9, "it is text"), ("Größe → 3\n".encode() * 99, "it is text"), (b"", "it is empty"),
        (b"<!DOCTYPE html><html>", "it is a web page"), (b"\n<html><body>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
        (bytes(range(256)) * 9, "neither safetensors nor a PyTorch checkpoint"),
        (b"PK\x03\x04" + bytes(300), "its archive is incomplete"),
    ],
)  # fmt: skip
def test_what_is_in_the_place_of_a_checkpoint_is_said_in_words(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "junk.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointLayoutError, match=reason) as error:
        open_checkpoint(path, "junk")
    assert error.value.remedy
