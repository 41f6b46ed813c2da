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
from restorer.inversion.descent import Descent, gradients_of
from restorer.inversion.operators import Operator
from restorer.inversion.sharing import at_once, shares

Features = Callable[[Tensor], list[Tensor]]
"""Features of pictures (n, 3, h, w) in [-1, 1], for a perceptual loss."""


@dataclass(frozen=True)
class Pulls:
    """How strongly a search is held to what the prior would draw: weights beside the mean squared error of [-1, 1].

    Free codes leave the prior's draws far behind, and agree with what is seen in ways in which no face looks.

    Attributes:
        codes, rest: of the distance of the codes, and of what the back part takes; see `CodePrior.unlikely`.
        weights: of the mean square by which channel weights differ from those at the start, as a share of these.
    """

    codes: float = 0.0
    rest: float = 0.0
    weights: float = 0.0

    def times(self, factor: float) -> Pulls:
        """Return pulls that are so many times as strong."""
        return Pulls(self.codes * factor, self.rest * factor, self.weights * factor)


@dataclass(frozen=True)
class CodeSettings:
    """How mGANprior searches.

    Attributes:
        codes: how many codes there are for a picture.
        layer: behind how many layers they are joined.
        adam: whether steps are Adam's; else the plain gradient's, as the authors'.
        rate: the learning rate.
        perceptual: weight of the features' difference beside that of the pixels.
        pulls: how strongly it is held to what the prior would draw.
        enough: mean squared error, in units of [0, 1], from which on an item is left as it is: that of noise.
    """

    codes: int = 20
    layer: int = 6
    adam: bool = True
    rate: float = 0.05
    perceptual: float = 0.0
    pulls: Pulls = Pulls()
    enough: float = 0.0


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
        looks = at_once(self._look, shares(self.items, self.target))
        pictures, self.errors, losses, *given = (torch.cat(each) for each in zip(*looks, strict=True))
        # Levels are counted in units of [0, 1]: half of those of [-1, 1].
        self.best.look(self.items, pictures, self.errors / 4, losses, self.taken)
        self._descent.step(given, self._settings.rate if rate is None else rate)
        self.taken += 1

    def _look(self, part: slice) -> list[Tensor]:
        """Return what some items show now: pictures, errors, losses, a gradient for each parameter."""
        parameters = [each.detach()[part].requires_grad_() for each in self._descent.parameters]
        codes, weights, *rest = parameters
        pictures = self._prior.pictures(codes, weights, self._settings.layer, rest)
        shown = self._seen(pictures)
        losses = errors = (shown - self.target[part]).square().mean((1, 2, 3))
        if self._features is not None:
            losses = losses + self._settings.perceptual * self._unlike(shown, part)
        if self._settings.pulls != Pulls():
            losses = losses + self._pulled(codes, weights, rest)
        return [*(each.detach() for each in (pictures, errors, losses)), *gradients_of(losses, parameters)]

    def _pulled(self, codes: Tensor, weights: Tensor, rest: list[Tensor]) -> Tensor:
        """Return what codes, channel weights and what the back part takes cost by being improbable, (n)."""
        pulls = self._settings.pulls
        first, last = self._prior.unlikely(codes, rest, self._settings.layer)
        moved = (weights / self._prior.begin(codes.shape[1]) - 1).square().mean((1, 2))
        return pulls.codes * first + pulls.rest * last + pulls.weights * moved

    def _unlike(self, shown: Tensor, part: slice) -> Tensor:
        """Return how much the features of pictures differ from the target's, (n): a share of the target's own size."""
        assert self._features is not None
        total = shown.new_zeros(len(shown))
        for ours, all_wanted in zip(self._features(shown), self._wanted, strict=True):
            wanted = all_wanted if len(all_wanted) == 1 else all_wanted[part]
            apart = (ours - wanted).abs().flatten(1).mean(1)
            total = total + apart / wanted.abs().flatten(1).mean(1).clamp_min(1e-6)
        return total / len(self._wanted)

    def keep(self, items: Tensor) -> None:
        """Go on with these items only."""
        chosen = torch.tensor([self.items.tolist().index(item) for item in items.tolist()], dtype=torch.long)
        self.items = items
        chosen = chosen.to(self.target.device)
        self._descent.keep(chosen)
        self.target = self.target[chosen]
        self._wanted = [each if len(each) == 1 else each[chosen] for each in self._wanted]

    def run(self, limits: Limits, on_step: OnStep | None = None) -> list[Found]:
        """Take the steps, and return the best of each item; an interrupt ends the search as a time limit does."""
        stopped: Stopped | None = None
        try:
            while self.taken < limits.steps and len(self.items):
                if self.taken and limits.is_over:
                    stopped = "time limit"
                    break
                self.step(self._rate(limits.steps))
                if on_step is not None:
                    on_step(self.best.glimpse(self.taken, limits.steps))
                left = [item for item in self.items.tolist() if self.best.squared[item] > self._settings.enough]
                if len(left) < len(self.items):
                    self.keep(torch.tensor(left, dtype=torch.long))
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
