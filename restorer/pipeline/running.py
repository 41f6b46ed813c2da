"""What runs a run's networks, as asked for or measured to be quicker here; and what samples their crops."""

from __future__ import annotations

from typing import TYPE_CHECKING

from restorer.engine import choice
from restorer.engine.choice import AUTO, TORCH
from restorer.engine.hardware import hardware
from restorer.models import REGISTRY

if TYPE_CHECKING:
    from restorer.engine.device import Device
    from restorer.imaging.sampling import Sampling
    from restorer.pipeline.decisions import Decisions
    from restorer.record import Record
    from restorer.weights import Table


def engine_of(of: Decisions, table: Table) -> str:
    """Return the engine that is to run a table's network; torch is loaded for it only where the choice is open."""
    if of.engine != AUTO:
        return of.engine
    architecture = REGISTRY.architecture_of(table)
    if not choice.candidates(architecture.name) or of.device.kind != "cpu":
        return TORCH
    wanted = of.device.precision
    precision = wanted if architecture.bears(wanted, REGISTRY.arguments(table)) else "fp32"
    return choice.quicker(architecture.name, precision, hardware()) or TORCH


def meant(of: Decisions) -> str:
    """Return the engine that is to run the face restorer, without its unit; "torch" where no face is restored."""
    if of.given.face_model is not None or not of.faces_wanted:
        return TORCH
    return engine_of(of, of.model_table()).partition(":")[0]


def used(of: Decisions, record: Record, searched: bool) -> str:
    """Return the engine that ran the face restorer, for its record; what is meant to, where no face was restored.

    Args:
        of: the choices of the run.
        record: with its networks.
        searched: whether faces are searched for in a prior, which torch does.
    """
    if searched:
        return TORCH
    return str(record.networks.get(record.model, {}).get("engine") or meant(of))


def instead(of: Decisions, record: Record) -> str | None:
    """Return a line where torch ran the face restorer in the place of the engine that was meant to; None elsewhere."""
    reason = record.networks.get(record.model, {}).get("reason")
    return None if reason is None else f"Torch ran {record.model}, since {meant(of)} does not: {reason}."


def sampling_on(device: Device | None) -> Sampling:
    """Return what samples aligned crops and what is pasted: on a CUDA device there, else on the processor."""
    from restorer.imaging.sampling import PLAIN

    if device is None or device.kind != "cuda":
        return PLAIN
    from restorer.imaging.tensor_sampling import TensorSampling

    return TensorSampling(device.name)
