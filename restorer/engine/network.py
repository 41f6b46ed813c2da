"""What a network at work is, whatever engine runs it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch

    from restorer.engine.device import Device
    from restorer.models.base import Architecture, Precision
    from restorer.weights import Table


class Network(Protocol):
    """A network at work: tensors on the CPU go in, float32 tensors on the CPU come out.

    Attributes:
        name: of its table.
        table: what weights.toml says of it.
        architecture: what kind it is.
        arguments: of its architecture, all of them.
        device: where it runs.
        precision: in which it computes: the device's where its architecture bears that, else "fp32".
        notes: what it had to do otherwise since it was loaded, for example that memory did not suffice, and how many
            times; the record of a photo holds what was said during its own way.
        facts: which engine runs it where, and how, for the record.
    """

    @property
    def name(self) -> str: ...
    @property
    def table(self) -> Table: ...
    @property
    def architecture(self) -> Architecture: ...
    @property
    def arguments(self) -> Mapping[str, Any]: ...
    @property
    def device(self) -> Device: ...
    @property
    def precision(self) -> Precision: ...
    @property
    def notes(self) -> Mapping[str, int]: ...
    @property
    def facts(self) -> Mapping[str, Any]: ...

    def __call__(
        self, *tensors: torch.Tensor, precision: Precision | None = None, shrinks: bool = False, **controls: Any
    ) -> Any:
        """Run the network.

        Where memory does not suffice the batch is halved, again and again, and a single item goes to the CPU. What came
        out in half precision as NaN, or as a picture of a single colour for one of many, is computed again in
        fp32. `notes` says what was needed of this.

        Args:
            tensors: its inputs; their first dimension is the batch.
            precision: other than the network's own.
            shrinks: the caller has smaller work to offer (a smaller tile): where a single item does not fit, an
                `OutOfMemoryError` says so before the CPU is tried.
            controls: arguments that are the same for the whole batch: numbers, or tensors, which go to the device too.

        Returns:
            What the network returns: a tensor or a tuple of tensors.

        Raises:
            OutOfMemoryError: not even the CPU's memory suffices for one item.
        """
        ...


class Engine(Protocol):
    """A way of running networks; a module of `restorer.engine` names its own as `ENGINE`.

    One that computes in several places has a method `on` too, which returns it for one of them.
    """

    name: str

    def load(self, table: Table, path: Path, device: Device) -> Network:
        """Return the network of a table from its verified file.

        Raises:
            WeightsError: the file does not fit its table.
        """
        ...
