"""A face restorer network, with the controls of a run, behind the interface of any face restorer."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from restorer.models.base import CropSpec, FaceArchitecture

if TYPE_CHECKING:
    import torch

    from restorer.engine.network import Network


TRIED = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Fidelities of which "auto" takes one, face by face."""


class NetworkFaceRestorer:
    """A face restorer that is a network; see `restorer.models.base.FaceRestorer`.

    Args:
        network: whose architecture is a face restorer.
        fidelity: 0 = best looking, 1 = closest to the input; "auto" = several, of which the caller takes one; None =
            the model's own default.
        seed: draws other noise than the stored one; None = the stored one.

    Raises:
        TypeError: the network is for something else.
    """

    def __init__(self, network: Network, *, fidelity: float | str | None = None, seed: int | None = None) -> None:
        if not isinstance(network.architecture, FaceArchitecture):
            raise TypeError(f"{network.name} is no face restorer")
        self.name = network.name
        self.network = network
        self.remark = network.architecture.remark
        self.crop: CropSpec = network.architecture.crop(network.arguments)
        self._architecture = network.architecture
        self.learns_from = network.architecture.learns_from
        self._guard = threading.Lock()
        self._fidelity = fidelity
        self._seed = seed

    def restore(self, crops: torch.Tensor) -> torch.Tensor:
        """Return restored crops (n, 3, output_size, output_size), float32, unclamped, on the CPU.

        With the fidelity "auto" they are (n, k, 3, output_size, output_size), one for each of `TRIED`.
        """
        if not isinstance(self._fidelity, str):
            return self._architecture.restore(self.network, crops, fidelity=self._fidelity, seed=self._seed)
        import torch

        restore = self._architecture.restore
        return torch.stack([restore(self.network, crops, fidelity=each, seed=self._seed) for each in TRIED], dim=1)

    def restore_person(
        self, crop: torch.Tensor, points: torch.Tensor, references: torch.Tensor, reference_points: torch.Tensor
    ) -> torch.Tensor:
        """Return a restored crop by photos of the person; see `FaceArchitecture.restore_person`. One at a time."""
        with self._guard:
            return self._architecture.restore_person(self.network, crop, points, references, reference_points)
