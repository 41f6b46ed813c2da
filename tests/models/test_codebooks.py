"""The codebook family, CodeFormer and RestoreFormer++, against the records of their references."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from restorer import weights
from restorer.errors import CheckpointLayoutError, UnsafeCheckpointError
from restorer.faces.restoring import NetworkFaceRestorer
from restorer.models import REGISTRY, importer
from restorer.models.base import LoadedNetwork
from restorer.networks.codeformer import CodeFormer
from restorer.networks.pieces import adapted
from restorer.networks.restoreformer import RestoreFormer
from tests.support.golden import FOLDER, Record, difference, load, load_state
from tests.support.networks import at_work

TOLERANCE = 1e-3
ARCHITECTURES = {"codeformer": "codeformer", "restoreformerpp": "restoreformer++"}


def load_record(record: Record, folder: Path) -> LoadedNetwork:
    """Return the network of a record from a file of upstream's layout; what it is, its keys alone say."""
    path = folder / f"{record.path.stem}.pth"
    record.write(path)
    return load(ARCHITECTURES[record.path.stem.split("_")[0]], path)


def check(record: Record, folder: Path, *outputs: str) -> None:
    """Compare the codes and some of the outputs, each called as the record says."""
    network: Any = load_record(record, folder).network
    tensors, faces = load_file(record.path.with_suffix(".safetensors")), record.input()
    calls = record.content["call"] if isinstance(record.content["call"], dict) else {"output": {}}
    with torch.inference_mode():
        assert torch.equal(network.codes(faces), tensors["codes"])
        for name in outputs or calls:
            given = {"fidelity": calls[name]["w"]} if "w" in calls[name] else {}
            found = network(faces, **given)[..., :: record.stride, :: record.stride]
            assert difference(found, tensors[name]) < TOLERANCE, name


def test_codeformer_of_this_repository(tmp_path: Path) -> None:
    check(Record.read(FOLDER / "codeformer_512.json"), tmp_path, "output_w05")


def test_restoreformerpp_of_this_repository(tmp_path: Path) -> None:
    check(Record.read(FOLDER / "restoreformerpp_512.json"), tmp_path)


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize(
    "name",
    ["codeformer_512", "codeformer_512_b2", "codeformer_inpainting_512", "restoreformerpp_512_b2"],
)
def test_record_of_the_reference(name: str, shared: Path, tmp_path: Path) -> None:
    check(Record.read(shared / f"golden/next/{name}.json"), tmp_path)


def codeformer_state(**arguments: Any) -> dict[str, Tensor]:
    """Return the keys of a CodeFormer checkpoint, of which a record of another one tells the names."""
    keys = dict(Record.read(FOLDER / "codeformer_512.json").content["keys"])
    entries, connected = arguments["codebook_size"], arguments["connect_list"]
    state = {}
    for key, (shape, _, _) in keys.items():
        if key.startswith("fuse_convs_dict.") and key.split(".")[1] not in connected:
            continue
        if key in ("quantize.embedding.weight", "idx_pred_layer.1.weight"):
            shape = [entries, shape[1]]
        state[key] = torch.zeros(shape)
    return state


@pytest.mark.parametrize(
    ("codebook_size", "connect_list", "adain", "w", "tensors", "values"),
    [
        (1024, ["32", "64", "128", "256"], True, 0.5, 515, 94_112_707),
        (512, ["32", "64", "128"], False, 1.0, 497, 92_652_867),
        (1024, ["32", "64", "128"], True, 0.0, 497, 93_046_083),
    ],
    ids=["restoration", "inpainting", "colorization"],
)
def test_the_shapes_tell_which_of_the_three_it_is(
    codebook_size: int, connect_list: list[str], adain: bool, w: float, tensors: int, values: int, tmp_path: Path
) -> None:
    state = codeformer_state(codebook_size=codebook_size, connect_list=connect_list)
    assert (len(state), sum(value.numel() for value in state.values())) == (tensors, values)  # upstream's own counts
    torch.save({"params_ema": state}, tmp_path / "file.pth")
    found = load("codeformer", tmp_path / "file.pth").arguments
    assert (found["codebook_size"], found["connect_list"]) == (codebook_size, connect_list)
    assert (found["adain"], found["w"]) == (adain, w)
    assert load("codeformer", tmp_path / "file.pth", adain=not adain).network.adain == (not adain)
    kind, _, again = REGISTRY.recognise(state, {}, tmp_path / "file.pth")
    assert (kind.name, again) == ("codeformer", dict(found))


def test_a_codeformer_that_is_imported_stays_what_it_is(tmp_path: Path) -> None:
    torch.save({"params_ema": codeformer_state(codebook_size=512, connect_list=["32", "64"])}, tmp_path / "a.pth")
    done = importer.import_checkpoint(tmp_path / "a.pth")
    assert (done.architecture, done.dropped) == ("codeformer", {})
    assert load("codeformer", done.path).arguments == done.arguments
    assert done.arguments["connect_list"] == ["32", "64"]


def small_codeformer() -> CodeFormer:
    torch.manual_seed(0)
    network = CodeFormer(dim_embd=32, n_head=4, n_layers=1, codebook_size=16)
    nn.init.normal_(network.codebook)
    return network.eval().requires_grad_(False)


