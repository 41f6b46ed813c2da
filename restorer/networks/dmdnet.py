"""DMDNet: eyes and mouth are improved by memories, of faces in general and of the same person's other photos.

Li et al., "Learning Dual Memory Dictionaries for Blind Face Restoration" (2022).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restorer.networks.pieces import SIDE, adapted, check_faces

PARTS = ("le", "re", "mo")
"""Left eye, right eye, mouth, as seen in the picture; later ones win where boxes overlap."""
ROWS = {"le": 0, "re": 1, "mo": 3}
"""Rows of a face's boxes: left eye, right eye, nose (which has no memory), mouth."""
LEVELS = (256, 128, 64)
"""Sides of the features that have memories."""
SIDES = {"le": (40, 20, 10), "re": (40, 20, 10), "mo": (55, 27, 13)}
"""Sides that a part is brought to at each level."""
LEAST_REFERENCES = 2
"""From so many photos on a memory of the person is made."""

Parts = dict[str, Tensor]
"""Features of each part at each level, by "PART_LEVEL"."""
Memory = Mapping[str, tuple[Tensor, Tensor]]
"""Keys (m, c/4, s, s) and values (m, c, s, s) of each part at each level, an item for each of m examples."""


def _convolution(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, dilation=dilation, padding=dilation)


def _pair(inputs: int, outputs: int, *, stride: int = 1, dilations: tuple[int, int] = (1, 1)) -> nn.Sequential:
    """Return two convolutions with a leaky ReLU between them."""
    return nn.Sequential(
        _convolution(inputs, outputs, stride, dilations[0]),
        nn.LeakyReLU(0.2),
        _convolution(outputs, outputs, 1, dilations[1]),
    )


class Residual(nn.Sequential):
    """A pair of convolutions, plus the input."""

    def __init__(self, channels: int, dilations: tuple[int, int] = (1, 1)) -> None:
        super().__init__(*_pair(channels, channels, dilations=dilations))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, h, w) to the same shape."""
        main = x
        for layer in self:
            main = layer(main)
        return x + main


class Extractor(nn.Module):
    """Features of a face at 256, 128 and 64 px.

    Args:
        ngf: channels of the largest; each smaller one has twice as many.
    """

    def __init__(self, ngf: int) -> None:
        super().__init__()
        self.conv1, self.res1 = _pair(3, ngf, stride=2), Residual(ngf, (5, 3))
        self.conv2, self.res2 = _pair(ngf, ngf), Residual(ngf, (5, 3))
        self.conv3, self.res3 = _pair(ngf, 2 * ngf, stride=2), Residual(2 * ngf, (3, 1))
        self.conv4, self.res4 = _pair(2 * ngf, 2 * ngf), Residual(2 * ngf, (3, 1))
        self.conv5, self.res5 = _pair(2 * ngf, 4 * ngf, stride=2), Residual(4 * ngf, (1, 1))
        self.conv6, self.res6 = _pair(4 * ngf, 4 * ngf), Residual(4 * ngf, (1, 1))

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map (n, 3, 512, 512) to (n, ngf, 256, 256), (n, 2 ngf, 128, 128) and (n, 4 ngf, 64, 64)."""
        large = self.res2(self.conv2(self.res1(self.conv1(faces))))
        middle = self.res4(self.conv4(self.res3(self.conv3(large))))
        return large, middle, self.res6(self.conv6(self.res5(self.conv5(middle))))


