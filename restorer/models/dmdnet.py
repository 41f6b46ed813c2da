"""DMDNet, which knows eyes and mouths of many people, and learns those of one from photos."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from restorer.models.base import CropSpec, FaceArchitecture
from restorer.models.conversion import Rule, rename, scaled
from restorer.models.templates import FACEXLIB

if TYPE_CHECKING:
    import torch
    from torch import nn

    from restorer.models.base import RunningNetwork, Shapes, StateDict


def _region(match: re.Match[str]) -> str:
    return f"regions.{match[1].lower()}_{match[2]}"


def _below_region(leaf: str) -> Any:
    return lambda match: f"{_region(match)}.{leaf}.{match[3]}"


_PART = r"(LE|RE|MO|le|re|mo)_(\d+)_"
RULES: tuple[Rule, ...] = (
    (rf"E_hq\.{_PART}Q\..+", None),  # only the degraded face asks
    (rf"E_lq\.{_PART}Q\.Query\.(.+)", _below_region("query")),
    (rf"{_PART}KV\.Key\.(.+)", _below_region("key")),
    (rf"{_PART}KV\.Value\.(.+)", _below_region("value")),
    (rf"{_PART}Mask\.conv1\.(.+)", _below_region("mask.input")),
    (rf"{_PART}Mask\.conv2\.(.+)", _below_region("mask.specific")),
    (rf"{_PART}Mask\.conv3\.(.+)", _below_region("mask.generic")),
    (rf"{_PART}Mask\.convCat\.(.+)", _below_region("mask.join")),
    (rf"{_PART}Attention\.(.+)", _below_region("attention")),
    (rf"{_PART}mem_(key|value)", lambda match: f"{_region(match)}.memory_{match[3]}"),
    (r"E_lq\.(res\d)\.Res\.(.+)", r"degraded.\1.\2"),
    (r"E_hq\.(res\d)\.Res\.(.+)", r"sharp.\1.\2"),
    (r"E_lq\.(.+)", r"degraded.\1"),
    (r"E_hq\.(.+)", r"sharp.\1"),
    (r"MSDilate\.convi\.(.+)", r"dilated.join.\1"),
    (r"MSDilate\.conv(\d)\.(.+)", lambda match: f"dilated.views.{int(match[1]) - 1}.{match[2]}"),
    (r"up4\.(\d)\.Model\.(.+)", r"last.\1.\2"),
    (r"up4\.(.+)", r"last.\1"),
    (r"up(\d)\.conv1\.(.+)", lambda match: f"up.{int(match[1]) - 1}.main.{match[2]}"),
    (r"up(\d)\.ScaleModel1\.(.+)", lambda match: f"up.{int(match[1]) - 1}.scale.{match[2]}"),
    (r"up(\d)\.ShiftModel1\.(.+)", lambda match: f"up.{int(match[1]) - 1}.shift.{match[2]}"),
    (r"up(\d)\.convup\.(\d)\.(.+)", lambda match: f"up.{int(match[1]) - 1}.enlarge.{int(match[2]) - 1}.{match[3]}"),
)

EYE = (47, 62, 47, 33)
"""How far an eye's box reaches from its centre, to the left, top, right and bottom, in pixels of the crop.

