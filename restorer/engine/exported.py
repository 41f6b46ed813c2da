"""Networks that another engine than torch runs, from an exported file; what it cannot do, torch does, and that is said.

Before an engine's unit is used, what it makes of some pictures is compared, value by value, with what torch makes of
them in fp32 on the CPU. Where that differs by more than its precision allows, the network stays with torch.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from restorer.engine import kept, memory
from restorer.engine.device import Device, threads
from restorer.engine.network import Network
from restorer.engine.torch_engine import TorchEngine, TorchNetwork, broken
from restorer.errors import DeviceUnavailableError, OutOfMemoryError
from restorer.models import REGISTRY
from restorer.models.base import Architecture, FaceArchitecture, ParserArchitecture, Precision
from restorer.models.exporter import TOLERANCE, check_packages
from restorer.models.exporter.difference import Difference, Run

if TYPE_CHECKING:
    import torch

    from restorer.weights import Table

_log = logging.getLogger(__name__)
HALF_TOLERANCE = 0.05
"""Root mean square difference from torch in fp32, in deviations, that half precision may have: a little more than what
torch's own bf16 has on such inputs (0.041: GFP-GAN with stand-in weights, `python -m restorer.bench engines`)."""
WRITERS = ("onnx", "onnxscript")
"""The packages that files are written with."""


class ExportedEngine(ABC):
    """What engines that run exported files have in common; a subclass is an engine, see `restorer.engine.network`.

    Attributes:
        name: as `--engine` takes it, and its module.
        unit: where it shall compute; "" = the first unit of this machine that computes right.
    """

    name: ClassVar[str]

    def __init__(self, unit: str = "") -> None:
        self.unit = unit

    def on(self, unit: str) -> ExportedEngine:
        """Return this engine on a unit."""
        return type(self)(unit)

    @abstractmethod
    def version(self) -> str:
        """Return the version of the library."""

    @abstractmethod
    def units(self) -> Sequence[str]:
        """Return the units of this machine, the one that is tried first in front."""

    @abstractmethod
    def describe(self, unit: str) -> str:
        """Return what tells a unit from that of another machine, in words."""

    @abstractmethod
    def precision(self, unit: str, wanted: Precision, bears: Sequence[Precision]) -> Precision | None:
        """Return in what a unit computes; None where it has nothing that the network bears.

        Args:
            unit: one of `units`.
            wanted: what torch would compute in.
            bears: what the network keeps its tolerance in.
        """

    @abstractmethod
    def open(self, model: Path, unit: str, precision: Precision, count: int) -> Run:
        """Return what runs a file.

        Args:
            model: the ONNX file.
            unit: where.
            precision: in which.
            count: of threads, on the CPU.

        Raises:
            Exception: whatever the library raises where the unit cannot run the file.
        """

    def load(self, table: Table, path: Path, device: Device) -> Network:
        """Return the network of a table from its verified file; torch's, with a reason, where this cannot run it.

        Raises:
            MissingPackageError: the library is not installed.
            DeviceUnavailableError: this machine does not have the unit that was named.
            WeightsError: the file does not fit its table.
        """
        check_installed(self.name)
        if self.unit and self.unit not in self.units():
            raise DeviceUnavailableError(
                f"{self.name} has no {self.unit} on this machine: it has {', '.join(self.units())}.",
                f"Use --engine {self.name}, which takes what is there, or --engine torch.",
            )
        architecture = REGISTRY.architecture_of(table)
        reason = unsuited(architecture)
        if reason is None:
            try:
                found = kept.prepare(table, path)
            except OSError as error:
                reason = f"it cannot be kept: {error.filename}: {error.strerror or error}"
            else:
                reason = found.reason
                if reason is None:
                    network, reason = self._first_that_computes_right(table, path, device, found, architecture)
                    if network is not None:
                        return network
        by_torch = TorchEngine().load(table, path, device)
        by_torch.instead = f"{self.name}: {reason}"
        return by_torch

    def preparing(self, table: Table, path: Path) -> str | None:
        """Return what is to be said before a network is exported, which takes long; None where it was before.

        Raises:
            MissingPackageError: the library is not installed.
        """
        check_installed(self.name)
        if unsuited(REGISTRY.architecture_of(table)) is not None or kept.find(table, path) is not None:
            return None
        return f"Preparing {table.name} for {self.name}: once, up to some minutes."

    def _first_that_computes_right(
        self, table: Table, path: Path, device: Device, found: kept.Kept, architecture: Architecture
    ) -> tuple[ExportedNetwork | None, str]:
        """Return the network on the first unit that passes, or why none does."""
        refused: dict[str, str] = {}
        arguments = found.about["arguments"]
        halves: tuple[Precision, ...] = ("bf16", "fp16")
        bears: list[Precision] = ["fp32", *(each for each in halves if architecture.bears(each, arguments))]
        for unit in (self.unit,) if self.unit else self.units():
            precision = self.precision(unit, device.precision, bears)
            if precision is None:
                refused[unit] = "it computes in half precision only, which this network does not bear"
                continue
            run, outcome = self._tried(found, unit, precision)
            if outcome["reason"] is None:
                return ExportedNetwork(self, table, path, device, found, unit, precision, run, outcome, refused), ""
            refused[unit] = outcome["reason"]
        return None, "; ".join(f"{unit}: {why}" for unit, why in refused.items())

    def _tried(self, found: kept.Kept, unit: str, precision: Precision) -> tuple[Run | None, Mapping[str, Any]]:
        """Return what runs a file on a unit, and how it did; compared where that was not done on such a unit before."""
        facts = f"{self.version()}\n{self.describe(unit)}"
        key = f"{self.name}-{unit}-{precision}-{hashlib.sha256(facts.encode()).hexdigest()[:12]}"
        known = found.outcome(key)
        if known is not None and known["reason"] is not None:
            return None, known
        try:
            run = self.open(found.model, unit, precision, threads())
            difference = Difference(**known["difference"]) if known is not None else found.compared(run)
        except Exception as error:  # a driver's are its own; it is the finding, and is said
            if memory.is_exhausted(error):
                raise OutOfMemoryError(unit, str(found.about["name"]), str(error).splitlines()[0]) from error
            outcome = {"reason": f"it does not run: {(str(error).strip().splitlines() or [type(error).__name__])[0]}"}
            return None, outcome  # not kept: another driver, or free memory, may mend it
        if known is None:
            reason = exceeds(difference, precision)
            told = None if reason is not None else {"largest": difference.largest, "rms": difference.rms}
            known = {"reason": reason, "difference": told}
            try:
                found.conclude(key, known)
            except OSError as error:  # it is compared again next time, no more
                _log.info("%s is not kept: %s", key, error)
        return (run if known["reason"] is None else None), known


