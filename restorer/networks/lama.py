"""Fills holes of pictures: LaMa, whose layers see the whole picture through its spectrum.

Suvorov et al., "Resolution-robust Large Mask Inpainting with Fourier Convolutions" (2022). Inside its blocks three of
four channels are global: a convolution of their spectrum reaches every pixel at once.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTH, HALVINGS, BLOCKS = 64, 3, 18
GLOBAL = 0.75
"""Share of the channels of a block that are global."""
MULTIPLE = 1 << HALVINGS


class _Spectral(nn.Module):
    """What a 1x1 convolution of the spectrum adds to global features."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.narrow, self.narrow_norm = nn.Conv2d(width, half, 1, bias=False), nn.BatchNorm2d(half)
        self.mix, self.mix_norm = nn.Conv2d(2 * half, 2 * half, 1, bias=False), nn.BatchNorm2d(2 * half)
        self.widen = nn.Conv2d(half, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, width, h, w) to the same shape."""
        x = F.relu(self.narrow_norm(self.narrow(x)))
        widened: Tensor = self.widen(x + self._mixed(x))
        return widened

    def _mixed(self, x: Tensor) -> Tensor:
        count, channels, height, width = x.shape
        spectrum = torch.fft.rfft2(x.float(), norm="ortho")
        parts = torch.stack([spectrum.real, spectrum.imag], dim=2).flatten(1, 2)  # real, imaginary of each channel
        parts = F.relu(self.mix_norm(self.mix(parts.to(x.dtype)))).float()
        parts = parts.reshape(count, channels, 2, *parts.shape[2:])
        mixed = torch.complex(parts[:, :, 0].contiguous(), parts[:, :, 1].contiguous())
        back: Tensor = torch.fft.irfft2(mixed, s=(height, width), norm="ortho").to(x.dtype)
        return back


class _Fourier(nn.Module):
    """A 3x3 convolution of local and global features, each heard by both."""

    def __init__(self, local: int, whole: int) -> None:
        super().__init__()
        self.local_to_local = nn.Conv2d(local, local, 3, bias=False)
        self.local_to_global = nn.Conv2d(local, whole, 3, bias=False)
        self.global_to_local = nn.Conv2d(whole, local, 3, bias=False)
        self.spectral = _Spectral(whole)
        self.local_norm, self.global_norm = nn.BatchNorm2d(local), nn.BatchNorm2d(whole)

    def forward(self, local: Tensor, whole: Tensor) -> tuple[Tensor, Tensor]:
        """Map local features (n, `local`, h, w) and global ones (n, `whole`, h, w) to the same shapes."""
        near, far = _reflected(local, 1), _reflected(whole, 1)
        new_local = self.local_to_local(near) + self.global_to_local(far)
        new_whole = self.local_to_global(near) + self.spectral(whole)
        return F.relu(self.local_norm(new_local)), F.relu(self.global_norm(new_whole))


class _Block(nn.Module):
    """Two such convolutions whose result is added to their input."""

    def __init__(self, local: int, whole: int) -> None:
        super().__init__()
        self.first, self.second = _Fourier(local, whole), _Fourier(local, whole)

    def forward(self, local: Tensor, whole: Tensor) -> tuple[Tensor, Tensor]:
        """Map local features (n, `local`, h, w) and global ones (n, `whole`, h, w) to the same shapes."""
        new_local, new_whole = self.second(*self.first(local, whole))
        return local + new_local, whole + new_whole


class _Halving(nn.Module):
    """A 3x3 convolution of which every second pixel is kept; its channels may end as two convolutions' side by side."""

    def __init__(self, given: int, local: int, whole: int = 0) -> None:
        super().__init__()
        self.local, self.local_norm = nn.Conv2d(given, local, 3, stride=2, bias=False), nn.BatchNorm2d(local)
        self.whole = nn.Conv2d(given, whole, 3, stride=2, bias=False) if whole else None
        self.whole_norm = nn.BatchNorm2d(whole) if whole else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Map (n, given, h, w) to local and global features at half the sides."""
        x = _reflected(x, 1)
        local = F.relu(self.local_norm(self.local(x)))
        if self.whole is None or self.whole_norm is None:
            return local, None
        return local, F.relu(self.whole_norm(self.whole(x)))


class _Doubling(nn.Module):
    """A transposed convolution to twice the sides."""

    def __init__(self, given: int, width: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(given, width, 3, stride=2, padding=1, output_padding=1)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, given, h, w) to (n, width, 2h, 2w)."""
        return F.relu(self.norm(self.conv(x)))


class LaMa(nn.Module):
    """Fills what a mask covers; the rest of its answer is only near the picture, and is to be put back over it."""

    def __init__(self) -> None:
        super().__init__()
        widest = WIDTH << HALVINGS
        whole = int(widest * GLOBAL)
        self.first, self.first_norm = nn.Conv2d(4, WIDTH, 7, bias=False), nn.BatchNorm2d(WIDTH)
        narrow = [WIDTH << level for level in range(HALVINGS)]
        self.down = nn.ModuleList(_Halving(width, 2 * width) for width in narrow[:-1])
        self.down.append(_Halving(narrow[-1], widest - whole, whole))
        self.blocks = nn.ModuleList(_Block(widest - whole, whole) for _ in range(BLOCKS))
        self.up = nn.ModuleList(_Doubling(2 * width, width) for width in reversed(narrow))
        self.last = nn.Conv2d(WIDTH, 3, 7)

    def forward(self, pictures: Tensor, mask: Tensor) -> Tensor:
        """Return pictures (n, 3, h, w) in [-1, 1] without holes.

        Args:
            pictures: RGB in [-1, 1], (n, 3, h, w); what lies under the mask is not looked at.
            mask: (n, 1, h, w), above 0 = hole.

        Raises:
            ValueError: the shapes do not fit together.
        """
        if pictures.shape[1] != 3 or mask.shape != (len(pictures), 1, *pictures.shape[2:]):
            raise ValueError(
                "This network takes pictures (n, 3, h, w) and a mask (n, 1, h, w), "
                f"not {tuple(pictures.shape)} and {tuple(mask.shape)}."
            )
        height, width = pictures.shape[2:]
        hole = (mask > 0).to(pictures.dtype)
        x = torch.cat([(pictures + 1) / 2 * (1 - hole), hole], dim=1)
        x = _continued(x, -height % MULTIPLE, -width % MULTIPLE)
        answer: Tensor = self.answer(x)[..., :height, :width]
        return answer * 2 - 1

    def answer(self, x: Tensor) -> Tensor:
        """Map colours in [0, 1] that are 0 in holes, and the mask, (n, 4, h, w), to colours in [0, 1]."""
        x = F.relu(self.first_norm(self.first(_reflected(x, 3))))
        whole: Tensor | None = None
        for down in self.down:
            x, whole = down(x)
        assert whole is not None
        for block in self.blocks:
            x, whole = block(x, whole)
        x = torch.cat([x, whole], dim=1)
        for up in self.up:
            x = up(x)
        return torch.sigmoid(self.last(_reflected(x, 3)))


def _reflected(x: Tensor, reach: int) -> Tensor:
    return F.pad(x, (reach,) * 4, mode="reflect")


def _continued(x: Tensor, down: int, right: int) -> Tensor:
    """Return a picture that goes on as its own mirror image below and to the right, the border's pixels twice."""
    if down:
        x = torch.cat([x, x[..., -down:, :].flip(-2)], dim=-2)
    return torch.cat([x, x[..., -right:].flip(-1)], dim=-1) if right else x
