"""The losses of the papers, as functions of tensors.

Adversarial ones are StyleGAN2's (non-saturating logistic, R1, path length; Karras et al. 2020, appendix B and section
3.2); the others are those of GFP-GAN (Wang et al. 2021, section 3.4) and GLEAN (Chan et al. 2021, section 3.2).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


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
    """
    parts = []
    for a, b in zip(found, wanted, strict=True):
        a, b = a.float(), b.float()
        size = b.detach().abs().mean() + 1e-6
        parts.append(F.mse_loss(a / size, b / size) if squared else F.l1_loss(a, b) / size)
    return torch.stack(parts).mean()


def pyramid_loss(found: Sequence[Tensor], wanted: Tensor) -> Tensor:
    """Return the L1 loss of pictures at several resolutions against the wanted one, reduced by area averaging."""
    parts = [F.l1_loss(picture.float(), F.interpolate(wanted, picture.shape[2:], mode="area")) for picture in found]
    return torch.stack(parts).sum()


def identity_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """Return one minus the mean cosine of embeddings (n, d)."""
    return 1 - F.cosine_similarity(found.float(), wanted.float()).mean()
