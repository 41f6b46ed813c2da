"""ParseNet, the face parser of PSFRGAN (Chen et al. 2021) and facexlib, in a form that is quick.

The same function as facexlib's, in fewer operations: batch norms are folded into convolutions; a convolution behind a
nearest-neighbour enlargement is one of 2x2 taps for each of the four pixels that a pixel becomes (4/9 of the work); and
reflection at the border is computed for the border alone. `coarse` is for masks that are blurred anyway.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restorer.networks.filters import quick_empty
from restorer.networks.fused import leaky_conv
from restorer.networks.stylegan2 import channels_last, own_precision
from restorer.networks.winograd import Border, Winograd

COARSE_INPUT = 0.75
"""`coarse` looks at pictures reduced by this much: the work falls with its square. Faces in the crops that the parser
was trained on differ by more than that in size."""
COARSE_OUTPUT = 4
"""`coarse` gives one value for so many pixels, along each axis, of the reduced picture."""
_EPS = 1e-5  # of torch's batch norm
_SMALL = 128 * 128  # below so many pixels, padding them is quicker than computing the border apart
_CHANNELS = (32, 256)  # the narrowest and the widest layer
_SLOPE = 0.2  # of the leaky ReLU

Scale = Literal["down", "none", "up"]


class _Conv(nn.Module):
    """The weights of a 3x3 convolution."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.empty(out_channels))
        nn.init.kaiming_normal_(self.weight, a=_SLOPE)
        nn.init.zeros_(self.bias)
        self.quick: dict[int, Winograd] = {}  # by cell, where that is quicker: `restorer.engine.arithmetic`


class _Block(nn.Module):
    """Two convolutions beside a shortcut, which is a convolution too where size or width change."""

    def __init__(self, in_channels: int, out_channels: int, scale: Scale) -> None:
        super().__init__()
        self.scale = scale
        self.shortcut = None if scale == "none" and in_channels == out_channels else _Conv(in_channels, out_channels)
        self.conv1 = _Conv(in_channels, out_channels)
        self.conv2 = _Conv(out_channels, out_channels)


