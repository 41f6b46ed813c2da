"""Upscalers of anybody's, through spandrel: recognised, imported, tiled, in half precision; and what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from restorer.engine.device import Device
from restorer.engine.torch_engine import TorchNetwork
from restorer.errors import CheckpointLayoutError, MissingPackageError, UnsafeCheckpointError
from restorer.models import REGISTRY, importer
from restorer.models.importer.named import upscaler_named
from restorer.networks.spandrel_network import read
from restorer.upscaling.tiles import NetworkUpscaler
from restorer.weights import Table
from tests.support.golden import difference

spandrel = pytest.importorskip("spandrel")


def network(module: str, name: str, **arguments: Any) -> Callable[[], nn.Module]:
    """Return what makes a small network of spandrel's with drawn weights."""

    def make() -> nn.Module:
        torch.manual_seed(5)
        found = __import__(f"spandrel.architectures.{module}", fromlist=[name])
        made: nn.Module = getattr(found, name)(**arguments)
        return made.eval()

    return make


NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "ESRGAN": (network("ESRGAN", "ESRGAN", num_filters=16, num_blocks=1, scale=2), 2),
    "SPAN": (network("SPAN", "SPAN", num_in_ch=3, num_out_ch=3, feature_channels=16, upscale=2), 2),
    "PLKSR": (network("PLKSR", "RealPLKSR", dim=16, n_blocks=2, upscaling_factor=1), 1),
    "MoSR": (network("MoSR", "MoSR", dim=16, n_block=2, upscale=2), 2),
    "DAT": (network("DAT", "DAT", embed_dim=24, depth=[1], num_heads=[2], split_size=[4, 8], upscale=2), 2),
    "HAT": (network("HAT", "HAT", embed_dim=24, depths=[1], num_heads=[2], window_size=8, upscale=2,
                    squeeze_factor=8, upsampler="pixelshuffle"), 2),
    "SwinIR": (network("SwinIR", "SwinIR", embed_dim=24, depths=[1], num_heads=[2], window_size=8, upscale=2,
                       upsampler="pixelshuffle"), 2),
    "SCUNet": (network("SCUNet", "SCUNet", config=[1] * 7, dim=64), 1),
    "FBCNN": (network("FBCNN", "FBCNN", nc=[16, 16, 16, 512], nb=4), 1),
    "NAFNet": (network("NAFNet", "NAFNet", width=8, middle_blk_num=1, enc_blk_nums=[1], dec_blk_nums=[1]), 1),
    "RCAN": (network("RCAN", "RCAN", n_resgroups=1, n_resblocks=1, n_feats=16, scale=2, reduction=4), 2),
}  # fmt: skip


def published(name: str, folder: Path) -> Path:
    """Write a network's weights as they are published."""
    path = folder / f"{name}.pth"
    torch.save({"params": NETWORKS[name][0]().state_dict()}, path)
    return path


