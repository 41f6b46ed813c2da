"""3x3 convolutions by fewer multiplications: Winograd's F(4x4, 3x3), in three calls of torch's own matrix products.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2016). A tile of 6x6 inputs becomes 4x4 outputs by
36 products for each pair of channels, where the plain way takes 144; what the tiles are brought there and back by costs
little where there are many channels. It is for networks that are only run, in fp32 on a CPU; results differ from the
plain convolution's by about 1e-5 of their deviation.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TILE = 4
"""Outputs of a tile, across and down."""
_SEEN = TILE + 2
"""Inputs that they depend on."""
_SCRATCH = 1 << 20
"""Values of one buffer: as many rows of tiles are done at once as fit. Measured: half as many and twice as many are
no quicker."""

# For the points 0, 1, -1, 2, -2 and infinity (section 4.3 of the paper).
_B = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
_G = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
_A = (
    (1, 1, 1, 1, 1, 0),
    (0, 1, -1, 2, -2, 0),
    (0, 1, 1, 4, 4, 0),
    (0, 1, -1, 8, -8, 1),
)

Border = Literal["zeros", "reflect", "replicate"]
"""How features go on beyond their outermost lines: by zeros, as their mirror image, or as these lines."""

_ALL = 1 * _SEEN + 1
"""The point (1, 1): what is added there is added to all 16 outputs of a tile."""


class Winograd:
    """The weights of one convolution, ready for tiles.

    They are transformed at the first call and kept: 4 times the bytes of the weights, `bytes` of them.

    Args:
        weight: (out, in, 3, 3), float32 on a CPU.
        pixels: below so many a call is not worth it.
    """

    def __init__(self, weight: Tensor, pixels: int = 0) -> None:
        self.pixels = pixels
        self.outputs, self.inputs = weight.shape[:2]
        self.bytes = transformed_bytes(weight.shape)
        self._weight = weight
        self._transformed: Tensor | None = None
        self._guard = threading.Lock()

    def __deepcopy__(self, memo: dict[int, object]) -> Winograd:
        return self  # it holds nothing that a call changes

    def takes(self, x: Tensor) -> bool:
        """Return whether it may take features (n, in, h, w), and they are large enough to be worth it.

        Their channels lie innermost: what is brought there and back for one layer was not measured to be worth it.
        """
        return (
            not torch.is_grad_enabled()
            and x.device.type == "cpu"
            and x.dtype == torch.float32
            and not torch.is_autocast_enabled("cpu")
            and not torch.compiler.is_compiling()
            and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
            and x.shape[2] * x.shape[3] >= self.pixels
            and x.is_contiguous(memory_format=torch.channels_last)
        )

    def __call__(
        self,
        x: Tensor,
        bias: Tensor | None = None,
        *,
        factors: Tensor | None = None,
        scales: Tensor | None = None,
        noise: Tensor | None = None,
        slope: float | None = None,
        border: Border = "zeros",
    ) -> Tensor:
        """Convolve features (n, in, h, w) to (n, out, h, w) with channels innermost.

        What stands around a convolution is done to a strip of rows while it is near the processor.

        Args:
            x: the features.
            bias: (out,).
            factors: (n, in) by which the input's channels are multiplied.
            scales: (n, out), none of them 0, by which the convolution is multiplied before anything is added.
            noise: (n or 1, 1, h, w), added to all channels.
            slope: of a leaky ReLU behind all that.
            border: what the convolution sees around them.
        """
        weight = self.transformed()
        count, channels, height, width = x.shape
        down, across = -(-height // TILE), -(-width // TILE)
        result = x.new_empty(count, height, width, self.outputs)
        rows = max(1, _SCRATCH // (_SEEN**2 * across * max(channels, self.outputs)))
        to_tiles, to_pixels = _transforms()
        size = _SEEN**2 * min(rows, down) * across
        gathered, seen = (_scratch(name, size * channels) for name in ("gathered", "seen"))
        products, made = (_scratch(name, size * self.outputs) for name in ("products", "made"))
        for index in range(count):
            factor = None if factors is None else factors[index]
            scale = None if scales is None else scales[index]
            added = bias if bias is None or scale is None else bias / scale
            grain = None if noise is None else noise[index if len(noise) > 1 else 0, 0, :, :, None]
            for top in range(0, down, rows):
                here = min(rows, down - top)
                tiles = here * across
                padded = _padded(x[index], factor, TILE * top - 1, TILE * here + 2, TILE * across + 2, border)
                line, pixel, _ = padded.stride()
                source = padded.as_strided(
                    (_SEEN, _SEEN, here, across, channels), (line, pixel, TILE * line, TILE * pixel, 1)
                )
                flat = gathered[: _SEEN**2 * tiles * channels].view(_SEEN**2, -1)
                flat.view(source.shape).copy_(source)
                inside = seen[: flat.numel()].view(_SEEN**2, -1)
                torch.mm(to_tiles, flat, out=inside)
                product = products[: _SEEN**2 * tiles * self.outputs].view(_SEEN**2, tiles, -1)
                torch.bmm(inside.view(_SEEN**2, tiles, channels), weight, out=product)
                if added is not None:
                    product[_ALL].add_(added)
                pixels = made[: TILE**2 * tiles * self.outputs].view(TILE**2, -1)
                torch.mm(to_pixels, product.view(_SEEN**2, -1), out=pixels)
                lines = slice(TILE * top, TILE * (top + here))
                strip = result[index, lines]
                _lay_down(
                    pixels.view(TILE, TILE, here, across, -1), strip, scale, None if grain is None else grain[lines]
                )
                if slope is not None:
                    F.leaky_relu_(strip, slope)
        # Channels innermost must be plain from the strides: seen otherwise, each layer behind would convert.
        return result.permute(0, 3, 1, 2)

    def transformed(self) -> Tensor:
        """Return the weights at the tiles' 36 points, (36, in, out)."""
        with self._guard:
            if self._transformed is None:
                with torch.inference_mode(False), torch.no_grad():
                    points = torch.tensor(_G, dtype=torch.float64)
                    found = torch.einsum("ak,oikl,bl->abio", points, self._weight.detach().double(), points)
                    self._transformed = found.reshape(_SEEN**2, self.inputs, self.outputs).float().contiguous()
            return self._transformed