class ExportedNetwork:
    """A network that another engine runs; see `restorer.engine.network.Network`.

    What its file does not take (other sizes, other controls, another precision) torch runs in its place, with its own
    copy of the weights, and `notes` says so.
    """

    def __init__(
        self, engine: ExportedEngine, table: Table, path: Path, device: Device, found: kept.Kept, unit: str,
        precision: Precision, run: Run | None, outcome: Mapping[str, Any], refused: Mapping[str, str],
    ) -> None:  # fmt: skip
        self.name = table.name
        self.table = table
        self.architecture = REGISTRY.architecture_of(table)
        self.arguments: Mapping[str, Any] = found.about["arguments"]
        self.device = device
        self.precision = precision
        self._path, self._found, self._run = path, found, run
        self._of = f"{engine.name} on {unit}"
        self._facts = {
            "engine": engine.name, "version": engine.version(), "unit": unit, "precision": precision,
            **outcome["difference"], **({"refused": dict(refused)} if refused else {}),
        }  # fmt: skip
        self._notes: Counter[str] = Counter()
        self._guard = threading.Lock()
        self._process = os.getpid()
        self._torch: TorchNetwork | None = None

    def __repr__(self) -> str:
        return f"<{self.name} by {self._of}, {self.precision}>"

    @property
    def notes(self) -> Mapping[str, int]:
        """What it had to do otherwise since it was loaded, and how many times."""
        return dict(self._notes) | dict(self._torch.notes if self._torch is not None else {})

    @property
    def facts(self) -> Mapping[str, Any]:
        """What a record says of it."""
        return dict(self._facts)

    def __call__(
        self, *tensors: torch.Tensor, precision: Precision | None = None, shrinks: bool = False, **controls: Any
    ) -> Any:
        """Run the network; see `restorer.engine.network.Network`."""
        if self._process != os.getpid():
            raise DeviceUnavailableError(
                f"This process was forked from one whose networks are run by {self._of}, and a fork cannot use that.",
                'Start processes by multiprocessing.get_context("spawn"), or use --engine torch.',
            )
        why = self._unfit(tensors, precision, controls)
        if why is not None:
            self._notes[f"{self.name}: {why}; torch took the place of {self._of}."] += 1
            return self._by_torch()(*tensors, precision=precision, shrinks=shrinks, **controls)
        (pictures,) = tensors
        try:
            output = self._each(pictures, controls)
        except Exception as error:
            if not memory.is_exhausted(error):
                raise
            memory.release("cpu")
            self._notes[f"{self.name}: the memory of {self._of} does not suffice; torch took its place."] += 1
            return self._by_torch()(*tensors, shrinks=shrinks, **controls)
        return output if self.precision == "fp32" else self._second_chance(pictures, output, controls)

    def _unfit(
        self, tensors: Sequence[torch.Tensor], precision: Precision | None, controls: Mapping[str, Any]
    ) -> str | None:
        """Return what the file does not take of a call; None where it takes all."""
        if len(tensors) != 1 or tuple(tensors[0].shape[1:]) != self._found.shape[1:]:
            return "it was exported for pictures of one size"
        if precision not in (None, self.precision):
            return f"{precision} was asked for"
        others = set(controls) ^ set(self._found.controls)
        if others:
            return f"{' and '.join(sorted(others))} {'is' if len(others) == 1 else 'are'} not as it was exported"
        return None

    def _each(self, pictures: torch.Tensor, controls: Mapping[str, Any]) -> Any:
        """Run the pictures, one after the other: the file takes one."""
        import numpy as np
        import torch

        assert self._run is not None
        more = [np.asarray(float(controls[name]), np.float32) for name in self._found.controls]
        with self._guard:
            found = [self._run([item[None].contiguous().numpy(), *more]) for item in pictures.float()]
        joined = [torch.from_numpy(np.concatenate(same)) for same in zip(*found, strict=True)]
        return joined[0] if len(joined) == 1 else tuple(joined)

    def _second_chance(self, pictures: torch.Tensor, output: Any, controls: Mapping[str, Any]) -> Any:
        """Return the output with what half precision broke computed again by torch in fp32."""
        import torch

        parts = output if isinstance(output, tuple) else (output,)
        again = torch.zeros(len(pictures), dtype=torch.bool)
        for part in parts:
            again |= broken(pictures, part, self.architecture.pictures)
        if not again.any():
            return output
        by_torch = self._by_torch()(pictures[again], precision="fp32", **controls)
        for part, mended in zip(parts, by_torch if isinstance(by_torch, tuple) else (by_torch,), strict=True):
            part[again] = mended
        return output

    def _by_torch(self) -> TorchNetwork:
        with self._guard:
            if self._torch is None:
                self._torch = TorchEngine().load(self.table, self._path, self.device)
            return self._torch


def exceeds(difference: Difference, precision: Precision) -> str | None:
    """Return in words by what a difference is too large for a precision; None where it is not."""
    if precision == "fp32":
        measure, value, allowed = "at most", difference.largest, TOLERANCE
    else:
        measure, value, allowed = "rms", difference.rms, HALF_TOLERANCE
    if value <= allowed:
        return None
    off = f"{value:.2g} of the deviation ({measure}), where {allowed:g} is right"
    return f"its picture is another one than torch's: {off}"


def unsuited(architecture: Architecture) -> str | None:
    """Return why networks of an architecture are left to torch; None where a file can hold what a run asks of them."""
    if architecture.unexportable is not None:
        return f"it cannot be exported: {architecture.unexportable}"
    if not isinstance(architecture, (FaceArchitecture, ParserArchitecture)):
        return "it takes pictures of any size, and an exported one takes one size"
    return None


def check_installed(name: str) -> None:
    """Raise `MissingPackageError` where an engine's library, or what writes its files, is not installed."""
    check_packages((name, *WRITERS), name)
