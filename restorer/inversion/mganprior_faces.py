"""mGANprior as a face restorer: made larger, coloured, filled, cleaned, or just drawn again by the prior."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor
from torch.nn import functional as F

from restorer.errors import InvalidTableError, UsageError
from restorer.inversion.codes import CodePrior, code_prior
from restorer.inversion.course import Found, Limits, OnStep
from restorer.inversion.holding import cleaned, coloured, enlarged, filled, noise_of
from restorer.inversion.mganprior import CodeSearch, CodeSettings, Pulls, draw_codes
from restorer.inversion.operators import Masked, Operator, Reduction, grey, whole
from restorer.inversion.perceptual import features_of
from restorer.inversion.searcher import FaceSearcher, Setup, Wish
from restorer.models.mganprior import descends_plainly

FREE = Pulls()


@dataclass(frozen=True)
class Manner:
    """How a task is searched for in a StyleGAN2.

    Attributes:
        codes: how many.
        layer: behind which layer they are joined: coarse where the prior shall decide more, fine where the photo shall.
        pulls: how strongly the search is held to what the prior would draw: most where the least is seen.
    """

    codes: int
    layer: int
    pulls: Pulls = FREE


MANNERS = {
    "super-resolution": Manner(8, 6, Pulls(codes=0.001, rest=0.003, weights=0.003)),
    "colorize": Manner(8, 4, Pulls(codes=0.01, rest=0.05, weights=0.03)),
    "inpaint": Manner(8, 4, Pulls(codes=0.01, rest=0.05, weights=0.03)),
    "denoise": Manner(8, 6, Pulls(codes=0.003, rest=0.01, weights=0.01)),
    "reconstruct": Manner(20, 4),
}
"""Of each task."""
PLAIN_CODES = 20
"""The authors' number, for their own descent."""
RATE = 0.05
"""Of Adam."""
LEAST_SIDE = 4


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
        settings = self._settings(wish)
        seen, target = self._problem(wish)
        start = draw_codes(self._prior, wish.seeds, settings)
        search = CodeSearch(self._prior, target, seen, start, settings, self._features)
        return [_finished(each, wish, target.cpu()) for each in search.run(limits, on_step)]

    def _settings(self, wish: Wish) -> CodeSettings:
        arguments, most, manner = self.arguments, self._prior.layers - 1, MANNERS[wish.task]
        layer = int(arguments["layer"]) or min(manner.layer, most)
        if not 1 <= layer <= most:
            raise InvalidTableError(
                self.name, f"The argument layer is {layer}.", f"Use 1 to {most} with the prior {self.prior_name}."
            )
        rate = float(arguments["learning_rate"]) or (1.0 if self._plain else RATE)
        perceptual = float(arguments["perceptual_weight"]) if self._features is not None else 0.0
        codes = int(arguments["codes"]) or (PLAIN_CODES if self._plain else manner.codes)
        pull = float(arguments["pull"])
        if pull < 0:
            raise InvalidTableError(self.name, f"The argument pull is {pull}.", "Use 0 (none), 1 (the usual) or more.")
        enough = float(noise_of(wish.picture[None] * 2 - 1).square().mean()) / 4 if wish.task == "denoise" else 0.0
        pulls = manner.pulls.times(pull)
        return CodeSettings(codes, layer, not self._plain, rate, perceptual, pulls, enough)

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
    """Return an answer that agrees with what is known of the photo; see `restorer.inversion.holding`."""
    picture = found.picture[None]
    if wish.task == "super-resolution":
        picture = enlarged(picture, target, Reduction(picture.shape[-1], target.shape[-1]))
    elif wish.task == "colorize":
        picture = coloured(picture, target)
    elif wish.task == "inpaint" and wish.hole is not None:
        picture = filled(picture, target, _known(wish.hole))
    elif wish.task == "denoise":
        picture = cleaned(picture, target)
    return replace(found, picture=picture[0])


SEARCHER = MGANPriorFaces
