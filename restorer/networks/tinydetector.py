"""The built-in face detector: a small network of plain convolutions, without anchors, with five landmarks a face.

Its means are those of the single-shot detectors: features of stride 8, 16 and 32, coarse ones added to finer ones (FPN,
Lin et al. 2017), one head for all of them (FCOS, Tian et al. 2019), which says for each cell whether the middle of a
face lies there, and where its box and landmarks are. Depthwise convolutions only where the maps are small: on a CPU
they cost about as much time as plain ones of these widths.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from restorer.networks.fused import conv_relu

STRIDES = (8, 16, 32)
ROW = 15  # box 4, score 1, landmarks 10
WIDTHS = (16, 24, 48, 64, 64)
HEAD = 48
MIRRORED = (1, 0, 2, 4, 3)  # the landmarks of a mirrored face
CROP = 64  # side of what the second look sees, pixels
TEMPLATE = ((-0.36, -0.3), (0.36, -0.3), (0.0, 0.04), (-0.29, 0.4), (0.29, 0.4))
"""Where a face's landmarks are in such a crop, whose sides are at -1 and 1."""


class _Conv(nn.Module):
    """A convolution, batch normalisation where it is trained, and a ReLU."""

    def __init__(self, inner: int, outer: int, side: int = 3, stride: int = 1, *, groups: int = 1, norm: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inner, outer, side, stride, side // 2, groups=groups, bias=not norm)
        self.norm: nn.Module = nn.BatchNorm2d(outer, momentum=0.03) if norm else nn.Identity()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (n, inner, h, w) to (n, outer, h, w), each side divided by the stride."""
        if isinstance(self.norm, nn.Identity):
            return conv_relu(self.conv, features)
        result: torch.Tensor = F.relu(self.norm(self.conv(features)), inplace=True)
        return result


class _Separable(nn.Module):
    """A depthwise and a pointwise convolution."""

    def __init__(self, inner: int, outer: int, stride: int = 1, *, norm: bool) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(inner, inner, 3, stride, 1, groups=inner)
        self.pointwise = _Conv(inner, outer, 1, norm=norm)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (n, inner, h, w) to (n, outer, h, w), each side divided by the stride."""
        result: torch.Tensor = self.pointwise(self.depthwise(features))
        return result


class _Residual(nn.Module):
    """A block whose output is added to its input."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map features (n, c, h, w) to the same shape."""
        result: torch.Tensor = self.block(features)
        # Where no gradients are kept, nothing else holds the block's output: one tensor less to write.
        return result + features if torch.is_grad_enabled() else result.add_(features)


class SecondLook(nn.Module):
    """Looks at a crop in which the landmarks of a detection are brought to `TEMPLATE`: is it a face, and where exactly?

    What a cell of the detector says of all sizes and angles at once is near the truth; seen upright and at one size,
    it is a far smaller question (Zhang et al. 2016, MTCNN, ask three times).
    """

    def __init__(self, *, norm: bool) -> None:
        super().__init__()
        widths = (3, 24, 48, 64, 64)
        self.convs = nn.Sequential(*(_Conv(a, b, 3, 2, norm=norm) for a, b in pairwise(widths)))
        self.answer = nn.Linear(widths[-1] * (CROP // 16) ** 2, 11)

    def forward(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return landmarks (k, 5, 2) in the crop, -1 to 1, and the logit of a face (k,), for RGB (k, 3, 64, 64)."""
        answer = self.answer(self.convs(crops).flatten(1)).float()
        return answer[:, :10].reshape(-1, 5, 2) + answer.new_tensor(TEMPLATE), answer[:, 10]


class TinyDetector(nn.Module):
    """Finds faces of about 10 to 320 pixels in pictures whose sides are multiples of 32.

    Args:
        widths: channels at stride 2, 4, 8, 16 and 32.
        head: channels of the pyramid and its head.
        norm: with batch normalisation, as it is trained; `folded` takes it away.
    """

    def __init__(self, widths: Sequence[int] = WIDTHS, head: int = HEAD, *, norm: bool = False) -> None:
        super().__init__()
        first, second, third, fourth, fifth = widths
        self.stem = nn.Sequential(_Conv(3, first, 3, 2, norm=norm), _Conv(first, second, 3, 2, norm=norm))
        self.body = nn.ModuleList(
            [
                nn.Sequential(_Conv(second, third, 3, 2, norm=norm), _Residual(_Conv(third, third, norm=norm))),
                nn.Sequential(
                    _Conv(third, fourth, 3, 2, norm=norm),
                    _Residual(_Conv(fourth, fourth, norm=norm)),
                    _Residual(_Separable(fourth, fourth, norm=norm)),
                ),
                nn.Sequential(
                    _Separable(fourth, fifth, 2, norm=norm),
                    _Residual(_Separable(fifth, fifth, norm=norm)),
                    _Residual(_Separable(fifth, fifth, norm=norm)),
                ),
            ]
        )
        self.lateral = nn.ModuleList(nn.Conv2d(width, head, 1) for width in (third, fourth, fifth))
        self.judge = _Conv(head, head, norm=norm)
        self.place = _Conv(head, head, norm=norm)
        # Faces of a stride differ in size by another range than those of the next: the last layers are its own.
        self.score = nn.ModuleList(nn.Conv2d(head, 1, 1) for _ in STRIDES)
        self.where = nn.ModuleList(nn.Conv2d(head, ROW - 1, 1) for _ in STRIDES)
        self.second = SecondLook(norm=norm)

    def refine(
        self, picture: torch.Tensor, landmarks: torch.Tensor, sizes: Sequence[float] = (1.0,)
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return better landmarks (k, 5, 2) and the logit of a face (k,) for detections in one picture (3, h, w).

        Both are the means of what is seen in crops of these sizes, 1 the face's own, and in their mirror images.
        """
        own = frames_of(landmarks)
        middle = own[:, :, 2:]
        frames = torch.cat([torch.cat([own[:, :, :2] * size, middle], dim=2) for size in sizes])
        crops = cut(picture, frames)
        seen, logits = self.second(torch.cat([crops, crops.flip(3)]))
        (seen, mirrored), (logit, other) = seen.chunk(2), logits.chunk(2)
        seen = (seen + mirrored[:, MIRRORED] * seen.new_tensor([-1, 1])) / 2
        points = in_picture(seen, frames).reshape(len(sizes), len(own), 5, 2)
        return points.mean(dim=0), ((logit + other) / 2).reshape(len(sizes), -1).mean(dim=0)

    def logits(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return rows as `forward` does, with the score's logit in the score's place."""
        features, found = self.stem(pixels), []
        for stage in self.body:
            features = stage(features)
            found.append(features)
        found = [lateral(features) for lateral, features in zip(self.lateral, found, strict=True)]
        for coarse, fine in ((2, 1), (1, 0)):
            found[fine] = found[fine] + F.interpolate(found[coarse], scale_factor=2.0, mode="nearest")
        rows = []
        for features, score, where in zip(found, self.score, self.where, strict=True):
            scores, places = score(self.judge(features)), where(self.place(features))
            row = torch.cat([places[:, :4], scores, places[:, 4:]], dim=1)
            rows.append(row.permute(0, 2, 3, 1).reshape(len(row), -1, ROW))
        return torch.cat(rows, dim=1)

    def forward(
        self, pixels: torch.Tensor, landmarks: torch.Tensor | None = None, sizes: Sequence[float] = (1.0,)
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Return one row a cell, (n, cells, 15), for RGB (n, 3, h, w) in [-1, 1].

        With landmarks (k, 5, 2) in a single picture (1, 3, h, w), return what `refine` says of them instead.

        A row is the middle of the box from the cell's own, the logarithms of its sides, the probability of a face (1),
        and the landmarks from the cell's middle, in units of the stride; cells run over strides, rows and columns.
        """
        if landmarks is not None:
            return self.refine(pixels[0], landmarks, sizes)
        rows = self.logits(pixels).float()
        return torch.cat([rows[..., :4], rows[..., 4:5].sigmoid(), rows[..., 5:]], dim=-1)


def cells(height: int, width: int) -> torch.Tensor:
    """Return x, y and stride of each cell of a picture, (cells, 3), in the order of the network's rows."""
    grids = []
    for stride in STRIDES:
        down, across = torch.arange(height // stride) + 0.5, torch.arange(width // stride) + 0.5
        y, x = torch.meshgrid(down * stride, across * stride, indexing="ij")
        grids.append(torch.stack([x, y, torch.full_like(x, stride)], dim=-1).reshape(-1, 3))
    return torch.cat(grids)


def place(rows: torch.Tensor, where: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return boxes (..., 4) and landmarks (..., 5, 2) in pixels of rows (..., 15) at cells (..., 3)."""
    middle, stride = where[..., :2], where[..., 2:]
    centre = middle + rows[..., :2] * stride
    half = rows[..., 2:4].clamp(-4, 5).exp() * stride / 2
    landmarks = middle[..., None, :] + rows[..., 5:].reshape(*rows.shape[:-1], 5, 2) * stride[..., None]
    return torch.cat([centre - half, centre + half], dim=-1), landmarks


def frames_of(landmarks: torch.Tensor) -> torch.Tensor:
    """Return the similarities (k, 2, 3) from crops, whose sides are at -1 and 1, to the picture: by least squares."""
    template = landmarks.new_tensor(TEMPLATE)
    middle = template.mean(dim=0)
    spread = template - middle
    centre = landmarks.mean(dim=1)
    away = landmarks - centre[:, None]
    power = spread.square().sum()
    a = (away * spread).sum(dim=(1, 2)) / power
    b = (spread[:, 0] * away[..., 1] - spread[:, 1] * away[..., 0]).sum(dim=1) / power
    linear = torch.stack([torch.stack([a, -b], dim=1), torch.stack([b, a], dim=1)], dim=1)
    return torch.cat([linear, (centre - linear @ middle)[..., None]], dim=2)


def in_picture(points: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
    """Return points (k, m, 2) of crops in the picture's pixels."""
    return points @ frames[:, :, :2].transpose(1, 2) + frames[:, None, :, 2]


def cut(picture: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
    """Return the crops (k, 3, 64, 64) that frames (k, 2, 3) take from a picture (3, h, w); 0 outside."""
    side = 2 * CROP  # reduced by two afterwards, against aliasing
    if picture.device.type == "cpu":
        return _cut_on_cpu(picture, frames, side)
    line = (torch.arange(side, device=picture.device) + 0.5) * (2 / side) - 1
    y, x = torch.meshgrid(line, line, indexing="ij")
    spots = in_picture(torch.stack([x, y], dim=-1).reshape(1, -1, 2), frames.to(line))
    size = spots.new_tensor([picture.shape[2], picture.shape[1]])
    grid = (spots * 2 / size - 1).reshape(1, -1, side, 2)
    taken = F.grid_sample(picture[None].float(), grid, align_corners=False)[0]
    crops = taken.reshape(3, len(frames), side, side).transpose(0, 1)
    return F.avg_pool2d(crops, 2)


def _cut_on_cpu(picture: torch.Tensor, frames: torch.Tensor, side: int) -> torch.Tensor:
    """Return the same crops by OpenCV, in a third of the time, channels innermost."""
    seen = np.ascontiguousarray(picture.float().permute(1, 2, 0).numpy())
    crops = np.empty((len(frames), CROP, CROP, 3), np.float32)
    for crop, frame in zip(crops, frames.double().numpy(), strict=True):
        # From the index of a pixel of the crop to that of the picture; middles are half a pixel from the edges.
        linear = frame[:, :2] * (2 / side)
        offset = frame[:, 2] - frame[:, :2].sum(axis=1) + linear.sum(axis=1) / 2 - 0.5
        taken = cv2.warpAffine(
            seen, np.column_stack([linear, offset]), (side, side), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        )
        cv2.resize(taken, (CROP, CROP), crop, interpolation=cv2.INTER_AREA)
    return torch.from_numpy(crops).permute(0, 3, 1, 2)


@torch.no_grad()
def folded(trained: TinyDetector, widths: Sequence[int], head: int) -> TinyDetector:
    """Return the same network without batch normalisation: its statistics go into the convolutions."""
    plain = TinyDetector(widths, head)
    state = dict(trained.state_dict())
    for name, part in trained.named_modules():
        if isinstance(part, _Conv) and isinstance(part.norm, nn.BatchNorm2d):
            norm = part.norm
            mean, variance = cast("torch.Tensor", norm.running_mean), cast("torch.Tensor", norm.running_var)
            factor = norm.weight / (variance + norm.eps).sqrt()
            state[f"{name}.conv.weight"] = part.conv.weight * factor[:, None, None, None]
            state[f"{name}.conv.bias"] = norm.bias - mean * factor
    plain.load_state_dict({key: value for key, value in state.items() if ".norm." not in key})
    return plain.eval()