@pytest.mark.parametrize("name", NETWORKS)
def test_a_published_file_is_recognised_imported_and_tiled(name: str, tmp_path: Path) -> None:
    path = published(name, tmp_path)
    table = upscaler_named(str(path))
    assert (table.architecture, table.arguments["scale"]) == ("spandrel", NETWORKS[name][1])
    loaded = REGISTRY.load(table, path)
    whole = torch.rand(1, 3, 70, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        alone = loaded.network(torch.cat([whole, whole.flip(-1)]) * 2 - 1)
        expected = spandrel.ModelLoader().load_from_file(path)(whole.clone())  # as spandrel itself reads and calls it
    assert difference(alone[:1] * 0.5 + 0.5, expected) < 1e-5
    imported = importer.import_checkpoint(path)
    again = REGISTRY.load(Table("again", imported.architecture, imported.arguments), imported.path)
    with torch.inference_mode():
        assert difference(again.network(whole * 2 - 1), alone[:1]) < 1e-5
    pixels = (whole[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    upscaler = NetworkUpscaler(TorchNetwork(loaded, Device("cpu", "fp32")), tile=64)
    scale = NETWORKS[name][1]
    tiled = upscaler.upscale(pixels, (96 * scale, 70 * scale))
    assert tiled.shape == (70 * scale, 96 * scale, 3)
    half = TorchNetwork(REGISTRY.load(table, path), Device("cpu", "bf16"))
    rough = half(whole * 2 - 1)
    assert torch.isfinite(rough).all()
    assert (rough - alone[:1]).abs().mean() < 0.1


def old_keys(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of an ESRGAN x4 by the names that the first ESRGANs have."""
    names = {
        "conv_first": "model.0", "conv_body": "model.1.sub.1", "conv_up1": "model.3", "conv_up2": "model.6",
        "conv_hr": "model.8", "conv_last": "model.10",
    }  # fmt: skip
    result = {}
    for key, value in state.items():
        head, _, leaf = key.rpartition(".")
        if key.startswith("body."):
            _, block, rdb, conv, _ = key.split(".")
            result[f"model.1.sub.{block}.{rdb.upper()}.{conv}.0.{leaf}"] = value
        else:
            result[f"{names[head]}.{leaf}"] = value
    return result


def test_an_esrgan_of_the_first_kind(tmp_path: Path) -> None:
    """Its answer is that of our own network with the same weights."""
    kind = REGISTRY["rrdbnet"]
    torch.manual_seed(0)
    ours = kind.build({**kind.defaults, "num_feat": 16, "num_block": 1, "num_grow_ch": 32}).eval()
    state = {key.removeprefix("net."): value for key, value in ours.state_dict().items()}
    old = old_keys(state)
    torch.save(old, tmp_path / "old.pth")
    torch.save({"params_ema": state}, tmp_path / "new.pth")
    assert upscaler_named(str(tmp_path / "new.pth")).architecture == "rrdbnet"  # what we know ourselves needs nobody
    table = upscaler_named(str(tmp_path / "old.pth"))
    assert (table.architecture, table.arguments["kind"], table.arguments["scale"]) == ("spandrel", "ESRGAN", 4)
    pictures = torch.rand(1, 3, 20, 24) * 2 - 1
    with torch.inference_mode():
        found = REGISTRY.load(table, tmp_path / "old.pth").network(pictures)
        assert difference(found, ours(pictures).clamp(-1, 1)) < 1e-5


@pytest.mark.shared
def test_a_real_upscaler_by_both_ways(shared: Path) -> None:
    file = shared / "weights/realesr-general-x4v3.fp16.safetensors"
    own = REGISTRY.load(upscaler_named(str(file)), file)
    other = REGISTRY.load(Table("other", "spandrel"), file)
    assert (own.architecture.name, other.arguments["scale"]) == ("srvggnet", 4)
    pictures = torch.rand(1, 3, 31, 45, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.inference_mode():
        assert (own.network(pictures).clamp(-1, 1) - other.network(pictures)).abs().max() / 2 < 2e-6


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self._target = target

    def __reduce__(self) -> Any:
        return os.system, (f"echo > {self._target}",)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".ckpt"])
def test_programs_are_never_run(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a pickle would call is refused; of TorchScript the tensors alone are read, which here fit no network."""
    mark = tmp_path / "exploded"
    bomb, script = tmp_path / f"bomb{suffix}", tmp_path / f"script{suffix}"
    torch.save({"params": {"weight": torch.ones(2)}, "more": Bomb(mark)}, bomb)
    torch.jit.save(torch.jit.script(nn.Conv2d(3, 3, 3)), str(script))
    monkeypatch.setattr(torch.jit, "load", lambda *_args, **_more: pytest.fail("the program was loaded"))
    monkeypatch.setattr(torch._C, "import_ir_module", lambda *_args, **_more: pytest.fail("the program was loaded"))
    for path, error, why in ((bomb, UnsafeCheckpointError, "not run"), (script, CheckpointLayoutError, "fits none")):
        with pytest.raises(error, match=why):
            upscaler_named(str(path))
        with pytest.raises(error, match=why):
            importer.import_checkpoint(path, tmp_path / "out.safetensors")
    assert not mark.exists()


@pytest.mark.parametrize("state", [
    {"weight": torch.ones(3)},
    {"conv_first.weight": torch.ones(16, 3, 3, 3), "body.0.rdb1.conv1.weight": torch.ones(8, 16, 3, 3)},
])  # fmt: skip
def test_what_nobody_knows_is_refused_by_name(state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "file.pth")
    with pytest.raises(CheckpointLayoutError, match=r"file\.pth fits none"):
        upscaler_named(str(tmp_path / "file.pth"))


def test_other_channels_are_refused() -> None:
    grey = network("FBCNN", "FBCNN", in_nc=1, out_nc=3, nc=[16, 16, 16, 512], nb=4)().state_dict()
    with pytest.raises(ValueError, match="takes 1 channels and returns 3"):
        read(grey)


def test_a_grey_network_takes_each_channel_by_itself() -> None:
    state = network("FBCNN", "FBCNN", in_nc=1, out_nc=1, nc=[16, 16, 16, 512], nb=4)().state_dict()
    found, told = read(state)
    pictures = torch.rand(2, 3, 16, 24) * 2 - 1
    with torch.inference_mode():
        one = found(pictures[:1, 1:2].expand(-1, 3, -1, -1))
        assert difference(found(pictures)[:1, 1:2], one[:, :1]) < 1e-5
    assert told["scale"] == 1


def test_without_spandrel_it_is_said_what_to_add(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = published("SPAN", tmp_path)
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(CheckpointLayoutError) as unknown:
        upscaler_named(str(path))
    assert "spandrel" in (unknown.value.remedy or "")
    with pytest.raises(MissingPackageError, match="spandrel") as missing:
        REGISTRY.load(Table("x", "spandrel"), path)
    assert "install" in (missing.value.remedy or "")


def test_spandrel_is_imported_only_when_such_a_file_is_asked_for(tmp_path: Path) -> None:
    kind = REGISTRY["srvggnet"]
    state = kind.build({**kind.defaults, "num_feat": 8, "num_conv": 1}).state_dict()
    torch.save({key.removeprefix("net."): value for key, value in state.items()}, tmp_path / "own.pth")
    code = (
        "import sys, restorer; from restorer.models.importer.named import upscaler_named;"
        "assert upscaler_named(sys.argv[1]).architecture == 'srvggnet';"
        "assert upscaler_named('4x-BSRGAN').architecture == 'spandrel';"
        "assert 'spandrel' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "own.pth")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