class Mask(nn.Module):
    """How much of the person's own memory is taken in place of the general one; it has no bounds.

    Args:
        channels: of the features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = channels // 3
        self.input, self.specific, self.generic = (_pair(channels, width) for _ in range(3))
        self.join = _pair(3 * width, channels)

    def forward(self, part: Tensor, specific: Tensor, generic: Tensor) -> Tensor:
        """Map a part and what was read from both memories, (n, channels, s, s) all, to the same shape."""
        seen = [self.input(part), self.specific(specific), self.generic(generic)]
        share: Tensor = self.join(torch.cat(seen, 1))
        return share


class Region(nn.Module):
    """One part at one level: its general memory, how both memories are asked, and how the answer is used.

    Args:
        channels: of the features.
        side: that the part is brought to.
        items: of the general memory.
    """

    def __init__(self, channels: int, side: int, items: int) -> None:
        super().__init__()
        self.query = _pair(channels, channels // 4)
        self.key = _pair(channels, channels // 4)
        self.value = _pair(channels, channels)
        self.mask = Mask(channels)
        self.attention = _pair(channels, channels)
        self.memory_key = nn.Parameter(torch.zeros(items, channels // 4, side, side))
        self.memory_value = nn.Parameter(torch.zeros(items, channels, side, side))

    def forward(self, part: Tensor, specific: tuple[Tensor, Tensor] | None) -> Tensor:
        """Return a part (n, channels, side, side) improved by the memories.

        Args:
            part: of the degraded face.
            specific: keys (m, channels/4, side, side) and values (m, channels, side, side) of the person; None = only
                the general memory counts.
        """
        query = self.query(part)
        found = read(query, self.memory_key, self.memory_value)
        if specific is not None:
            own = read(query, *specific)
            share = self.mask(part, own, found)
            found = share * own + (1 - share) * found
        found = adapted(found, part)
        improved: Tensor = self.attention(found - part) * found + part
        return improved


def read(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Return what a memory answers to queries (n, d, s, s): its values (m, c, s, s), weighted by how well keys fit.

    The weights are a softmax over the m items, of products divided by the root of m.
    """
    likeness = torch.einsum("ndhw,mdhw->nm", query, keys) / math.sqrt(len(keys))
    return torch.einsum("nm,mchw->nchw", likeness.softmax(1), values)


class Dilated(nn.Module):
    """Four views of the same features, each looking further than the next, joined and added to them.

    Args:
        channels: of the features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.views = nn.ModuleList(_pair(channels, channels, dilations=(reach, reach)) for reach in (4, 3, 2, 1))
        self.join = _convolution(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, h, w) to the same shape."""
        total: Tensor = x + self.join(torch.cat([view(x) for view in self.views], 1))
        return total