class ParseNet(nn.Module):
    """RGB (n, 3, s, s) in [-1, 1] to class logits (n, parsing_ch, s, s); the arguments are facexlib's."""

    def __init__(
        self,
        *,
        in_size: int = 512,
        out_size: int = 512,
        min_feat_size: int = 32,
        base_ch: int = 64,
        parsing_ch: int = 19,
        res_depth: int = 10,
    ) -> None:
        super().__init__()
        smallest = min(in_size, min_feat_size)
        downs, ups = ((size // smallest).bit_length() - 1 for size in (in_size, out_size))
        widths = [min(max(base_ch << level, _CHANNELS[0]), _CHANNELS[1]) for level in range(downs + 1)]
        self.first = _Conv(3, base_ch)
        self.encoder = nn.ModuleList(_Block(widths[i], widths[i + 1], "down") for i in range(downs))
        self.body = nn.ModuleList(_Block(widths[-1], widths[-1], "none") for _ in range(res_depth))
        levels = [min(max((base_ch << downs) >> level, _CHANNELS[0]), _CHANNELS[1]) for level in range(ups + 1)]
        self.decoder = nn.ModuleList(_Block(levels[i], levels[i + 1], "up") for i in range(ups))
        self.out = _Conv(levels[-1], parsing_ch)
        self._kernels: dict[tuple[object, ...], tuple[Tensor, Tensor]] = {}

    def forward(self, pixels: Tensor, coarse: bool = False) -> Tensor:
        """Return logits (n, classes, s, s) of RGB (n, 3, s, s) in [-1, 1], or what `coarse` returns where asked for."""
        if coarse:
            return self.coarse(pixels)
        dtype, x = _computed_in(pixels)
        with own_precision(pixels):
            x = self._encode(x, dtype)
            for block in self.decoder:
                x = self._up(block, x)
            return self._reflected(self.out, x)

    def coarse(self, pixels: Tensor) -> Tensor:
        """Return logits of a quarter of 0.75 times the resolution: (n, classes, s * 3 / 16, s * 3 / 16).

        The picture is reduced to three quarters. The last two levels of the decoder, to which no finer feature of the
        picture comes, are computed at the resolution of the result, with the mean of what their convolutions give for
        the pixels of a cell, as if these differed by no more than the enlargement makes them.
        """
        pixels = F.interpolate(pixels, scale_factor=COARSE_INPUT, mode="bilinear", antialias=True)
        dtype, x = _computed_in(pixels)
        with own_precision(pixels):
            x = self._encode(x, dtype)
            exact, coarse = self._levels()
            for block in exact:
                x = self._up(block, x)
            for cell, block in coarse.items():
                main = self._replicated(block.conv1, x, cell, _SLOPE)
                main = self._replicated(block.conv2, main, cell)
                x = main.add_(self._replicated(block.shortcut, x, cell))
            return self._replicated(self.out, x, max(coarse, default=1))

    def _levels(self) -> tuple[list[Any], dict[int, Any]]:
        """Return the decoder's blocks that `coarse` computes exactly, and the others by the side of their cells."""
        blocks: list[Any] = list(self.decoder)
        exact = max(len(blocks) - (COARSE_OUTPUT.bit_length() - 1), 0)
        return blocks[:exact], {2**number: block for number, block in enumerate(blocks[exact:], 1)}

    def quick_weights(self) -> Iterator[tuple[dict[int, Winograd], int, Tensor]]:
        """Yield the convolutions that could be computed by fewer multiplications: where to put what does, and weights.

        Those of the body are not among them: they see few pixels, and are many.
        """
        straight: list[Any] = [*self.encoder]
        up: list[Any] = [*self.decoder]
        for conv in [*(block.conv1 for block in straight), *(block.conv2 for block in up)]:
            yield conv.quick, 1, conv.weight
        for cell, block in self._levels()[1].items():
            for conv in (block.conv1, block.conv2, block.shortcut):
                yield conv.quick, cell, _averaged(conv.weight.detach().float(), cell)

    def _encode(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        x = _reflected(x, *self._kernel(self.first, dtype))
        for block in self.encoder:
            x = self._straight(block, x)
        deep = x
        for block in self.body:
            deep = self._straight(block, deep)
        return x + deep

    def _straight(self, block: Any, x: Tensor) -> Tensor:
        """Run a block that does not enlarge."""
        stride = 2 if block.scale == "down" else 1
        main = self._reflected(block.conv1, x, _SLOPE)
        main = _reflected(main, *self._kernel(block.conv2, x.dtype), stride)
        shortcut = x if block.shortcut is None else _reflected(x, *self._kernel(block.shortcut, x.dtype), stride)
        total: Tensor = main.add_(shortcut)
        return total

    def _up(self, block: Any, x: Tensor) -> Tensor:
        """Run a block that enlarges twice."""
        # Nothing is kept that is not needed again: these are the largest tensors of the network.
        main = _interleave(_enlarged(x, *self._kernel(block.conv1, x.dtype, 0), _SLOPE))
        main = self._reflected(block.conv2, main)
        return _interleave(_enlarged(x, *self._kernel(block.shortcut, x.dtype, 0)), added_to=main)

    def _reflected(self, conv: Any, x: Tensor, slope: float | None = None) -> Tensor:
        """Convolve a picture that goes on as its mirror image; then take a leaky ReLU of a slope."""
        quickly = self._quickly(conv, x, 1, slope, "reflect")
        return _reflected(x, *self._kernel(conv, x.dtype), slope=slope) if quickly is None else quickly

    def _replicated(self, conv: Any, x: Tensor, cell: int, slope: float | None = None) -> Tensor:
        """Convolve cells of a picture that goes on as its outermost ones; then take a leaky ReLU of a slope."""
        quickly = self._quickly(conv, x, cell, slope, "replicate")
        return _replicated(x, *self._kernel(conv, x.dtype, cell), slope) if quickly is None else quickly

    def _quickly(self, conv: Any, x: Tensor, cell: int, slope: float | None, border: Border) -> Tensor | None:
        """Return what a convolution makes by fewer multiplications; None where it has no such way."""
        quick: Winograd | None = conv.quick.get(cell)
        return None if quick is None or not quick.takes(x) else quick(x, conv.bias, slope=slope, border=border)

    def _kernel(self, conv: Any, dtype: torch.dtype, cell: int = 1) -> tuple[Tensor, Tensor]:
        """Return a convolution's weight and bias, made once for a precision, for cells of so many pixels; 0: phases."""
        weight: Tensor = conv.weight
        bias: Tensor = conv.bias
        if cell == 1 and weight.dtype == dtype:
            return weight, bias.to(dtype)
        key = id(conv), weight.device, dtype, cell
        if key not in self._kernels or torch.is_grad_enabled():
            if cell == 0:
                weight, bias = _phases(weight.float()), bias.repeat(4)
            elif cell > 1:
                weight = _averaged(weight.float(), cell)
            self._kernels[key] = (channels_last(weight.to(dtype)), bias.to(dtype))
        return self._kernels[key]


def folded(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return facexlib's state dict under the names here, each batch norm in the convolution before it.

    Raises:
        KeyError: a part of a batch norm is missing.
    """
    result = {}
    for key, value in state.items():
        if not key.endswith(".conv2d.weight"):
            continue
        path = key.removesuffix(".conv2d.weight")
        norm = f"{path}.norm.norm."
        if norm + "weight" in state:
            gain = state[norm + "weight"] * torch.rsqrt(state[norm + "running_var"] + _EPS)
            value = value * gain[:, None, None, None]
            bias = state[norm + "bias"] - state[norm + "running_mean"] * gain
        else:
            # A copy: a single tensor of a mapped file keeps all of it in memory.
            value, bias = value.clone(), state[f"{path}.conv2d.bias"].clone()
        name = _renamed(path)
        result[f"{name}.weight"], result[f"{name}.bias"] = value, bias
    return result


def _renamed(path: str) -> str:
    """Return the name here of one of facexlib's convolutions."""
    first, *rest = path.split(".")
    if first == "out_mask_conv":
        return "out"
    if first == "encoder":
        if rest == ["0"]:
            return "first"
        rest = [str(int(rest[0]) - 1), *rest[1:]]
    return ".".join([first, *rest]).replace(".shortcut_func", ".shortcut")


def _computed_in(pixels: Tensor) -> tuple[torch.dtype, Tensor]:
    """Return the precision to compute in, autocast's where that is on, and the pixels in it."""
    kind = pixels.device.type
    low = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    dtype = torch.get_autocast_dtype(kind) if low else pixels.dtype
    return dtype, channels_last(pixels.to(dtype))


def _reflected(x: Tensor, weight: Tensor, bias: Tensor, stride: int = 1, slope: float | None = None) -> Tensor:
    """Convolve a picture that goes on as its mirror image; then take a leaky ReLU of a slope."""
    height, width = x.shape[2:]
    if height * width <= _SMALL or torch.is_grad_enabled() or height % 2 or width % 2:
        return leaky_conv(F.pad(x, (1, 1, 1, 1), "reflect"), weight, bias, slope, stride)
    result = leaky_conv(x, weight, bias, slope, stride, padding=1)
    # Zeros around the picture are wrong in the outermost rows and columns alone: these are computed again.
    # With two columns, of which the second is dropped: with one, oneDNN's bf16 convolution of stride 2 gives garbage.
    left = 2 * stride
    edges = [(x[:, :, :2], (1, 1, 1, 0), result[:, :, :1]), (x[..., :left], (1, 0, 1, 1), result[..., :1])]
    if stride == 1:
        edges += [(x[:, :, -2:], (1, 1, 0, 1), result[:, :, -1:]), (x[..., -2:], (0, 1, 1, 1), result[..., -1:])]
    for strip, padding, target in edges:
        again = leaky_conv(F.pad(strip, padding, "reflect"), weight, bias, slope, stride)
        target.copy_(again[:, :, : target.shape[2], : target.shape[3]])
    return result


def _replicated(x: Tensor, weight: Tensor, bias: Tensor, slope: float | None = None) -> Tensor:
    """Convolve a picture that goes on as its last pixel, which a mirrored one is once it was enlarged."""
    return leaky_conv(F.pad(x, (1, 1, 1, 1), "replicate"), weight, bias, slope)


_enlarged = _replicated


def _interleave(phases: Tensor, added_to: Tensor | None = None) -> Tensor:
    """Return (n, c, 2h, 2w) of what a kernel of `_phases` gave, (n, 4c, h + 1, w + 1), or add it to such a tensor."""
    count, channels, height, width = phases.shape[0], phases.shape[1] // 4, phases.shape[2] - 1, phases.shape[3] - 1
    result = quick_empty(phases, count, channels, 2 * height, 2 * width) if added_to is None else added_to
    for number in range(4):
        down, right = divmod(number, 2)
        part = phases[:, number * channels : (number + 1) * channels]
        part = part[:, :, down : down + height, right : right + width]
        place = result[:, :, down::2, right::2]
        place.copy_(part) if added_to is None else place.add_(part)
    return result


def _phases(weight: Tensor) -> Tensor:
    """Return (4 * out, in, 2, 2): what a 3x3 kernel is to each of the four pixels that a pixel is enlarged to."""
    taps = weight.new_tensor([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]])
    return torch.cat([taps[down] @ weight @ taps[right].T for down in (0, 1) for right in (0, 1)])


def _averaged(weight: Tensor, cell: int) -> Tensor:
    """Return the 3x3 kernel whose result is the mean over a cell, where each cell is of one value."""
    side = 1 / cell
    taps = weight.new_tensor([[side, 0, 0], [1 - side, 1, 1 - side], [0, 0, side]])
    return taps @ weight @ taps.T
