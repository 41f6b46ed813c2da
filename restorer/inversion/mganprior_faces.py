"""mGANprior as a face restorer: made larger, coloured, filled, cleaned, or just drawn again by the prior."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from restorer.errors import InvalidTableError, UsageError
from restorer.inversion.codes import CodePrior, code_prior
from restorer.inversion.course import Found, Limits, OnStep
from restorer.inversion.mganprior import CodeSearch, CodeSettings, draw_codes
from restorer.inversion.operators import Masked, Operator, Reduction, grey, whole
from restorer.inversion.perceptual import features_of
from restorer.inversion.searcher import FaceSearcher, Setup, Wish
from restorer.models.mganprior import descends_plainly

LAYERS = {"super-resolution": 6, "colorize": 4, "inpaint": 4, "denoise": 6, "reconstruct": 4}
"""Behind which layer codes are joined: coarse where the prior shall decide more, fine where the picture shall."""
RATE = 0.05
"""Of Adam."""
LEAST_SIDE = 4
WIDTHS = (1 / 48, 1 / 24, 1 / 12, 1 / 6, 1 / 3)
"""Deviations of the filters that carry tones into a hole, as shares of the picture's side."""
ENOUGH = 0.1
"""How much of a filter's weight must lie on what is known."""


class MGANPriorFaces(FaceSearcher):
    """Faces that several codes of a prior make together; see `FaceSearcher`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        table, arguments = setup.table, setup.arguments
        found = code_prior(setup.prior)
        if found is None:
            raise UsageError(f"{self.prior_name} has no codes that can be joined.", "Use another --prior.")
        self._prior: CodePrior = found
        self._plain = descends_plainly(arguments)
        if arguments["optimization"] not in ("", "GD", "Adam"):
            raise InvalidTableError(
                table.name, f"The argument optimization is {arguments['optimization']!r}.", 'Use "GD" or "Adam".'
            )
        named = str(arguments["perceptual"])
        self._features = features_of(named, setup.load, self._prior.place) if named else None

    @property
    def device_kind(self) -> str:
        """Where it runs."""
        return self._prior.place.device.type

    def side(self, native: float, task: str) -> int:
        """Return the prior's own side, but for super-resolution, where it is what the photo has."""
        size = self._prior.size
        if task != "super-resolution":
            return size
        return max(LEAST_SIDE, min(round(native), size // int(self.arguments["least_factor"])))

    def search_once(self, wish: Wish, limits: Limits, on_step: OnStep | None) -> list[Found]:
        """Return what is found for each of the seeds."""
        settings = self._settings(wish.task)
        seen, target = self._problem(wish)
        start = draw_codes(self._prior, wish.seeds, settings)
        search = CodeSearch(self._prior, target, seen, start, settings, self._features)
        return [_finished(each, wish, target.cpu()) for each in search.run(limits, on_step)]

    def _settings(self, task: str) -> CodeSettings:
        arguments, most = self.arguments, self._prior.layers - 1
        layer = int(arguments["layer"]) or min(LAYERS[task], most)
        if not 1 <= layer <= most:
            raise InvalidTableError(
                self.name, f"The argument layer is {layer}.", f"Use 1 to {most} with the prior {self.prior_name}."
            )
        rate = float(arguments["learning_rate"]) or (1.0 if self._plain else RATE)
        perceptual = float(arguments["perceptual_weight"]) if self._features is not None else 0.0
        return CodeSettings(int(arguments["codes"]), layer, not self._plain, rate, perceptual)

    def _problem(self, wish: Wish) -> tuple[Operator, Tensor]:
        """Return what the photo shows of a picture, and what it shows, (1, c, h, w) in [-1, 1]."""
        picture = wish.picture[None].to(self._prior.place) * 2 - 1
        if wish.task == "super-resolution":
            return Reduction(self._prior.size, picture.shape[-1]), picture
        if wish.task == "colorize":
            return grey, grey(picture)
        if wish.task == "inpaint":
            assert wish.hole is not None
            known = _known(wish.hole).to(self._prior.place)
            return Masked(known), picture * known
        return whole, picture


def _known(hole: Tensor) -> Tensor:
    """Return 1 where the picture is known, (1, 1, s, s); the hole's mixed edge is no such place."""
    return 1 - F.max_pool2d((hole[None, None] > 0.02).float(), 3, stride=1, padding=1)


def _finished(found: Found, wish: Wish, target: Tensor) -> Found:
    """Return an answer with what the photo knows for sure: its brightness under the colours, its tones at the hole."""
    picture = found.picture[None]
    if wish.task == "colorize":
        return replace(found, picture=(target + picture - grey(picture))[0])
    if wish.task == "inpaint" and wish.hole is not None:
        known = _known(wish.hole)
        return replace(found, picture=(picture + _spread((target - picture) * known, known))[0])
    return found


def _spread(values: Tensor, known: Tensor) -> Tensor:
    """Return values (1, c, s, s) where they are known, and elsewhere what lies around: smooth, so that no edge shows.

    A search leaves a difference of a few levels all over the picture; cut off at the hole, it would be its outline. It
    is carried inwards by wider and wider filters, each as far as it sees enough of what is known.
    """
    for share in WIDTHS:
        weight = _smooth(known, share * values.shape[-1])
        around = _smooth(values * known, share * values.shape[-1]) / weight.clamp_min(1e-6)
        reached = (known == 0) & (weight > ENOUGH)
        values = torch.where(reached, around, values * known)
        known = known + reached.to(known)
    return values


def _smooth(x: Tensor, sigma: float) -> Tensor:
    """Blur (1, c, s, s) with a Gaussian of that deviation in pixels, zeros around."""
    reach, count = math.ceil(3 * sigma), x.shape[1]
    taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2).to(x)
    taps = taps / taps.sum()
    x = F.conv2d(x, taps.view(1, 1, -1, 1).expand(count, 1, -1, 1), padding=(reach, 0), groups=count)
    return F.conv2d(x, taps.view(1, 1, 1, -1).expand(count, 1, 1, -1), padding=(0, reach), groups=count)


SEARCHER = MGANPriorFaces