class StyledUp(nn.Module):
    """Features scaled and shifted by others of the same size, then twice as large.

    Args:
        channels: that go in, and of the others.
        outputs: that come out.
    """

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.main = _pair(channels, outputs)
        self.scale = _pair(channels, outputs)
        self.shift = _pair(channels, outputs)
        self.enlarge = _pair(outputs, outputs)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Map two features (n, channels, h, w) to (n, outputs, 2h, 2w)."""
        main = F.leaky_relu(self.main(x), 0.2)
        main = main * self.scale(style) + self.shift(style)
        larger: Tensor = self.enlarge(F.interpolate(main, scale_factor=2, mode="bilinear", align_corners=False))
        return larger


class DMDNet(nn.Module):
    """Restores aligned faces (n, 3, 512, 512) in [-1, 1]; the output, of the same shape, is within [-1, 1].

    Args:
        ngf: channels of the largest features.
        banks_num: items of the general memory.
    """

    def __init__(self, ngf: int = 64, banks_num: int = 128) -> None:
        super().__init__()
        self.degraded, self.sharp = Extractor(ngf), Extractor(ngf)
        self.regions = nn.ModuleDict({
            f"{part}_{level}": Region(ngf << step, SIDES[part][step], banks_num)
            for step, level in enumerate(LEVELS)
            for part in PARTS
        })  # fmt: skip
        self.dilated = Dilated(4 * ngf)
        self.up = nn.ModuleList([StyledUp(4 * ngf, 2 * ngf), StyledUp(2 * ngf, ngf), StyledUp(ngf, ngf)])
        self.last = nn.Sequential(
            _convolution(ngf, ngf),
            nn.LeakyReLU(0.2),
            Residual(ngf),
            Residual(ngf),
            _convolution(ngf, 3),
            nn.Tanh(),
        )

    def forward(
        self,
        faces: Tensor,
        boxes: Tensor,
        references: Tensor | None = None,
        reference_boxes: Tensor | None = None,
    ) -> Tensor:
        """Return restored faces (n, 3, 512, 512) of faces of that shape in [-1, 1].

        Args:
            faces: RGB.
            boxes: (n, 4, 4): rows left eye, right eye, nose, mouth, as seen in the picture; left, top, right, bottom in
                pixels of the crop.
            references: photos (k, 3, 512, 512) of the same person, aligned alike; with fewer than two of them, which is
                warned of, or none, only the memory of faces in general counts.
            reference_boxes: (k, 4, 4), as `boxes`.

        Raises:
            ValueError: a tensor has another shape, or a box is empty or reaches out of the crop.
        """
        check_faces(faces)
        _check_boxes(boxes, len(faces))
        memory = None if references is None else self.memory(references, reference_boxes)
        features = self.degraded(faces)
        pasted = [feature.clone() for feature in features]
        for name, part in _cut(features, boxes).items():
            improved = self.regions[name](part, memory and memory[name])
            _paste(pasted[_step(name)], improved, name, boxes)
        x = self.dilated(features[-1])
        for up, style in zip(self.up, reversed(pasted), strict=True):
            x = up(x, style)
        restored: Tensor = self.last(x)
        return restored

    def memory(self, references: Tensor, boxes: Tensor | None) -> Memory | None:
        """Return the memory of a person that photos (k, 3, 512, 512) give; None where they are too few.

        Args:
            references: RGB in [-1, 1].
            boxes: (k, 4, 4), see `forward`.

        Raises:
            ValueError: a tensor has another shape, or a box is empty or reaches out of the crop.
        """
        if len(references) < LEAST_REFERENCES:
            warnings.warn(
                f"{LEAST_REFERENCES} references and more make a memory of a person, not {len(references)}; "
                "the memory of faces in general is used alone.",
                stacklevel=3,
            )
            return None
        check_faces(references)
        if boxes is None:
            raise ValueError("References need reference_boxes.")
        _check_boxes(boxes, len(references))
        parts = _cut(self.sharp(references), boxes)
        regions = {name: cast(Region, self.regions[name]) for name in parts}
        return {name: (regions[name].key(part), regions[name].value(part)) for name, part in parts.items()}


def _step(name: str) -> int:
    """Return the number of a part's level."""
    return LEVELS.index(int(name.split("_")[1]))


def _places(boxes: Tensor, name: str) -> list[tuple[int, int, int, int]]:
    """Return a part's box (left, top, right, bottom) in each item's features, in whole pixels."""
    shrunk = boxes[:, ROWS[name.split("_")[0]]].to(torch.int64) // (SIDE // LEVELS[_step(name)])
    return [(left, top, right, bottom) for left, top, right, bottom in shrunk.tolist()]


def _cut(features: Sequence[Tensor], boxes: Tensor) -> Parts:
    """Return all parts, in the order in which they are pasted, each brought to its side."""
    parts = {}
    for step, level in enumerate(LEVELS):
        for part in PARTS:
            name, side = f"{part}_{level}", SIDES[part][step]
            parts[name] = torch.cat([
                _resized(features[step][item : item + 1, :, top:bottom, left:right], (side, side))
                for item, (left, top, right, bottom) in enumerate(_places(boxes, name))
            ])  # fmt: skip
    return parts


def _paste(feature: Tensor, part: Tensor, name: str, boxes: Tensor) -> None:
    """Write a part of each item into its features."""
    for item, (left, top, right, bottom) in enumerate(_places(boxes, name)):
        feature[item, :, top:bottom, left:right] = _resized(part[item : item + 1], (bottom - top, right - left))[0]


def _resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


def _check_boxes(boxes: Tensor, number: int) -> None:
    """Refuse boxes of which something cannot be cut out."""
    if boxes.shape != (number, 4, 4):
        raise ValueError(f"{number} faces need boxes ({number}, 4, 4), not {tuple(boxes.shape)}.")
    used = boxes[:, [ROWS[part] for part in PARTS]].to(torch.int64)
    smallest = used // (SIDE // LEVELS[-1])
    inside = (used >= 0).all() and (used <= SIDE).all()
    if not inside or not (smallest[..., 2:] > smallest[..., :2]).all():
        raise ValueError(f"Boxes must lie within 0 and {SIDE} and not be empty, right and bottom after left and top.")
