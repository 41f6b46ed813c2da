"""Networks run by torch: casting, memory layout, the ladder of memory, and the second chance, once for all of them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restorer.engine import memory
from restorer.engine.arithmetic import capability, described, quicken
from restorer.engine.device import Device
from restorer.errors import OutOfMemoryError
from restorer.models import REGISTRY
from restorer.models.base import Architecture, LoadedNetwork, Precision

if TYPE_CHECKING:
    import torch

    from restorer.weights import Table

FLAT_STD = 2e-3
"""The deviation, in units of [-1, 1], below which a picture is of one colour: a quarter of a level of 255."""


class TorchNetwork:
    """A network that torch runs; see `restorer.engine.network.Network`.

    Args:
        loaded: the network, on its device; its weights are cast, so it must be no one else's.
        device: where it is, and in which precision it shall compute where its architecture bears that.
    """

    def __init__(self, loaded: LoadedNetwork, device: Device) -> None:
        self.name = loaded.table.name
        self.table: Table = loaded.table
        self.architecture: Architecture = loaded.architecture
        self.arguments: Mapping[str, Any] = loaded.arguments
        self.device = device
        self.precision: Precision = _allowed(loaded, device.precision)
        self.instead: str | None = None
        """Why it runs in the place of another engine that was asked for."""
        self._loaded = loaded
        self._notes: Counter[str] = Counter()
        self._on_cpu: TorchNetwork | None = None
        self._lost = ""
        self._guard = threading.Lock()
        if loaded.architecture.channels_last and device.kind == "cpu":
            import torch

            loaded.network.to(memory_format=torch.channels_last)
        for part in list(loaded.network.modules()):
            if callable(keep := getattr(part, "keep_constants", None)):
                keep()
        self._sparing = device.low_memory and device.kind == "cpu"
        self._settled = device.kind != "cpu" or self.precision != "bf16"
        if self.precision == "fp32" and device.kind == "cpu" and not self._sparing:
            from restorer.engine.casting import pack_weights

            quicken(loaded.network, capability())
            if loaded.architecture.channels_last:
                pack_weights(loaded.network)
        if self.precision == "bf16":
            import torch

            from restorer.engine.casting import cast_weights, pack_weights

            cast_weights(loaded.network, torch.bfloat16)
            if device.kind == "cpu":
                pack_weights(loaded.network)
        if self._sparing:
            from restorer.engine.mapped import give_back_after_use

            memory.return_large_blocks()
            give_back_after_use(loaded.network)

    def __repr__(self) -> str:
        return f"<{self.name} by torch on {self.device.name}, {self.precision}>"

    @property
    def notes(self) -> Mapping[str, int]:
        """What it had to do otherwise since it was loaded, and how many times."""
        return dict(self._notes)

    @property
    def facts(self) -> Mapping[str, Any]:
        """What a record says of it: device and precision, how convolutions are computed, and why torch, if by need."""
        told: dict[str, Any] = {"engine": "torch", "device": self.device.name, "precision": self.precision}
        if self._sparing:
            told["memory"] = "low"
        if self.device.kind == "cpu":
            told |= {"instructions": capability(), **described(self._loaded.network)}
        return told if self.instead is None else {**told, "reason": self.instead}

    def __call__(
        self, *tensors: torch.Tensor, precision: Precision | None = None, shrinks: bool = False, **controls: Any
    ) -> Any:
        """Run the network; see `restorer.engine.network.Network`."""
        wanted = precision or self.precision
        if self._lost:
            return self._instead(tensors, controls)

        def run(part: tuple[torch.Tensor, ...]) -> Any:
            output = self._infer(part, wanted, controls)
            return output if wanted == "fp32" else self._second_chance(part, output, controls)

        try:
            return self._fitting(tensors, run, shrinks, controls)
        finally:
            if self._sparing or not self._settled:  # the first call packs weights: the room of the plain ones goes back
                memory.trim_heap()
                self._settled = True

    # ---------------------------------------------------------------------------------------------------- memory

    def _fitting(
        self,
        tensors: tuple[torch.Tensor, ...],
        run: Callable[[tuple[torch.Tensor, ...]], Any],
        shrinks: bool,
        controls: Mapping[str, Any],
    ) -> Any:
        """Run a batch whole, in halves where memory does not suffice, and a single item on the CPU.

        Where the device is gone, all goes to the CPU from then on.
        """
        try:
            return run(tensors)
        except (RuntimeError, MemoryError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            if memory.is_lost(error) and self.on_cpu() is not self:
                self._lost = reason
            elif not memory.is_exhausted(error):
                raise
        if self._lost:
            return self._instead(tensors, controls)
        memory.release(self.device.kind)
        count = len(tensors[0])
        if count > 1:
            self._note(f"the memory of {self.device.name} does not suffice for {count} at once; they were halved")
            half = count // 2
            parts = [
                self._fitting(tuple(tensor[side] for tensor in tensors), run, shrinks, controls)
                for side in (slice(half), slice(half, None))
            ]
            return _joined(parts)
        if shrinks or self.device.kind == "cpu" or self._loaded.path is None:
            raise OutOfMemoryError(self.device.name, self.name, reason)
        self._note(f"the memory of {self.device.name} does not suffice; the CPU took its place")
        return self.on_cpu()(*tensors, **controls)

    def on_cpu(self) -> TorchNetwork:
        """Return the same network on the CPU, in fp32; this one where it is there already."""
        if self.device.kind == "cpu" or self._loaded.path is None:
            return self
        with self._guard:
            if self._on_cpu is None:
                self._on_cpu = TorchNetwork(REGISTRY.load(self.table, self._loaded.path), Device("cpu", "fp32"))
            return self._on_cpu

    def _instead(self, tensors: tuple[torch.Tensor, ...], controls: Mapping[str, Any]) -> Any:
        """Run on the CPU, as the device is gone."""
        self._note(f"{self.device.name} is gone ({self._lost}); the CPU took its place")
        return self.on_cpu()(*tensors, **controls)

    def _note(self, what: str) -> None:
        self._notes[f"{self.name}: {what}."] += 1

    # ------------------------------------------------------------------------------------------------- precision

    def _second_chance(self, tensors: tuple[torch.Tensor, ...], output: Any, controls: Mapping[str, Any]) -> Any:
        """Return the output with what half precision broke computed again in fp32."""
        import torch

        count = len(tensors[0])
        if isinstance(output, torch.Tensor) and len(output) == count:
            lost = broken(tensors[0], output, self.architecture.pictures)
            if lost.any():
                output = output.clone()  # what was computed in inference mode is not changed outside it
                output[lost] = self._infer(tuple(tensor[lost] for tensor in tensors), "fp32", controls)
            return output
        parts = output if isinstance(output, tuple) else (output,)
        if all(bool(torch.isfinite(part).all()) for part in parts):
            return output
        return self._infer(tensors, "fp32", controls)

    def _infer(self, tensors: tuple[torch.Tensor, ...], precision: Precision, controls: Mapping[str, Any]) -> Any:
        import torch

        loaded = self._loaded
        if precision == "fp32" and self.precision == "bf16" and loaded.path is not None:
            # The weights were cast. A second chance is rare: it reads them again, rather than that each run keeps both.
            loaded = REGISTRY.load(loaded.table, loaded.path, self.device.name)
        network: Any = loaded.network
        with torch.inference_mode(), self.device.autocast(precision):
            sent = [self._laid_out(sent_to(tensor, self.device)) for tensor in tensors]
            more = {
                name: sent_to(value, self.device) if isinstance(value, torch.Tensor) else value
                for name, value in controls.items()
            }
            return _brought_back(network(*sent, **more))

    def _laid_out(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a tensor in the memory layout in which this network is quickest."""
        import torch

        # Measured: with channels innermost torch's CPU convolutions take two thirds to a quarter of the time.
        if self.architecture.channels_last and self.device.kind == "cpu" and tensor.ndim == 4:
            return tensor.contiguous(memory_format=torch.channels_last)
        return tensor


