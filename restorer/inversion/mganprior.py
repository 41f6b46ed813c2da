"""mGANprior: several codes whose features, joined channel by channel, make the picture that the photo shows.

Gu, Shen and Zhou, "Image Processing Using Multi-Code GAN Prior" (2020). One code of a GAN rarely reaches a given
picture; several can, each giving the channels that it is good at. What is seen of the picture decides what the search
is for: its reduction (super-resolution), its brightness (colour), what lies outside a hole (inpainting), or all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from restorer.inversion.codes import CodePrior
from restorer.inversion.course import Best, Found, Limits, OnStep, Stopped
from restorer.inversion.descent import Descent
from restorer.inversion.operators import Operator

Features = Callable[[Tensor], list[Tensor]]
"""Features of pictures (n, 3, h, w) in [-1, 1], for a perceptual loss."""


@dataclass(frozen=True)
class CodeSettings:
    """How mGANprior searches.

    Attributes:
        codes: how many codes there are for a picture.
        layer: behind how many layers they are joined.
        adam: whether steps are Adam's; else the plain gradient's, as the authors'.
        rate: the learning rate.
        perceptual: weight of the features' difference beside that of the pixels.
    """

    codes: int = 20
    layer: int = 6
    adam: bool = True
    rate: float = 0.05
    perceptual: float = 0.0


@dataclass(frozen=True)
class CodeStart:
    """Where searches begin: codes (n, codes, code_dim), channel weights (n, codes, width), what the back part takes."""

    codes: Tensor
    weights: Tensor
    rest: list[Tensor]


def draw_codes(prior: CodePrior, seeds: Sequence[int], settings: CodeSettings) -> CodeStart:
    """Draw where searches begin, one for each seed, whatever the others are; on the CPU, for every device alike."""
    drawn = [prior.draw(settings.codes, torch.Generator().manual_seed(seed)) for seed in seeds]
    codes = torch.cat(drawn).to(prior.place)
    weights = codes.new_full((len(seeds), settings.codes, prior.width(settings.layer)), prior.begin(settings.codes))
    return CodeStart(codes, weights, prior.rest(codes))


class CodeSearch:
    """Searches that go on side by side, one for each item; none depends on the others.

    Args:
        prior: what is searched.
        target: (n or 1, c, h, w) in [-1, 1], what the photo shows.
        seen: what a photo shows of a picture, in the units of the target.
        start: where they begin.
        settings: how it searches.
        features: of pictures like the target, for the perceptual loss; None = pixels alone count.
    """

    def __init__(
        self,
        prior: CodePrior,
        target: Tensor,
        seen: Operator,
        start: CodeStart,
        settings: CodeSettings,
        features: Features | None = None,
    ) -> None:
        self._prior, self._seen, self._settings = prior, seen, settings
        self._features = features if settings.perceptual else None
        count = len(start.codes)
        self.items = torch.arange(count)
        self.taken = 0
        target = target.to(start.codes)
        self._wanted = [] if self._features is None else [each.detach() for each in self._features(target)]
        self.target = target.expand(count, -1, -1, -1)
        self._descent = Descent([start.codes, start.weights, *start.rest], adam=settings.adam)
        self.best = Best(count, None)
        self.errors = torch.zeros(0)

    @property
    def codes(self) -> Tensor:
        """The codes now, (n, codes, code_dim)."""
        return self._descent.parameters[0].detach()

    @property
    def weights(self) -> Tensor:
        """The channel weights now, (n, codes, width)."""
        return self._descent.parameters[1].detach()

    def pictures(self) -> Tensor:
        """Return the pictures of now, (n, 3, size, size)."""
        codes, weights, *rest = self._descent.parameters
        return self._prior.pictures(codes, weights, self._settings.layer, rest)

    def step(self, rate: float | None = None) -> None:
        """Look at the pictures of now, and take one step; afterwards `errors` tells of these pictures."""
        pictures = self.pictures()
        shown = self._seen(pictures)
        errors = (shown - self.target).square().mean((1, 2, 3))
        losses = errors + self._settings.perceptual * self._unlike(shown) if self._features is not None else errors
        gradients = torch.autograd.grad(losses.sum(), self._descent.parameters, allow_unused=True)
        given = [
            torch.zeros_like(each) if gradient is None else gradient
            for each, gradient in zip(self._descent.parameters, gradients, strict=True)
        ]
        self.errors = errors.detach()
        # Levels are counted in units of [0, 1]: half of those of [-1, 1].
        self.best.look(self.items, pictures, self.errors / 4, losses.detach(), self.taken)
        self._descent.step(given, self._settings.rate if rate is None else rate)
        self.taken += 1

    def _unlike(self, shown: Tensor) -> Tensor:
        """Return how much the features of pictures differ from the target's, (n): a share of the target's own size."""
        assert self._features is not None
        total = shown.new_zeros(len(shown))
        for ours, wanted in zip(self._features(shown), self._wanted, strict=True):
            apart = (ours - wanted).abs().flatten(1).mean(1)
            total = total + apart / wanted.abs().flatten(1).mean(1).clamp_min(1e-6)
        return total / len(self._wanted)

    def run(self, limits: Limits, on_step: OnStep | None = None) -> list[Found]:
        """Take the steps, and return the best of each item; an interrupt ends the search as a time limit does."""
        stopped: Stopped | None = None
        try:
            while self.taken < limits.steps:
                if self.taken and limits.is_over:
                    stopped = "time limit"
                    break
                self.step(self._rate(limits.steps))
                if on_step is not None:
                    on_step(self.best.glimpse(self.taken, limits.steps))
        except KeyboardInterrupt:
            if self.best.pictures[0] is None:
                raise
            stopped = "interrupt"
        return self.best.found(stopped)

    def _rate(self, steps: int) -> float:
        """Return the rate of the next step: Adam's falls to a twentieth over the last half, a plain one stays."""
        if not self._settings.adam:
            return self._settings.rate
        share = max(0.0, self.taken / steps - 0.5) * 2
        return self._settings.rate * (1 - 0.95 * share)