def transformed_bytes(shape: Sequence[int]) -> int:
    """Return the bytes that the transformed weights take of a convolution with weights of a shape (out, in, 3, 3)."""
    return 4 * _SEEN**2 * shape[0] * shape[1]


class WinogradConv2d(nn.Conv2d):
    """A 3x3 convolution that takes this way where it can, and is a plain one else.

    Args:
        convolution: whose parameters it shares, one that `suits`.
        quick: its weights.
    """

    def __init__(self, convolution: nn.Conv2d, quick: Winograd) -> None:
        nn.Module.__init__(self)
        self.__dict__.update(convolution.__dict__)
        self.quick = quick

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in, h, w) to (n, out, h, w)."""
        return self.quick(x, self.bias) if self.quick.takes(x) else super().forward(x)

    def leaky(self, x: Tensor, slope: float) -> Tensor:
        """Return the leaky ReLU of it, applied while a strip is near the processor; see `restorer.networks.fused`."""
        if self.quick.takes(x):
            return self.quick(x, self.bias, slope=slope)
        return F.leaky_relu_(super().forward(x), slope)


def sees(convolution: nn.Module, side: int) -> None:
    """Note how large the features are that a convolution is given: side in pixels, 0 = it is never called itself."""
    object.__setattr__(convolution, "side", side)


def suits(convolution: nn.Conv2d) -> bool:
    """Return whether a convolution is of the kind that this can compute."""
    return (
        convolution.kernel_size == (3, 3)
        and convolution.stride == convolution.dilation == (1, 1)
        and convolution.padding == (1, 1)
        and convolution.padding_mode == "zeros"
        and convolution.groups == 1
        and convolution.weight.dtype == torch.float32
    )


def _padded(x: Tensor, factor: Tensor | None, top: int, lines: int, columns: int, border: Border) -> Tensor:
    """Return some lines of features (c, h, w), times factors (c,), as (lines, columns, c) with what is around them.

    Args:
        x: the features.
        factor: by which their channels are multiplied.
        top: the first line, -1 or more; the first column is -1.
        lines: how many; beyond the border there are zeros, which no result depends on.
        columns: likewise.
        border: what is one line or column beyond the features.
    """
    channels, height, width = x.shape
    padded = _scratch("padded", lines * columns * channels).view(lines, columns, channels)
    first, last = max(top, 0), min(top + lines, height)
    above, below = first - top, last - top  # of the lines returned, the first that is of the features, and the end
    inside, pixels = padded[above:below, 1 : width + 1], x[:, first:last].permute(1, 2, 0)
    inside.copy_(pixels) if factor is None else torch.mul(pixels, factor, out=inside)
    for edge in (padded[:above], padded[below:], padded[:, :1], padded[:, width + 1 :]):
        edge.zero_()
    if border != "zeros":
        back = 1 if border == "reflect" else 0  # how far inside the outermost line its neighbour outside is found
        for place, line in ((-1, back), (height, height - 1 - back)):
            if top <= place < top + lines:
                beyond = x[:, line].t()
                padded[place - top, 1 : width + 1] = beyond if factor is None else beyond * factor
        padded[:, 0], padded[:, width + 1] = padded[:, 1 + back], padded[:, width - back]
    return padded


def _lay_down(pixels: Tensor, strip: Tensor, scale: Tensor | None, noise: Tensor | None) -> None:
    """Write tiles (4, 4, rows of tiles, columns of tiles, c) into rows (h, w, c), which may end before they do.

    Args:
        pixels: the tiles.
        strip: the rows.
        scale: (c,), by which they are multiplied.
        noise: (h, w, 1), added then.
    """
    height, width, channels = strip.shape
    _, _, down, across, _ = pixels.shape
    ordered = pixels.permute(2, 0, 3, 1, 4)
    if (height, width) == (TILE * down, TILE * across):
        strip = strip.view(ordered.shape)
        noise = None if noise is None else noise.reshape(*ordered.shape[:4], 1)
    else:
        ordered = ordered.reshape(TILE * down, TILE * across, channels)[:height, :width]
    if scale is None:
        strip.copy_(ordered) if noise is None else torch.add(ordered, noise, out=strip)
    elif noise is None:
        torch.mul(ordered, scale, out=strip)
    else:
        torch.addcmul(noise, ordered, scale, out=strip)


_kept = threading.local()


def _scratch(name: str, size: int) -> Tensor:
    """Return a buffer of `size` values, the same one at each call in a thread: fresh ones cost more than the work."""
    kept: dict[str, Tensor] = _kept.__dict__
    if name not in kept or kept[name].numel() < size:
        kept.pop(name, None)
        with torch.inference_mode(False):
            kept[name] = torch.empty(size)
    return kept[name][:size]


@cache
def _transforms() -> tuple[Tensor, Tensor]:
    """Return the matrices from a tile's inputs to its points (36, 36), and from there to its outputs (16, 36)."""
    with torch.inference_mode(False):
        there, back = torch.tensor(_B, dtype=torch.float32), torch.tensor(_A, dtype=torch.float32)
        return torch.kron(there, there), torch.kron(back, back)
