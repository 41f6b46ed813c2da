"""What a search through a prior is among the face restorers: no network of its own, but another table's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from restorer.errors import UsageError
from restorer.models.base import Architecture, CropSpec, FaceArchitecture
from restorer.models.templates import by_argument

if TYPE_CHECKING:
    import torch
    from torch import nn

    from restorer.models.base import RunningNetwork

SIZES = ("size", "resolution")
"""How architectures of priors call the side of their pictures; one that has neither draws 64 px."""


class SearchArchitecture(FaceArchitecture):
    """A face restorer that searches a prior for the picture that looks most like the photo.

    A table of it names its prior in `prior`, and has that table's file. What it does is `restorer.inversion`'s, in the
    module of the architecture's name.

    Attributes:
        priors: architectures that it can search.
        steps: how many steps a search takes when nobody says.
        tasks: what it can do, the usual first.
    """

    controls = ("seed",)
    bf16 = False
    priors: ClassVar[tuple[str, ...]]
    steps: ClassVar[int]
    tasks: ClassVar[tuple[str, ...]]
    searching: ClassVar[Mapping[str, Any]] = {
        "size": 1024, "prior_architecture": "stylegan2", "prior_arguments": {}, "template": "face",
    }  # fmt: skip

    def crop(self, arguments: Mapping[str, Any]) -> CropSpec:
        """Return faces aligned as FFHQ's are, at the size of the prior's pictures."""
        size = int(arguments["size"])
        return CropSpec(size, size, size, by_argument(self.name, arguments["template"]))

    def of_prior(self, prior: Architecture, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a prior tells of a search in it.

        Raises:
            UsageError: it cannot be searched in this way.
        """
        if prior.name not in self.priors:
            raise UsageError(
                f"{self.name} does not search the architecture {prior.name!r}.",
                f"Use a prior of one of these: {', '.join(self.priors)}.",
            )
        size = next((arguments[key] for key in SIZES if key in arguments), 64)
        return {"size": size, "prior_architecture": prior.name, "prior_arguments": dict(arguments)}

    def steps_of(self, arguments: Mapping[str, Any]) -> int:
        """Return how many steps a search takes when nobody says."""
        return self.steps

    def build(self, arguments: Mapping[str, Any]) -> nn.Module:
        """Raise: there is no network but the prior's."""
        raise TypeError(f"{self.name} is a search; its prior has an architecture of its own")

    def restore(
        self, network: RunningNetwork, crops: torch.Tensor, *, fidelity: float | None = None, seed: int | None = None
    ) -> torch.Tensor:
        """Raise: a search is no network that is run once."""
        raise TypeError(f"{self.name} is a search; see restorer.inversion.{self.name}")
