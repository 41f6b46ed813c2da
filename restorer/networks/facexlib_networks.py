"""facexlib's networks for faces: RetinaFace and BiSeNet, without the rest of facexlib.

Importing `facexlib.detection.retinaface_net` runs `facexlib/__init__` and `facexlib.detection/__init__`, which import
tracking, recognition and visualisation, and with them numba, scipy and filterpy: seconds, for classes of plain torch.
The files that hold the networks need none of it. They are imported here from facexlib's own folders as modules of a
package of ours, `restorer_facexlib`, so that facexlib itself stays as it is: whoever imports it gets the real one.

The modules below put facexlib's blocks together so that nothing is computed that does not reach the output, nothing is
fetched, and each takes RGB in [-1, 1] and returns one tensor. Their parameters keep facexlib's names.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.nn import functional

_PACKAGE = "restorer_facexlib"
_FOLDERS = ("detection", "parsing")


def facexlib_module(name: str) -> ModuleType:
    """Return one of facexlib's modules of networks: `retinaface_net`, `parsenet` or `bisenet`.

    Raises:
        ModuleNotFoundError: facexlib is not installed, or has no such module.
    """
    if _PACKAGE not in sys.modules:
        found = importlib.util.find_spec("facexlib")  # finds the folder, runs nothing in it
        if found is None or not found.submodule_search_locations:
            raise ModuleNotFoundError("facexlib is not installed; it is a dependency of restorer.", name="facexlib")
        package = ModuleType(_PACKAGE, "facexlib's network modules, without its packages' own imports.")
        package.__path__ = [str(Path(found.submodule_search_locations[0]) / folder) for folder in _FOLDERS]
        sys.modules[_PACKAGE] = package
    return importlib.import_module(f"{_PACKAGE}.{name}")


class _Body(nn.ModuleDict):
    """A backbone's layers in order, returning the outputs of its three last stages."""

    def __init__(self, layers: dict[str, nn.Module]) -> None:
        super().__init__(layers)
        self._returned = frozenset(list(layers)[-3:])

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Return the features (n, c, h, w) behind the three last stages of RGB (n, 3, h, w), largest first."""
        outputs = []
        for name, layer in self.items():
            pixels = layer(pixels)
            if name in self._returned:
                outputs.append(pixels)
        return outputs


class RetinaFace(nn.Module):
    """RetinaFace (Deng et al. 2020) as facexlib has it, for pictures whose sides are multiples of 32.

    Args:
        network_name: the backbone, "resnet50" or "mobile0.25".
    """

    MEAN_BGR = (104.0, 117.0, 123.0)

    def __init__(self, network_name: str) -> None:
        super().__init__()
        blocks: Any = facexlib_module("retinaface_net")
        if network_name == "resnet50":
            from torchvision.models import resnet50  # type: ignore[import-untyped]

            backbone, stages, inner, outer = resnet50(weights=None), ("layer2", "layer3", "layer4"), 256, 256
        else:
            backbone, stages, inner, outer = blocks.MobileNetV1(), ("stage1", "stage2", "stage3"), 32, 64
        layers = dict(backbone.named_children())
        names = list(layers)
        self.body = _Body({name: layers[name] for name in names[: names.index(stages[-1]) + 1]})
        self.fpn = blocks.FPN([inner * 2, inner * 4, inner * 8], outer)
        self.ssh1, self.ssh2, self.ssh3 = (blocks.SSH(outer, outer) for _ in range(3))
        self.ClassHead = blocks.make_class_head(fpn_num=3, inchannels=outer)
        self.BboxHead = blocks.make_bbox_head(fpn_num=3, inchannels=outer)
        self.LandmarkHead = blocks.make_landmark_head(fpn_num=3, inchannels=outer)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return one row an anchor, (n, anchors, 15), for RGB (n, 3, h, w) in [-1, 1].

        A row is the box's offsets (4), the probability of a face (1) and the landmarks' offsets (10); anchors run over
        strides 8, 16 and 32, then rows, columns and the two sizes of a cell.
        """
        mean = pixels.new_tensor(self.MEAN_BGR)[:, None, None]
        features = self.fpn(self.body((pixels * 127.5 + 127.5).flip(1) - mean))
        features = [ssh(feature) for ssh, feature in zip((self.ssh1, self.ssh2, self.ssh3), features, strict=True)]
        boxes, classes, landmarks = (
            torch.cat([head(feature) for head, feature in zip(heads, features, strict=True)], dim=1)
            for heads in (self.BboxHead, self.ClassHead, self.LandmarkHead)
        )
        return torch.cat([boxes, functional.softmax(classes, dim=-1)[..., 1:], landmarks], dim=-1)


class BiSeNet(nn.Module):
    """facexlib's BiSeNet without its two training heads. RGB (n, 3, h, w) in [-1, 1] to class logits."""

    MEAN = (0.485, 0.456, 0.406)  # of ImageNet, in [0, 1]: what this parser was trained with
    DEVIATION = (0.229, 0.224, 0.225)

    def __init__(self, num_class: int) -> None:
        super().__init__()
        whole = facexlib_module("bisenet").BiSeNet(num_class)
        self.cp, self.ffm, self.conv_out = whole.cp, whole.ffm, whole.conv_out

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return logits (n, classes, h, w) of RGB (n, 3, h, w)."""
        mean, deviation = (pixels.new_tensor(values)[:, None, None] for values in (self.MEAN, self.DEVIATION))
        shallow, context, _ = self.cp((pixels * 0.5 + 0.5 - mean) / deviation)
        logits, _ = self.conv_out(self.ffm(shallow, context))
        return functional.interpolate(logits, pixels.shape[2:], mode="bilinear", align_corners=True)
