"""PULSE: the face of a StyleGAN that becomes the photo when it is made smaller; `restorer.inversion.pulse` searches."""

from __future__ import annotations

from typing import ClassVar

from restorer.models.searching import SearchArchitecture


class PulseArchitecture(SearchArchitecture):
    """PULSE's search; its arguments are its authors' flags, `least_factor` is ours.

    A face that is large in the photo is reduced first, so that the prior's picture is at least `least_factor` times as
    large: PULSE is for faces too small to guide anything else, and cannot meet more.
    """

    name = "pulse"
    priors = ("stylegan1", "stylegan2")
    tasks = ("super-resolution",)
    steps = 100
    defaults: ClassVar = {
        **SearchArchitecture.searching,
        "eps": 2e-3, "learning_rate": 0.4, "num_trainable_noise_layers": 5, "bad_noise_layers": 1,
        "geocross": 0.05, "tile_latent": False, "least_factor": 4,
    }  # fmt: skip


ARCHITECTURES = (PulseArchitecture(),)
