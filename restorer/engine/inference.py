"""A face restorer network at work: its device, its precision, and its second chances."""

from __future__ import annotations

from typing import TYPE_CHECKING

from restorer.models import registry
from restorer.models.base import CropSpec, FaceModel

if TYPE_CHECKING:
    import torch

    from restorer.engine import device as devices

_FLAT = 2e-3
"""The deviation, in units of [-1, 1], below which a picture is of one colour: a quarter of a level of 255."""


class NetworkRestorer:
    """A face restorer network with its precision, controls and second chances.

    A batch that does not fit into the device's memory is halved; an output with not-a-number, or of a single colour, is
    redone in fp32.
    """

    def __init__(
        self, loaded: registry.LoadedNetwork, device: devices.Device, *, fidelity: float | None, seed: int | None
    ) -> None:
        if not isinstance(loaded.architecture, FaceModel):
            raise TypeError(f"{loaded.table.name} is no face restorer")
        self.name = loaded.table.name
        self.crop: CropSpec = loaded.architecture.crop(loaded.arguments)
        self._model = loaded.architecture
        self._loaded = loaded
        self._device = device
        self._fidelity = fidelity
        self._seed = seed
        if self._precision() == "bf16":
            import torch

            from restorer.engine.casting import cast_weights

            cast_weights(loaded.network, torch.bfloat16)

    def restore(self, crops: torch.Tensor) -> torch.Tensor:
        """Return restored crops, float32, unclamped, on the CPU; see `FaceRestorer`."""
        import torch

        try:
            output = self._infer(crops, self._precision())
        except torch.OutOfMemoryError:
            if len(crops) == 1:
                raise
            torch.cuda.empty_cache()
            half = len(crops) // 2
            return torch.cat([self.restore(crops[:half]), self.restore(crops[half:])])
        # Half precision breaks in two ways: not-a-number, or a picture of one colour (black) for a face that has many.
        flat = (output.flatten(1).std(1) < _FLAT) & (crops.float().cpu().flatten(1).std(1) > 10 * _FLAT)
        broken = ~torch.isfinite(output).flatten(1).all(1) | flat
        if broken.any() and self._precision() != "fp32":
            output = output.clone()  # what was computed in inference mode is not changed outside it
            output[broken] = self._infer(crops[broken], "fp32")
        return output

    def _precision(self) -> devices.Precision:
        allowed = {"bf16": self._model.bf16, "fp16": self._model.fp16, "fp32": True}[self._device.precision]
        return self._device.precision if allowed else "fp32"

    def _infer(self, crops: torch.Tensor, precision: devices.Precision) -> torch.Tensor:
        import torch

        loaded = self._loaded
        if precision == "fp32" and self._precision() == "bf16" and loaded.path is not None:
            # The weights were cast. A second chance is rare: it reads them again, rather than that each run keeps both.
            loaded = registry.load(loaded.table, loaded.path, self._device.name)
        with torch.inference_mode(), self._device.autocast(precision):
            sent = sent_to(crops, self._device)
            output = self._model.restore(loaded, sent, fidelity=self._fidelity, seed=self._seed)
        return output.float().cpu()


def sent_to(crops: torch.Tensor, device: devices.Device) -> torch.Tensor:
    """Return crops on a device; to a CUDA one they go through pinned memory, while the processor goes on."""
    if device.kind == "cuda" and crops.device.type == "cpu":
        return crops.pin_memory().to(device.name, non_blocking=True)
    return crops.to(device.name)
