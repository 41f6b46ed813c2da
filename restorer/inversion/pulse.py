"""PULSE: the face of a prior that becomes the photo when it is made smaller.

Menon et al., "PULSE: Self-Supervised Photo Upsampling via Latent Space Exploration of Generative Models" (2020). What
is found is an imagined person: many faces become the same small picture, and which of them is found is decided by the
draw, and by what the prior has seen most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from restorer.inversion.course import Best, Found, Limits, OnStep, Stopped
from restorer.inversion.descent import Descent, Spheres, gradients_of
from restorer.inversion.operators import Operator
from restorer.inversion.priors import StylePrior
from restorer.inversion.sharing import at_once, shares


@dataclass(frozen=True)
class PulseSettings:
    """How PULSE searches; the defaults are its authors'.

    Attributes:
        eps: mean squared error, in units of [0, 1], up to which a picture agrees with the photo.
        rate: the largest learning rate.
        likeness, cross: weights of the error and of the geodesic cross loss.
        trainable: noise maps that are searched for, from the coarsest; the others stay as they were drawn.
        silent: how many of the finest noise maps are zero.
        tiled: whether all layers share one latent throughout; else they only begin with the same one.
    """

    eps: float = 2e-3
    rate: float = 0.4
    likeness: float = 100.0
    cross: float = 0.05
    trainable: int = 5
    silent: int = 1
    tiled: bool = False


@dataclass(frozen=True)
class Start:
    """Where searches begin.

    Attributes:
        latent: (n, num_latents or 1, style_dim), normal numbers that stand for latents; see `StylePrior.latents`.
        noise: a map (n, 1, side, side) for each that the prior takes.
    """

    latent: Tensor
    noise: list[Tensor]


def draw_start(prior: StylePrior, seeds: Sequence[int], settings: PulseSettings) -> Start:
    """Draw where searches begin, one for each seed, whatever the others are; on the CPU, for every device alike.

    All layers of an item begin with the same latent, so that the search sets out from a picture that the prior would
    draw by itself, and each layer goes its own way from there.
    """
    items = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        latent = torch.randn(1, 1, prior.style_dim, generator=generator)
        latent = latent if settings.tiled else latent.expand(-1, prior.num_latents, -1)
        maps = [
            torch.randn(prior.noise_shape(index), generator=generator) * prior.noise_strength(index)
            for index in range(prior.num_maps)
        ]
        for silent in maps[len(maps) - settings.silent :]:
            silent.zero_()
        items.append((latent, maps))
    latent = torch.cat([latent for latent, _ in items]).to(prior.mean)
    return Start(latent, [torch.cat(maps).to(prior.mean) for maps in zip(*(maps for _, maps in items), strict=True)])


def rate_at(step: int, steps: int) -> float:
    """Return the learning rate of a step, from 0, as a share of the largest.

    From a tenth up to 1 and down again over nine tenths of the steps, then on to a thousandth.
    """
    bend = 0.9 * steps
    if step < bend:
        return (9 * (1 - 2 * abs(step / bend - 0.5)) + 1) / 10
    return 0.1 + (step - bend) / (0.1 * steps) * (0.001 - 0.1)


def geodesic_cross(w: Tensor) -> Tensor:
    """Return how far the latents of each item are from each other on their sphere, (n): 0 when they are all one.

    Args:
        w: (n, layers, style_dim). All ordered pairs count, each layer with itself too.
    """
    x, y = w.unsqueeze(2), w.unsqueeze(1)
    apart = ((x - y).square().sum(-1) + 1e-9).sqrt()
    together = ((x + y).square().sum(-1) + 1e-9).sqrt()
    angle = 2 * torch.atan2(apart, together)
    return (512 * angle.square()).mean((1, 2)) / 8


class PulseSearch:
    """Searches that go on side by side, one for each item; none depends on the others.

    Args:
        prior: what is searched.
        target: (n or 1, 3, side, side) in [0, 1], what the photo shows.
        seen: what a photo shows of a picture, in the units of the target.
        start: where they begin.
        steps: how many there will be; the learning rate follows from it.
        settings: how it searches.
    """

    def __init__(
        self,
        prior: StylePrior,
        target: Tensor,
        seen: Operator,
        start: Start,
        steps: int,
        settings: PulseSettings = PulseSettings(),
    ) -> None:
        self._prior, self._seen, self._settings = prior, seen, settings
        self.steps, self.taken = steps, 0
        count = len(start.latent)
        self.target = target.to(start.latent).expand(count, -1, -1, -1)
        self.items = torch.arange(count)
        self._descent = Descent([start.latent, *start.noise[: settings.trainable]], adam=True)
        self._fixed = start.noise[settings.trainable :]
        self._spheres = Spheres(self._descent.parameters)
        self.best = Best(count, settings.eps)
        self.errors = self.crosses = torch.zeros(0)
        self.small = torch.zeros(0)

    @property
    def latent(self) -> Tensor:
        """The normal numbers that stand for the latents now, (k, layers, style_dim) for the k items that are left."""
        return self._descent.parameters[0].detach()

    @property
    def noise(self) -> list[Tensor]:
        """The noise maps that are searched for, now."""
        return [each.detach() for each in self._descent.parameters[1:]]

    def step(self) -> None:
        """Look at the pictures of now, and take one step; afterwards `errors` and `crosses` tell of these pictures."""
        looks = at_once(self._look, shares(self.items, self.target))
        pictures, small, errors, crosses, losses, *given = (torch.cat(each) for each in zip(*looks, strict=True))
        self.small, self.errors, self.crosses = small, errors, crosses
        self.best.look(self.items, pictures, errors, losses, self.taken)
        self._descent.step(given, self._settings.rate * rate_at(self.taken, self.steps))
        self._spheres.restore(self._descent.parameters)
        self.taken += 1

    def _look(self, part: slice) -> list[Tensor]:
        """Return what some items show now: pictures, what is seen, errors, crosses, losses, a gradient a parameter."""
        parameters = [each.detach()[part].requires_grad_() for each in self._descent.parameters]
        latent, *trained = parameters
        w = self._prior.latents(latent)
        layers = w if w.shape[1] > 1 else w.expand(-1, self._prior.num_latents, -1)
        pictures = self._prior.picture(layers, [*trained, *(each[part] for each in self._fixed)])
        small, settings = self._seen((pictures + 1) / 2), self._settings
        errors, crosses = (small - self.target[part]).square().mean((1, 2, 3)), geodesic_cross(w)
        # Below eps an error is as good as none: only the latents' distance from each other counts there.
        losses = settings.likeness * errors.clamp_min(settings.eps) + settings.cross * crosses
        gradients = gradients_of(losses, parameters)
        return [*(each.detach() for each in (pictures, small, errors, crosses, losses)), *gradients]

    def keep(self, items: Tensor) -> None:
        """Go on with these items only."""
        chosen = torch.tensor([self.items.tolist().index(item) for item in items.tolist()], dtype=torch.long)
        self.items = items
        chosen = chosen.to(self.target.device)
        self._descent.keep(chosen)
        self._spheres.keep(chosen)
        self._fixed = [each[chosen] for each in self._fixed]
        self.target = self.target[chosen]

    def run(self, limits: Limits, on_step: OnStep | None = None) -> list[Found]:
        """Take the steps, and return the best of each item.

        An interrupt ends the search as a time limit does: what was best by then is returned, and says so.
        """
        stopped: Stopped | None = None
        try:
            while self.taken < self.steps and len(self.items):
                if self.taken and limits.is_over:
                    stopped = "time limit"
                    break
                self.step()
                if on_step is not None:
                    on_step(self.best.glimpse(self.taken, self.steps))
                open_ = self.best.open_items(self.items, limits.patience)
                if len(open_) < len(self.items):
                    self.keep(open_)
        except KeyboardInterrupt:
            if self.best.pictures[0] is None:  # not even one picture was made
                raise
            stopped = "interrupt"
        return self.best.found(stopped)
