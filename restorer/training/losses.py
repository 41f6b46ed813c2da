"""The losses of the papers, as functions of tensors.

Adversarial ones are StyleGAN2's (non-saturating logistic, R1, path length; Karras et al. 2020, appendix B and section
3.2); the others are those of GFP-GAN (Wang et al. 2021, section 3.4) and GLEAN (Chan et al. 2021, section 3.2).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from restorer.imaging.colour import LUMA


def logistic_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Return the discriminator's logistic loss on its verdicts (n, 1) of real and drawn pictures."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def nonsaturating_generator(fake: Tensor) -> Tensor:
    """Return the generator's non-saturating loss on the verdicts (n, 1) of its pictures."""
    return F.softplus(-fake).mean()


def r1_penalty(real: Tensor, pictures: Tensor) -> Tensor:
    """Return half the mean squared gradient of the verdicts with respect to the real pictures (Mescheder et al.).

    Args:
        real: verdicts (n, 1) that were computed from `pictures`.
        pictures: (n, 3, h, w), requiring gradients.
    """
    (gradient,) = torch.autograd.grad(real.sum(), pictures, create_graph=True)
    return 0.5 * gradient.float().square().sum((1, 2, 3)).mean()


def path_lengths(pictures: Tensor, latents: Tensor) -> Tensor:
    """Return for each picture how far it moves with its latents: |J^T y| for a random y (StyleGAN2, section 3.2).

    Args:
        pictures: (n, 3, h, w), computed from `latents`.
        latents: w+ (n, codes, style_dim), requiring gradients.
    """
    noise = torch.randn_like(pictures) / (pictures.shape[2] * pictures.shape[3]) ** 0.5
    (gradient,) = torch.autograd.grad((pictures * noise).sum(), latents, create_graph=True)
    return gradient.float().square().sum(2).mean(1).sqrt()


def gram(features: Tensor) -> Tensor:
    """Return the Gram matrices (n, c, c) of features (n, c, h, w), divided by c*h*w."""
    flat = features.float().flatten(2)
    return flat @ flat.transpose(1, 2) / (flat.shape[1] * flat.shape[2])


def style_loss(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """Return the mean absolute difference of Gram matrices, summed over the layers (GFP-GAN's feature style loss)."""
    return torch.stack([F.l1_loss(gram(a), gram(b)) for a, b in zip(found, wanted, strict=True)]).sum()


def feature_loss(found: Sequence[Tensor], wanted: Sequence[Tensor], *, squared: bool = False) -> Tensor:
    """Return the mean difference of features, averaged over the layers.

    Each layer is divided by the wanted features' own mean size, so that no layer and no network outweighs the others.

    Args:
        found: features of each layer, (n, c, h, w) or any shape.
        wanted: as many, of the same shapes; no gradient goes through their size.
        squared: take the mean squared difference instead of the mean absolute one.

    Returns:
        A scalar.
    """
    parts = []
    for a, b in zip(found, wanted, strict=True):
        a, b = a.float(), b.float()
        size = b.detach().abs().mean() + 1e-6
        parts.append(F.mse_loss(a / size, b / size) if squared else F.l1_loss(a, b) / size)
    return torch.stack(parts).mean()


def pyramid_loss(found: Sequence[Tensor], wanted: Tensor) -> Tensor:
    """Return the L1 loss of pictures at several resolutions against the wanted one, reduced by area averaging.

    Args:
        found: pictures (n, 3, h, w) in about [-1, 1], each at a resolution of its own.
        wanted: (n, 3, H, W) in [-1, 1], at least as large as each of them.

    Returns:
        A scalar: the sum over the resolutions.
    """
    parts = [F.l1_loss(picture.float(), F.interpolate(wanted, picture.shape[2:], mode="area")) for picture in found]
    return torch.stack(parts).sum()


def texture_statistics(pictures: Tensor, *, window: int = 64) -> list[Tensor]:
    """Return local statistics of the luma at full and half resolution, as tensors (n, k, rows, columns).

    They are those of natural scenes that NIQE models (Mittal et al., "Making a Completely Blind Image Quality
    Analyzer", 2013): the luma less its local mean and divided by its local deviation, the products of neighbours, and
    the deviation itself; here as plain means over overlapping squares. Farther neighbours, and the mean at each place
    of a 4x4 grid, are there because upsampling layers find it easiest to make texture that repeats.

    Args:
        pictures: (n, 3, h, w) in [-1, 1].
        window: side of the squares in pixels, at most the picture's; each overlaps the next by half. In small squares
            the statistics of random texture scatter, which a loss takes for an error.
    """
    luma = (pictures.float() * pictures.new_tensor(LUMA.tolist()).view(3, 1, 1)).sum(1, keepdim=True)
    x = 127.5 * (luma + 1)
    found = []
    window = min(window, *pictures.shape[2:])
    for side in (window, window // 2):
        mean = _blur(x)
        centred = x - mean
        deviation = torch.sqrt(_blur(centred.square()) + 1e-3)
        n = centred / (deviation + 1)
        maps = [torch.log1p(deviation), n.abs(), n.square()]
        for step in ((0, 1), (1, 0), (1, 1), (1, -1)):
            product = n * torch.roll(n, step, (2, 3))
            maps += [product, product.abs()]
        maps += [n * torch.roll(n, step, (2, 3)) for step in ((0, 2), (2, 0), (2, 2), (0, 4), (4, 0))]
        pooled = F.avg_pool2d(torch.cat(maps, dim=1), side, side // 2)
        grid = F.avg_pool2d(F.pixel_unshuffle(n, 4), side // 4, side // 8)
        found.append(torch.cat([pooled, grid], dim=1))
        x = F.avg_pool2d(x, 2)
    return found


def _blur(x: Tensor) -> Tensor:
    """Return x (n, 1, h, w) after the Gaussian of 7x7 pixels that NIQE takes, sigma 7/6."""
    reach = torch.arange(-3, 4, device=x.device, dtype=x.dtype)
    line = torch.exp(-0.5 * (reach * 6 / 7).square())
    line = line / line.sum()
    x = F.conv2d(F.pad(x, (3, 3, 3, 3), mode="reflect"), line.view(1, 1, 7, 1))
    return F.conv2d(x, line.view(1, 1, 1, 7))


def texture_loss(found: Tensor, wanted: Tensor, *, window: int = 64) -> Tensor:
    """Return the mean absolute difference of `texture_statistics`: as rough and as contrasted, wherever it is.

    Unlike a difference of pixels it does not punish texture that is in the right place but not the same: it lets a
    restorer draw hair and skin where their pixels are lost.
    """
    with torch.no_grad():
        there = texture_statistics(wanted, window=window)
    here = texture_statistics(found, window=window)
    return torch.stack([F.l1_loss(a, b) for a, b in zip(here, there, strict=True)]).mean()


def identity_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """Return one minus the mean cosine of embeddings (n, d)."""
    return 1 - F.cosine_similarity(found.float(), wanted.float()).mean()


def diversity_loss(embeddings: Tensor, *, margin: float = 0.3) -> Tensor:
    """Return how alike the faces of a batch are: the mean over all pairs of the square by which their cosine passes.

    It keeps a generator from drawing the same few people (mode-seeking, as Mao et al. 2019, with an identity network
    for the distance of pictures).

    Args:
        embeddings: (n, d), n of 2 or more.
        margin: the cosine that two strangers may have.
    """
    directions = F.normalize(embeddings.float(), dim=1)
    rows, columns = torch.triu_indices(len(directions), len(directions), offset=1, device=directions.device)
    return F.relu((directions @ directions.T)[rows, columns] - margin).square().mean()