DMDNet's own rule takes 1.3 times the height of the brows above the eye, and a share of it below; in an aligned crop
brows stand about 48 px above the eyes.
"""
MOUTH = (62, 62, 62, 62)
"""The same of the mouth: 1.1 times half its width in an aligned crop."""
NOSE = (32, 32, 32, 32)
"""The same of the nose, whose box is asked for and never used."""


class DMDNetArchitecture(FaceArchitecture):
    """DMDNet's network; without photos of the person it answers by what it knows of faces in general."""

    name = "dmdnet"
    bf16 = False  # nobody has compared
    unexportable = "it cuts out of its features what boxes say, which differ from face to face"
    remark = "dmdnet's boxes of eyes and mouth are approximate, by five points and not by its authors' 68."
    learns_from = 2
    defaults: ClassVar = {"ngf": 64, "banks_num": 128}

    def crop(self, arguments: Mapping[str, Any]) -> CropSpec:
        """Return faces of 512 px aligned by facexlib's five points."""
        return CropSpec(512, 512, 512, FACEXLIB)

    def infer(self, shapes: Shapes) -> dict[str, Any]:
        """Read the width and the size of the general memory."""
        first, memory = shapes.get("E_lq.conv1.0.weight_orig"), shapes.get("le_256_mem_key")
        return {"ngf": first[0], "banks_num": memory[0]} if first and memory else {}

    def convert(self, state: StateDict, arguments: Mapping[str, Any]) -> StateDict:
        """Rename, and fold the spectral norms, whose vectors are stored."""
        result: StateDict = {}
        for key, value in state.items():
            path, _, leaf = key.rpartition(".")
            if leaf in ("weight_u", "weight_v") and f"{path}.weight_orig" in state:
                continue
            name = rename(key.removesuffix("_orig"), RULES)
            if name is None:
                continue
            if leaf == "weight_orig":
                product = value.flatten(1).float() @ state[f"{path}.weight_v"].float()
                value = value.float() / (state[f"{path}.weight_u"].float() @ product)
            result[name] = scaled(value, 1.0)
        return result

    def build(self, arguments: Mapping[str, Any]) -> nn.Module:
        """Return the network."""
        from restorer.networks.dmdnet import DMDNet

        return DMDNet(**arguments)

    def restore(
        self, network: RunningNetwork, crops: torch.Tensor, *, fidelity: float | None = None, seed: int | None = None
    ) -> torch.Tensor:
        """Return restored crops; eyes and mouth are where an aligned face has them."""
        restored: torch.Tensor = network(crops, boxes_of_template(len(crops)))
        return restored

    def restore_person(
        self,
        network: RunningNetwork,
        crop: torch.Tensor,
        points: torch.Tensor,
        references: torch.Tensor,
        reference_points: torch.Tensor,
    ) -> torch.Tensor:
        """Return a restored crop by the eyes and mouths of photos of the person."""
        restored: torch.Tensor = network(
            crop, boxes_at(points), references=references, reference_boxes=boxes_at(reference_points)
        )
        return restored


def boxes_at(points: torch.Tensor) -> torch.Tensor:
    """Return boxes (n, 4, 4) as `boxes_of_template`, around landmarks (n, 5, 2) that are shares of the crop's side.

    They lie within the crop, and none is smaller than 16 px, wherever the landmarks are.
    """
    import torch

    at = points.float() * 512
    middles = [at[:, 0], at[:, 1], at[:, 2], (at[:, 3] + at[:, 4]) / 2]
    boxes = []
    for middle, reach in zip(middles, (EYE, EYE, NOSE, MOUTH), strict=True):
        left_top = (middle - torch.tensor(reach[:2])).clamp(0, 512 - 16)
        right_bottom = torch.maximum((middle + torch.tensor(reach[2:])).clamp(0, 512), left_top + 16)
        boxes.append(torch.cat([left_top, right_bottom], dim=1))
    return torch.stack(boxes, dim=1).trunc()


def boxes_of_template(number: int) -> torch.Tensor:
    """Return boxes (number, 4, 4) of left eye, right eye, nose and mouth in aligned crops: left, top, right, bottom."""
    import torch

    left, right, nose, mouth_left, mouth_right = [(512 * x, 512 * y) for x, y in FACEXLIB.points]
    mouth = ((mouth_left[0] + mouth_right[0]) / 2, (mouth_left[1] + mouth_right[1]) / 2)
    places = ((left, EYE), (right, EYE), (nose, NOSE), (mouth, MOUTH))
    boxes = [(x - reach[0], y - reach[1], x + reach[2], y + reach[3]) for (x, y), reach in places]
    return torch.tensor(boxes).trunc()[None].repeat(number, 1, 1)


ARCHITECTURES = (DMDNetArchitecture(),)
