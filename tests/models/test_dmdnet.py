"""DMDNet against the record of its reference, with photos of the same person and without; and what it refuses."""

from __future__ import annotations

import io
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from restorer import weights
from restorer.errors import CheckpointLayoutError
from restorer.faces.restoring import NetworkFaceRestorer
from restorer.models import REGISTRY, importer
from restorer.models.base import LoadedNetwork
from restorer.models.dmdnet import boxes_of_template
from restorer.networks.dmdnet import DMDNet, read
from tests.support.golden import FOLDER, Record, difference, fill_tensor, load, load_state
from tests.support.in_process import restore
from tests.support.networks import at_work

RECORD = Record.read(FOLDER / "dmdnet_512.json")
TOLERANCE = 1e-3


@pytest.mark.parametrize("kind", ["specific", pytest.param("generic", marks=pytest.mark.slow)])
def test_record_of_the_reference(kind: str, tmp_path: Path) -> None:
    RECORD.write(tmp_path / "DMDNet.pth")
    network = load("dmdnet", tmp_path / "DMDNet.pth").network
    tensors = load_file(RECORD.path.with_suffix(".safetensors"))
    given: dict[str, Tensor] = {}
    if kind == "specific":
        given = {"references": RECORD.input("references"), "reference_boxes": tensors["reference_boxes"]}
    with torch.inference_mode():
        found = network(RECORD.input(), boxes=tensors["boxes"], **given)
    stride = RECORD.stride
    assert difference(found[..., ::stride, ::stride], tensors[f"output_{kind}"]) < TOLERANCE


