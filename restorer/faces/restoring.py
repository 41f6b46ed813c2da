"""A face restorer network, with the controls of a run, behind the interface of any face restorer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from restorer.models.base import CropSpec, FaceArchitecture

if TYPE_CHECKING:
    import torch

    from restorer.engine.network import Network


class NetworkFaceRestorer:
    """A face restorer that is a network; see `restorer.models.base.FaceRestorer`.

    Args:
        network: whose architecture is a face restorer.
        fidelity: 0 = best looking, 1 = closest to the input; None = the model's own default.
        seed: draws other noise than the stored one; None = the stored one.

    Raises:
        TypeError: the network is for something else.
    """

    def __init__(self, network: Network, *, fidelity: float | None = None, seed: int | None = None) -> None:
        if not isinstance(network.architecture, FaceArchitecture):
            raise TypeError(f"{network.name} is no face restorer")
        self.name = network.name
        self.network = network
        self.remark = network.architecture.remark
        self.crop: CropSpec = network.architecture.crop(network.arguments)
        self._architecture = network.architecture
        self._fidelity = fidelity
        self._seed = seed

    def restore(self, crops: torch.Tensor) -> torch.Tensor:
        """Return restored crops (n, 3, output_size, output_size), float32, unclamped, on the CPU."""
        return self._architecture.restore(self.network, crops, fidelity=self._fidelity, seed=self._seed)
