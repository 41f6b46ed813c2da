"""The architecture "retinaface": which checkpoint goes with which of facexlib's two RetinaFace networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from restorer.errors import InvalidTableError
from restorer.models.registry import Architecture, register

if TYPE_CHECKING:
    from torch import nn

    from restorer.models.registry import Shapes, StateDict

_TELLTALE = {"resnet50": "body.layer4.0.conv1.weight", "mobile0.25": "body.stage3.0.0.weight"}


class RetinaFaceDetectorModel(Architecture):
    """RetinaFace with a ResNet-50 or a MobileNet of a quarter of its width."""

    name = "retinaface"
    role = "face detector"
    defaults: ClassVar = {"network_name": "resnet50"}

    def infer(self, shapes: Shapes) -> dict[str, Any]:
        """Tell the backbone by its layers' names."""
        names = {key.removeprefix("module.") for key in shapes}
        backbones = [backbone for backbone, key in _TELLTALE.items() if key in names]
        return {"network_name": backbones[0]} if backbones else {}

    def convert(self, state: StateDict, arguments: Mapping[str, Any]) -> StateDict:
        """Take off what torch's DataParallel puts in front of every name."""
        return {key.removeprefix("module."): value for key, value in state.items()}

    def build(self, arguments: Mapping[str, Any]) -> nn.Module:
        """Return the network; see `restorer.networks.facexlib_networks`."""
        from restorer.networks.facexlib_networks import RetinaFace

        backbone = arguments["network_name"]
        if backbone not in _TELLTALE:
            raise InvalidTableError(
                self.name,
                f"The architecture 'retinaface' has no network_name {backbone!r}.",
                f"Use one of: {', '.join(_TELLTALE)}.",
            )
        return RetinaFace(backbone)


register(RetinaFaceDetectorModel())
