"""What a photo shows is the photo's: answers of a prior get back what is seen of a face, and keep what is not.

A prior cannot draw every face, so what it answers differs from the photo also where the photo is known. Each task says
what is known, and what of an answer is taken: colours for a brightness, the inside of a hole, detail too fine for a
small picture, and what lies below the noise. Pictures are (1, c, s, s) in [-1, 1].
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from restorer.imaging.quality import LEAST_SIDE, measure
from restorer.inversion.operators import Reduction, grey

NEAR, ALIKE = 1 / 16, 0.02
"""What colours spread over: a window's reach, as a share of the side; variance of brightness that is no edge."""
WIDTHS = (1 / 48, 1 / 24, 1 / 12, 1 / 6, 1 / 3)
"""Deviations of the filters that carry tones into a hole, as shares of the picture's side."""
ENOUGH = 0.1
"""How much of a filter's weight must lie on what is known."""
WINDOW, STRIDE = 8, 2
"""Side in pixels of the windows that are told from noise, and how far apart they are."""
ABOVE = 2.7
"""By how many deviations of the noise a coefficient must differ to be the photo's and not its noise."""

UNLIKE, AROUND = 16 / 127.5, 1 / 32
"""Difference from the photo at which an answer's own detail counts for a half, and over what share of the side."""
OF_EVENEST = 1.3, 2 * 1.3, 4 * 1.6
"""Deviation of white noise, as a multiple of what the evenest cells show at the picture's size, a half, a quarter."""


def coloured(answer: Tensor, brightness: Tensor) -> Tensor:
    """Return a brightness (1, 1, s, s) with the colours of an answer (1, 3, s, s).

    The answer's edges lie where its own face has them, not the photo's. So each window's colours become a straight
    function of the photo's brightness there (He, Sun and Tang, "Guided Image Filtering", 2010): what crosses an edge of
    the photo, or has none, is smooth.
    """
    colours, reach = answer - grey(answer), max(1, round(NEAR * answer.shape[-1]))
    guide, mean = _around(brightness, reach), _around(colours, reach)
    spread = _around(brightness.square(), reach) - guide.square()
    slope = (_around(brightness * colours, reach) - guide * mean) / (spread + ALIKE)
    colours = _around(slope, reach) * brightness + _around(mean - slope * guide, reach)
    return brightness + colours - grey(colours)


