"""mGANprior: several codes of a prior, joined on their way to one picture; `restorer.inversion.mganprior` searches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from restorer.models.searching import SearchArchitecture


class MGANPriorArchitecture(SearchArchitecture):
    """mGANprior's search; 0 and "" leave an argument to the prior and the task.

    `codes` is N, `layer` where they are joined, `optimization` "GD" or "Adam", `perceptual_weight` the weight of the
    features of `perceptual`: a table of a face recogniser, or the checkpoint of a training, whose discriminator is
    taken. `pull` is how many times as strongly as usual a search is held to what the prior would draw. `least_factor`
    is for super-resolution, as PULSE's.
    """

    name = "mganprior"
    priors = ("pggan", "stylegan2", "dcgan")
    tasks = ("super-resolution", "colorize", "inpaint", "denoise", "reconstruct")
    steps = 300
    defaults: ClassVar = {
        **SearchArchitecture.searching,
        "codes": 0, "layer": 0, "optimization": "", "learning_rate": 0.0, "perceptual": "", "perceptual_weight": 0.1,
        "pull": 1.0, "least_factor": 4,
    }  # fmt: skip

    def steps_of(self, arguments: Mapping[str, Any]) -> int:
        """Return how many steps a search takes when nobody says: plain descent needs more than Adam."""
        return 2000 if descends_plainly(arguments) else self.steps


def descends_plainly(arguments: Mapping[str, Any]) -> bool:
    """Whether steps follow the plain gradient, as the authors' on a PGGAN do."""
    return str(arguments["optimization"] or ("GD" if arguments["prior_architecture"] == "pggan" else "Adam")) == "GD"


ARCHITECTURES = (MGANPriorArchitecture(),)