def broken(given: torch.Tensor, output: torch.Tensor, pictures: bool) -> torch.Tensor:
    """Return which items came out as NaN, or as a picture of one colour (black) for one of many.

    Args:
        given: what went in.
        output: what came out, as many.
        pictures: whether both are pictures.
    """
    import torch

    found = ~torch.isfinite(output.flatten(1).sum(1))  # quicker than to ask each value
    if found.any():
        found = ~torch.isfinite(output).flatten(1).all(1)
    if pictures:
        flat = output.flatten(1).std(1) < FLAT_STD
        if flat.any():
            flat &= given.float().flatten(1).std(1) > 10 * FLAT_STD
        found |= flat
    return found


def sent_to(tensor: torch.Tensor, device: Device) -> torch.Tensor:
    """Return a tensor on a device; to a CUDA one it goes through pinned memory, while the processor goes on."""
    if device.kind == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device.name, non_blocking=True)
    return tensor.to(device.name)


def _brought_back(output: Any) -> Any:
    """Return tensors as float32 on the CPU."""
    if isinstance(output, tuple):
        return tuple(_brought_back(part) for part in output)
    return output.float().cpu()


def _joined(parts: list[Any]) -> Any:
    import torch

    if isinstance(parts[0], tuple):
        return tuple(torch.cat(same) for same in zip(*parts, strict=True))
    return torch.cat(parts)


def _allowed(loaded: LoadedNetwork, precision: Precision) -> Precision:
    """Return a precision, or fp32 where the architecture does not keep its tolerance in it."""
    return precision if loaded.architecture.bears(precision, loaded.arguments) else "fp32"


class TorchEngine:
    """Torch, which runs every architecture on every device that it knows."""

    name = "torch"

    def load(self, table: Table, path: Path, device: Device) -> TorchNetwork:
        """Return the network of a table from its verified file; see `restorer.engine.network.Engine`."""
        return TorchNetwork(REGISTRY.load(table, path, device.name), device)


ENGINE = TorchEngine()
