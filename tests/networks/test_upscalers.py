"""Our RRDBNet and compact network are basicsr's: the same keys, and the same answers, with it and without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from restorer.errors import MissingPackageError
from restorer.evaluation.basicsr_compat import import_basicsr, require
from restorer.networks.upscalers import CompactNet, RRDBNet
from tests.support.golden import FOLDER, Record, difference, fill_tensor, load

RRDB = {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 64, "num_grow_ch": 32}
COMPACT = {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 64}
ACTIVATIONS = {"srvggnet_leakyrelu_narrow": "leakyrelu", "srvggnet_relu_narrow": "relu"}
"""What the tensors of a compact network do not tell."""


@pytest.mark.parametrize(
    "name", sorted(path.stem for kind in ("rrdbnet", "srvggnet") for path in FOLDER.glob(f"{kind}_*.json"))
)
def test_records_of_basicsr(name: str, tmp_path: Path) -> None:
    record = Record.read(FOLDER / f"{name}.json")
    record.write(tmp_path / "upstream.pth")
    given = {"act_type": ACTIVATIONS[name]} if name in ACTIVATIONS else {}
    network = load(name.split("_", maxsplit=1)[0], tmp_path / "upstream.pth", **given).network
    pictures, expected = record.tensors()
    with torch.inference_mode():
        found = network(pictures * 2 - 1) * 0.5 + 0.5
    assert difference(found, expected) < 1e-5


@pytest.mark.parametrize(
    ("ours", "theirs", "arguments"),
    [
        *((RRDBNet, "rrdbnet_arch.RRDBNet", {**RRDB, "scale": scale, "num_block": 2}) for scale in (1, 2, 3, 4)),
        (RRDBNet, "rrdbnet_arch.RRDBNet", {**RRDB, "scale": 4, "num_block": 23}),
        *(
            (CompactNet, "srvgg_arch.SRVGGNetCompact", {**COMPACT, "num_conv": 16, "upscale": factor, "act_type": name})
            for factor, name in ((2, "prelu"), (3, "relu"), (4, "leakyrelu"))
        ),
    ],
)
def test_basicsr_answers_the_same(ours: Any, theirs: str, arguments: dict[str, Any]) -> None:
    """At full width, wherever basicsr can be had: the same parameters under the same names, the same output."""
    try:
        require("This test")
    except MissingPackageError as error:
        pytest.skip(error.message)
    module, name = theirs.split(".")
    there, here = getattr(import_basicsr(f"basicsr.archs.{module}"), name)(**arguments).eval(), ours(**arguments).eval()
    shapes = {key: value.shape for key, value in there.state_dict().items()}
    assert {key: value.shape for key, value in here.state_dict().items()} == shapes
    state = {key: fill_tensor(key, list(shape), 0.0, shape[1:].numel() ** -0.5) for key, shape in shapes.items()}
    there.load_state_dict(state)
    here.load_state_dict(state)
    pictures = torch.rand(1, 3, 24, 16, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        assert difference(here(pictures), there(pictures)) < 1e-5


def test_an_unknown_activation_is_refused() -> None:
    with pytest.raises(ValueError, match="'swish'"):
        CompactNet(3, 3, 8, 1, 2, "swish")
