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
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from restorer.networks.fused import conv_leaky, conv_relu

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
        self.joined: nn.ModuleList | None = None

    def keep_constants(self) -> None:
        """Fold what never changes into the weights: for a network that is only run, from here on.

        Batch norms go into the convolutions before them, order and range of the colours into the first one, and the
        three heads of a level become one, which gives a face's logit in the place of two classes.
        """
        if self.joined is not None:
            return
        fold_norms(self)
        first = next(part for part in self.body.modules() if isinstance(part, nn.Conv2d))
        first.weight.data = first.weight.data.flip(1) * 127.5
        levels = zip(self.BboxHead, self.ClassHead, self.LandmarkHead, strict=True)
        self.joined = nn.ModuleList(_joined(*(head.conv1x1 for head in level)) for level in levels)
        del self.BboxHead, self.ClassHead, self.LandmarkHead

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return one row an anchor, (n, anchors, 15), for RGB (n, 3, h, w) in [-1, 1].

        A row is the box's offsets (4), the probability of a face (1) and the landmarks' offsets (10); anchors run over
        strides 8, 16 and 32, then rows, columns and the two sizes of a cell.
        """
        mean = pixels.new_tensor(self.MEAN_BGR)
        if self.joined is not None:
            # What the first convolution sees beyond the picture is the mean, and not a part of its bias.
            features = self._features(_added(pixels, 1 - mean.flip(0) / 127.5))
            each = (head(feature) for head, feature in zip(self.joined, features, strict=True))
            rows = torch.cat([level.permute(0, 2, 3, 1).reshape(len(pixels), -1, 15) for level in each], dim=1)
            rows[..., 4].sigmoid_()
            return rows
        features = self._features((pixels * 127.5 + 127.5).flip(1) - mean[:, None, None])
        boxes, classes, landmarks = (
            torch.cat([head(feature) for head, feature in zip(heads, features, strict=True)], dim=1)
            for heads in (self.BboxHead, self.ClassHead, self.LandmarkHead)
        )
        return torch.cat([boxes, functional.softmax(classes, dim=-1)[..., 1:], landmarks], dim=-1)

    def _features(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Return the features of each level, largest first, of what the first convolution takes."""
        levels = self.fpn(self.body(pixels))
        return [ssh(level) for ssh, level in zip((self.ssh1, self.ssh2, self.ssh3), levels, strict=True)]


def _joined(boxes: nn.Conv2d, classes: nn.Conv2d, landmarks: nn.Conv2d) -> nn.Conv2d:
    """Return one convolution that gives, for each anchor, what three do: box, logit of a face, landmarks."""
    found = nn.Conv2d(boxes.in_channels, boxes.out_channels // 4 * 15, 1).requires_grad_(False)
    for name in ("weight", "bias"):
        box, kind, points = (
            getattr(head, name).data.unflatten(0, (-1, count))
            for head, count in ((boxes, 4), (classes, 2), (landmarks, 10))
        )
        getattr(found, name).data = torch.cat([box, kind[:, 1:] - kind[:, :1], points], dim=1).flatten(0, 1)
    return found


def _added(pixels: torch.Tensor, colour: torch.Tensor) -> torch.Tensor:
    """Return pictures (n, 3, h, w) with a colour (3,) added to each pixel."""
    if not pixels.is_contiguous(memory_format=torch.channels_last):
        return pixels + colour[:, None, None]
    # A row of pixels at once: three values by three are added one by one.
    rows = pixels.permute(0, 2, 3, 1).flatten(2) + colour.repeat(pixels.shape[3])
    return rows.reshape(*rows.shape[:2], -1, 3).permute(0, 3, 1, 2)


class Activated(nn.Module):
    """A convolution and the leaky ReLU behind it, of slope 0 a ReLU, in one pass where that goes."""

    def __init__(self, convolution: nn.Conv2d, slope: float) -> None:
        super().__init__()
        self.convolution = convolution
        self.slope = slope

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (n, in, h, w) to (n, out, h', w')."""
        return conv_leaky(self.convolution, x, self.slope) if self.slope else conv_relu(self.convolution, x)


class Residual(nn.Module):
    """torchvision's bottleneck of a ResNet without its batch norms.

    Args:
        block: a bottleneck; its parts are taken.
    """

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = (
            fuse_conv_bn_eval(getattr(block, f"conv{number}"), getattr(block, f"bn{number}")) for number in (1, 2, 3)
        )
        self.downsample: nn.Module | None = block.downsample

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (n, c, h, w) to (n, c', h', w')."""
        y = self.conv3(conv_relu(self.conv2, conv_relu(self.conv1, x)))
        beside = x if self.downsample is None else self.downsample(x)
        return functional.relu_(y.add_(beside))


def fold_norms(network: nn.Module) -> None:
    """Fold batch norms into the convolutions before them, in sequences and bottlenecks, and join the activations.

    Args:
        network: in eval mode, whose sequences are run whole; changed in place.
    """
    for owner in list(network.modules()):
        for name, part in list(owner.named_children()):
            if hasattr(part, "bn3") and hasattr(part, "downsample"):
                setattr(owner, name, Residual(part))
        if isinstance(owner, (nn.Sequential, nn.ModuleDict)):
            _fold_sequence(owner)
    for part in network.modules():  # those of the downsampling in bottlenecks, which stood elsewhere before
        if isinstance(part, nn.Sequential):
            _fold_sequence(part)


def _fold_sequence(parts: nn.Sequential | nn.ModuleDict) -> None:
    """Fold what stands in a row: a convolution, its batch norm and, if there is one, a ReLU, leaky or not."""
    names = list(parts._modules)
    for first, second in pairwise(names):
        convolution, norm = parts._modules[first], parts._modules[second]
        if type(convolution) is nn.Conv2d and type(norm) is nn.BatchNorm2d:
            parts._modules[first] = fuse_conv_bn_eval(convolution, norm)
            parts._modules[second] = nn.Identity()
    row = [name for name in names if not isinstance(parts._modules[name], nn.Identity)]
    for first, second in pairwise(row):
        convolution, activation = parts._modules[first], parts._modules[second]
        if type(convolution) is nn.Conv2d and isinstance(activation, (nn.ReLU, nn.LeakyReLU)):
            parts._modules[first] = Activated(convolution, getattr(activation, "negative_slope", 0.0))
            parts._modules[second] = nn.Identity()


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