def upstream(width: int = 12, items: int = 3) -> dict[str, Tensor]:
    """Return a narrow checkpoint under upstream's names, filled by its keys."""
    state = {}
    for key, (shape, mean, std) in RECORD.content["keys"].items():
        wide = [64, 128, 256, 512, 1024, 21, 42, 85, 16, 32]
        narrow = [width, 2 * width, 4 * width, 0, 16 * width, width // 3, 2 * width // 3, 4 * width // 3, width // 4]
        table = dict(zip(wide, [*narrow, width // 2], strict=True))
        table |= {63: width, 126: 2 * width, 255: 4 * width}
        level = re.search(r"_(256|128|64)_", key)
        if level:  # 64 channels are a quarter of the smallest level's 256
            table[64] = width
        sides = len(shape) == 4 and "_mem_" in key
        sized = [items if sides and i == 0 else size if sides and i > 1 else table.get(size, size)
                 for i, size in enumerate(shape)]  # fmt: skip
        state[key] = fill_tensor(key, sized, mean, std)
        if key.endswith("weight_v"):
            inputs = state[key.replace("weight_v", "weight_orig")]
            state[key] = fill_tensor(key, [inputs[0].numel()], mean, std)
    return state


def small(items: int = 3) -> DMDNet:
    torch.manual_seed(0)
    network = DMDNet(ngf=12, banks_num=items)
    for name, parameter in network.named_parameters():
        if "memory" in name:
            torch.nn.init.normal_(parameter)
        elif name.endswith("weight"):
            torch.nn.init.kaiming_normal_(parameter)
    return network.eval().requires_grad_(False)


def faces(number: int) -> Tensor:
    return torch.rand(number, 3, 512, 512, generator=torch.Generator().manual_seed(number)) * 2 - 1


def test_spectral_norms_are_folded_by_the_stored_vectors(tmp_path: Path) -> None:
    """Which are no unit vectors in this record, and must not be made ones."""
    architecture = REGISTRY["dmdnet"]
    key = "E_lq.conv1.0"
    part = {k: fill_tensor(k, *v) for k, v in RECORD.content["keys"].items() if k.startswith(key)}
    found = architecture.convert(part, architecture.defaults)
    weight, u, v = (part[f"{key}.weight_{leaf}"] for leaf in ("orig", "u", "v"))
    assert set(found) == {"degraded.conv1.0.weight", "degraded.conv1.0.bias"}
    expected = weight / torch.dot(u, weight.flatten(1) @ v)
    assert torch.allclose(found["degraded.conv1.0.weight"], expected)
    del part[f"{key}.weight_u"]
    with pytest.raises(KeyError):
        architecture.convert(part, architecture.defaults)


def test_photos_count_and_one_alone_does_not() -> None:
    network, boxes = small(), boxes_of_template(2)
    given = faces(2)
    with torch.inference_mode():
        plain = network(given, boxes)
        own = network(given, boxes, references=faces(3), reference_boxes=boxes_of_template(3))
        assert (own - plain).abs().max() > 1e-3
        for number in (0, 1):
            with pytest.warns(UserWarning, match=f"not {number}"):
                alone = network(given, boxes, references=faces(number), reference_boxes=boxes_of_template(number))
            assert torch.equal(alone, plain)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            one = network(given[1:], boxes[1:])
    assert difference(one, plain[1:]) < 1e-4  # the batch mixes nothing


def test_a_memory_is_a_softmax_over_its_items() -> None:
    """Divided by the root of how many there are."""
    query, keys, values = torch.randn(2, 3, 4, 4), torch.randn(5, 3, 4, 4), torch.randn(5, 7, 4, 4)
    weights_ = torch.tensor([[(q * k).sum() / 5**0.5 for k in keys] for q in query]).softmax(1)
    expected = torch.stack([sum(w * v for w, v in zip(row, values, strict=True)) for row in weights_])
    assert torch.allclose(read(query, keys, values), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("row", "box"),
    [
        (0, (100.0, 100.0, 100.0, 150.0)),  # empty
        (1, (300.0, 200.0, 280.0, 260.0)),  # the wrong way round
        (3, (-8.0, 300.0, 200.0, 400.0)),
        (3, (400.0, 300.0, 520.0, 400.0)),
        (0, (100.0, 100.0, 103.0, 150.0)),  # nothing is left of it at 64 px
    ],
)
def test_boxes_of_which_nothing_can_be_cut_are_refused(row: int, box: tuple[float, ...]) -> None:
    boxes = boxes_of_template(1)
    boxes[0, row] = torch.tensor(box)
    with pytest.raises(ValueError, match="Boxes must lie within"):
        small()(faces(1), boxes)
    with pytest.raises(ValueError, match="Boxes must lie within"):
        small()(faces(1), boxes_of_template(1), references=faces(2), reference_boxes=boxes.repeat(2, 1, 1))


def test_shapes_that_do_not_fit_are_refused() -> None:
    network, boxes = small(), boxes_of_template(1)
    with pytest.raises(ValueError, match=r"\(2, 4, 4\)"):
        network(faces(2), boxes)
    with pytest.raises(ValueError, match="512"):
        network(torch.zeros(1, 3, 256, 256), boxes)
    with pytest.raises(ValueError, match="reference_boxes"):
        network(faces(1), boxes, references=faces(2))


def test_the_boxes_of_an_aligned_face() -> None:
    """Near those that the rule gives for the four faces of the record, which are not aligned as exactly."""
    tensors = load_file(RECORD.path.with_suffix(".safetensors"))
    upstreams = torch.cat([tensors["boxes"], tensors["reference_boxes"]]).mean(0)
    assert (boxes_of_template(1)[0] - upstreams).abs().max() < 30


def test_a_narrow_file_is_recognised_imported_and_strict(tmp_path: Path) -> None:
    state = upstream()
    torch.save(state, tmp_path / "narrow.pth")
    done = importer.import_checkpoint(tmp_path / "narrow.pth")
    assert (done.architecture, done.arguments) == ("dmdnet", {"ngf": 12, "banks_num": 3})
    one: Any = load("dmdnet", done.path).network
    other: Any = load("dmdnet", tmp_path / "narrow.pth").network
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in one.state_dict().items())
    del state["MO_64_KV.Key.0.bias"]
    with pytest.raises(CheckpointLayoutError, match=r"regions\.mo_64\.key\.0\.bias is missing"):
        load_state("dmdnet", state, tmp_path)


def test_an_import_asks_for_the_terms_that_a_download_asks_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its file has no published hash: what it is, its keys say, whatever it is called."""
    torch.save(upstream(), tmp_path / "eyes.pth")
    source = str(tmp_path / "eyes.pth")
    for name in ((), ("--name", "dmdnet"), ("--name", "eyes")):
        said = restore(capsys, "models", "import", source, *name, code=3).err
        assert "CC BY-NC-SA 4.0" in said
        assert "--accept-license" in said
    assert not (tmp_path / "eyes.safetensors").exists()  # nothing is written before
    given = ("--name", "dmdnet")
    assert "Added dmdnet" in restore(capsys, "models", "import", source, *given, "--accept-license").err
    assert weights.resolve("dmdnet").commercial is False
    restore(capsys, "models", "remove", "dmdnet", "--yes")
    assert "Added dmdnet" in restore(capsys, "models", "import", source, *given).err  # accepted once is enough


def test_at_a_terminal_the_terms_are_asked_about(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(upstream(), tmp_path / "eyes.pth")
    source, answers = str(tmp_path / "eyes.pth"), [False, True]
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda *_words, **_more: answers.pop(0))
    assert "not imported before you accept" in restore(capsys, "models", "import", source, code=3).err
    done = restore(capsys, "models", "import", source)
    assert "CC BY-NC-SA 4.0" in done.err
    assert (tmp_path / "eyes.safetensors").is_file()
    assert answers == []


def test_at_work_it_says_what_its_answer_rests_on() -> None:
    architecture = REGISTRY["dmdnet"]
    loaded = LoadedNetwork(small(), weights.resolve("dmdnet"), architecture, {"ngf": 12, "banks_num": 3})
    restorer = NetworkFaceRestorer(at_work(loaded))
    assert restorer.remark is not None
    assert "five points" in restorer.remark
    assert "68" in restorer.remark
    given = faces(1)
    with torch.inference_mode():
        assert difference(restorer.restore(given), loaded.network(given, boxes_of_template(1))) < 1e-4