def filled(answer: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Return what is known of a target (1, 3, s, s), and elsewhere the answer, in the tones around.

    A search leaves a difference of a few levels all over the picture; cut off at the hole, it would be its outline. It
    is carried inwards by wider and wider filters, each as far as it sees enough of what is known.

    Args:
        answer: (1, 3, s, s).
        target: of the same shape.
        known: (1, 1, s, s), 1 where the target is known, else 0.
    """
    values, reached = (target - answer) * known, known
    for share in WIDTHS:
        weight = smooth(reached, share * values.shape[-1])
        around = smooth(values * reached, share * values.shape[-1]) / weight.clamp_min(1e-6)
        new = (reached == 0) & (weight > ENOUGH)
        values = torch.where(new, around, values * reached)
        reached = reached + new.to(reached)
    return answer + values


def enlarged(answer: Tensor, small: Tensor, seen: Reduction) -> Tensor:
    """Return an answer (1, 3, s, s) changed by the least that makes its reduction the small picture.

    Where it had to be changed by much, its detail belongs to another face: there the small picture is just enlarged.
    """
    apart = seen.undone(small - seen(answer))
    plain = F.interpolate(small, answer.shape[-2:], mode="bicubic")
    return torch.lerp(plain, answer + apart, _trust(apart))


def cleaned(answer: Tensor, noisy: Tensor) -> Tensor:
    """Return an answer (1, 3, s, s) with what a noisy picture shows beyond its noise.

    The difference of the two is looked at in overlapping windows, as cosines over rows, columns and colours, in which
    noise is spread evenly and a feature is a few large numbers. Those that stand out of the noise are the photo's; for
    the others there is only the prior's word. Where that is another face's, by what the photo shows at all, it is
    not heard.
    """
    limits = ABOVE * noise_of(noisy).to(answer)
    flat = noisy.mean((2, 3), keepdim=True).expand_as(noisy)
    plain = flat + _standing_out(noisy - flat, limits)
    answer = torch.lerp(plain, answer, _trust(plain - answer))
    return answer + _standing_out(noisy - answer, limits)


def _standing_out(apart: Tensor, limits: Tensor) -> Tensor:
    """Return those waves of a difference (1, 3, s, s) that are above their limits (3, WINDOW, WINDOW)."""
    reach, across, basis = WINDOW - STRIDE, cosines(3).to(apart), cosines(WINDOW).to(apart)
    mixed = F.pad(torch.einsum("ij,njhw->nihw", across, apart), (reach,) * 4, mode="reflect")
    windows = F.unfold(mixed, WINDOW, stride=STRIDE)
    count = windows.shape[-1]
    waves = torch.einsum("ai,bj,cijn->cabn", basis, basis, windows.reshape(3, WINDOW, WINDOW, count))
    waves = waves * (waves.abs() > limits[..., None])
    blocks = torch.einsum("ai,bj,cabn->cijn", basis, basis, waves).reshape(1, -1, count)
    kept, covered = (
        F.fold(each, mixed.shape[-2:], WINDOW, stride=STRIDE) for each in (blocks, torch.ones_like(blocks))
    )
    kept = (kept / covered.clamp_min(1))[..., reach:-reach, reach:-reach]
    return torch.einsum("ij,nihw->njhw", across, kept)


def _trust(apart: Tensor) -> Tensor:
    """Return how far an answer is to be believed, (1, 1, s, s): less where it differs from what is known around."""
    sigma = AROUND * apart.shape[-1]
    reach = min(math.ceil(3 * sigma), apart.shape[-1] - 1)
    squares = F.pad(apart.square().mean(1, keepdim=True), (reach,) * 4, mode="reflect")
    around = smooth(squares, sigma)[..., reach:-reach, reach:-reach]
    return UNLIKE**2 / (UNLIKE**2 + around)


def noise_of(picture: Tensor) -> Tensor:
    """Return the deviation of a picture's noise in each wave of `cleaned`, (3, WINDOW, WINDOW), in units of [-1, 1].

    Noise is measured where the picture is evenest, at its own size, a half and a quarter of it, which tell of waves
    within two, four and more pixels: noise that was enlarged with its photo is coarse.
    """
    if picture.shape[-1] < LEAST_SIDE:
        return torch.zeros(3, WINDOW, WINDOW)
    mixed = torch.einsum("ij,njhw->nihw", cosines(3).to(picture), picture)[0].float().cpu().numpy()
    order = np.maximum.outer(np.arange(WINDOW), np.arange(WINDOW))
    result = []
    for channel, gain in zip(mixed, (math.sqrt(3), 1.0, 1.0), strict=True):
        found = measure(np.ascontiguousarray(channel / gain * 127.5 + 127.5, np.float32))
        noise = found.noise, found.coarse_noise, found.coarsest_noise
        fine, half, quarter = (times * each for times, each in zip(OF_EVENEST, noise, strict=True))
        result.append(gain / 127.5 * np.where(order >= 4, fine, np.where(order >= 2, half, quarter)))
    return torch.from_numpy(np.stack(result)).float()


def cosines(count: int) -> Tensor:
    """Return the orthonormal cosine transform of so many numbers, (count, count): row k is the wave of order k."""
    numbers = torch.arange(count)
    waves = torch.cos(math.pi * (2 * numbers[None] + 1) * numbers[:, None] / (2 * count)) * math.sqrt(2 / count)
    waves[0] /= math.sqrt(2)
    return waves


def _around(x: Tensor, reach: int) -> Tensor:
    """Return the means of (n, c, h, w) over windows of 2 * reach + 1 pixels."""
    return F.avg_pool2d(F.pad(x, (reach,) * 4, mode="replicate"), 2 * reach + 1, stride=1)


def smooth(x: Tensor, sigma: float) -> Tensor:
    """Blur (1, c, s, s) with a Gaussian of that deviation in pixels, zeros around."""
    reach, count = math.ceil(3 * sigma), x.shape[1]
    taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2).to(x)
    taps = taps / taps.sum()
    x = F.conv2d(x, taps.view(1, 1, -1, 1).expand(count, 1, -1, 1), padding=(reach, 0), groups=count)
    return F.conv2d(x, taps.view(1, 1, 1, -1).expand(count, 1, 1, -1), padding=(0, reach), groups=count)
