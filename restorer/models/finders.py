"""What an architecture that finds damage is: which parts of a photo it looks at, and what it says of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from restorer.models.base import Architecture

if TYPE_CHECKING:
    import torch

    from restorer.models.base import RunningNetwork


@dataclass(frozen=True)
class SecondLook:
    """A look at the reduced photo, where much was found: damage shows there as well, what is only thin less often.

    It decides whether a photo is damaged at all, not where.

    Attributes:
        times: by which the photo is reduced.
        threshold: probability from which on a pixel confirms what was found at the photo's own size.
    """

    times: int
    threshold: float


class DamageArchitecture(Architecture):
    """An architecture whose role is damage finder.

    Attributes:
        tile: side in pixels of the part of a tile that counts.
        overlap: pixels by which a tile reaches beyond that on each side.
        grid: sides of what the network takes are multiples of this.
        threshold: probability from which on a pixel is damaged.
        views: short sides in pixels to which a photo is reduced, to look at each; empty = at its own size alone.
        grows: pixels by which what it finds is widened, where it was taught the damage without its rim.
        second: how what was found is confirmed; None = it counts as it is.
        floor: share of a photo below which `--repair auto` leaves what it finds, and confirms, alone: it finds as
            much in clean ones.
        smallest: short side in pixels of photos below which `--repair auto` leaves them alone: in so few pixels what
            the picture shows is as thin as a scratch.
    """

    role = "damage finder"
    bf16 = True
    fp16 = True
    channels_last = True
    tile: ClassVar[int] = 512
    overlap: ClassVar[int] = 64
    grid: ClassVar[int] = 16
    threshold: ClassVar[float] = 0.5
    views: ClassVar[tuple[int, ...]] = ()
    grows: ClassVar[int] = 0
    second: ClassVar[SecondLook | None] = None
    floor: ClassVar[float] = 0.0
    smallest: ClassVar[int] = 0

    def logits(self, network: RunningNetwork, pictures: torch.Tensor) -> torch.Tensor:
        """Return how surely each pixel is damaged, (n, 1, h, w), as a logit.

        Args:
            network: this architecture's network at work.
            pictures: RGB in [-1, 1], (n, 3, h, w), sides multiples of `grid`.
        """
        found: torch.Tensor = network(pictures)
        return found
