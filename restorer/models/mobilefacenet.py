"""The face recogniser: MobileFaceNet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from restorer.models.base import RecogniserArchitecture

if TYPE_CHECKING:
    from torch import nn


class MobileFaceNetArchitecture(RecogniserArchitecture):
    """MobileFaceNet: faces (n, 3, 112, 96), RGB in [-1, 1], go in, embeddings (n, 128) come out."""

    name = "mobilefacenet"
    defaults: ClassVar = {}

    def build(self, arguments: Mapping[str, Any]) -> nn.Module:
        """Return the network; see `restorer.networks.mobilefacenet`."""
        from restorer.networks.mobilefacenet import MobileFaceNet

        return MobileFaceNet()


ARCHITECTURES = (MobileFaceNetArchitecture(),)