@pytest.mark.slow
def test_fidelity_blends_the_encoder_in() -> None:
    """0 leaves the connections out altogether, None is the network's own, and more is nearer to more."""
    network, faces = small_codeformer(), Record.read(FOLDER / "codeformer_512.json").input()
    with torch.inference_mode():
        plain, half = network(faces, fidelity=0.0), network(faces)
        assert torch.equal(half, network(faces, fidelity=0.5))
        assert (half - plain).abs().max() > 1e-3 * plain.std()
    for fusion in network.fuse.values():
        for parameter in fusion.parameters():
            parameter.fill_(torch.nan)
    with torch.inference_mode():
        assert torch.equal(network(faces, fidelity=0.0), plain)


def test_moments_are_those_of_the_encoder() -> None:
    content, style = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4) * 3 + 1
    variance = style.flatten(2).var(-1) + 1e-5  # unbiased, with upstream's epsilon
    found = adapted(content, style).flatten(2)
    assert torch.allclose(found.mean(-1), style.flatten(2).mean(-1), atol=1e-5)
    shrunk = content.flatten(2).var(-1) / (content.flatten(2).var(-1) + 1e-5)
    assert torch.allclose(found.var(-1), variance * shrunk, rtol=1e-4)


def test_half_precision_never_reaches_the_codes() -> None:
    for name in ("codeformer", "restoreformer", "restoreformer++"):
        assert not REGISTRY[name].bf16
        assert not REGISTRY[name].fp16


@pytest.mark.parametrize("build", [small_codeformer, RestoreFormer])
@pytest.mark.parametrize("shape", [(1, 3, 256, 256), (1, 3, 512, 544), (1, 1, 512, 512), (3, 512, 512)])
def test_only_the_trained_size_is_taken(build: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"faces \(n, 3, 512, 512\), not"):
        build()(torch.zeros(shape))


def test_a_connection_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="no features of 16 px"):
        CodeFormer(connect_list=["16", "32"])


# ----------------------------------------------------------------------------------------------- RestoreFormer(++)


def plusplus_keys(prefix: str = "") -> dict[str, Tensor]:
    keys = Record.read(FOLDER / "restoreformerpp_512.json").content["keys"]
    return {prefix + key: torch.zeros(shape) for key, (shape, _, _) in keys.items()}


def without_level_4(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if "decoder.up.4.attn" not in key}


@pytest.mark.parametrize("prefix", ["", "vqvae."])
def test_the_two_restoreformers_are_told_apart_by_their_keys(prefix: str, tmp_path: Path) -> None:
    """What no shape tells, the number of heads, follows from it."""
    newer = plusplus_keys(prefix)
    for state, name, heads in ((newer, "restoreformer++", 4), (without_level_4(newer), "restoreformer", 8)):
        kind, translated, _ = REGISTRY.recognise(state, {}, tmp_path / "file.ckpt")
        assert kind.name == name
        network: Any = kind.build({})
        assert network.decoder.mid.attention.heads == network.encoder.attention[0].heads == heads
        assert translated.keys() == network.state_dict().keys()


def test_lightning_files_are_read_strictly(tmp_path: Path) -> None:
    """Without what trained them; a tensor that is missing, or one that nobody knows, is an error."""
    whole = plusplus_keys("vqvae.")
    extra = {"loss.perceptual.weight": torch.ones(2), "vqvae.quantize.utility_counter": torch.ones(1024)}
    torch.save({"epoch": 3, "state_dict": whole | extra}, tmp_path / "a.ckpt")
    done = importer.import_checkpoint(tmp_path / "a.ckpt")
    assert done.architecture == "restoreformer++"
    assert done.dropped["loss"] == 2
    for broken in (whole | {"vqvae.more.weight": torch.ones(1)}, without_level_4(whole)):
        with pytest.raises(CheckpointLayoutError):
            load_state("restoreformer++", broken, tmp_path)
    missing = dict(whole)
    del missing["vqvae.quant_conv.bias"]
    with pytest.raises(CheckpointLayoutError, match=r"quant_conv\.bias is missing"):
        load_state("restoreformer++", missing, tmp_path)


class Callback:
    """What Lightning keeps beside the tensors."""


def test_a_lightning_file_with_objects_inside_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": plusplus_keys("vqvae."), "callbacks": {Callback: 1}}, tmp_path / "a.ckpt")
    with pytest.raises(UnsafeCheckpointError, match="Callback"):
        load("restoreformer++", tmp_path / "a.ckpt")


def test_codeformer_at_work_takes_the_fidelity_of_a_run(tmp_path: Path) -> None:
    seen = []

    class Stand(nn.Module):
        def forward(self, faces: Tensor, fidelity: float | None = None) -> Tensor:
            seen.append(fidelity)
            return faces

    architecture = REGISTRY["codeformer"]
    loaded = LoadedNetwork(Stand(), weights.resolve("codeformer"), architecture, dict(architecture.defaults))
    for fidelity in (None, 0.0, 0.7):
        NetworkFaceRestorer(at_work(loaded), fidelity=fidelity).restore(torch.rand(1, 3, 8, 8))
    assert seen == [None, 0.0, 0.7]
