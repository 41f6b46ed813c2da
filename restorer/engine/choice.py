"""Which engine runs a network: a pure function of what was asked for, the machine, and a table of what was measured.

Nothing here depends on a clock or on what is in a cache: the same options on the same kind of machine, with the same
versions installed, give the same engine in every run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from restorer.engine.hardware import Hardware, is_installed
from restorer.errors import DeviceUnavailableError, UsageError
from restorer.formatting import nearest

AUTO, TORCH = "auto", "torch"
UNITS: Mapping[str, Sequence[str]] = {
    "openvino": ("cpu", "gpu", "npu"),
    "onnxruntime": ("cpu", "cuda", "directml", "coreml"),
}
"""Where each other engine can compute."""
_UNIT_OF = {"openvino": {"cpu": "cpu"}, "onnxruntime": {"cpu": "cpu", "cuda": "cuda", "mps": "coreml"}}
"""The unit that a device of torch's stands for, where somebody names the device and not the unit."""


@dataclass(frozen=True)
class Measured:
    """An engine that was measured to be quicker than torch by a tenth or more, with pictures within the tolerance.

    Attributes:
        engine: with its unit, "openvino:cpu".
        architecture: of the networks.
        precision: that both computed in.
        instructions: of the processor, as `Hardware` names them.
        amx: whether it has AMX.
        least: the engine's version, and all above.
        ratio: its time over torch's.
        by: the command that measured it.
    """

    engine: str
    architecture: str
    precision: str
    instructions: str
    amx: bool
    least: tuple[int, ...]
    ratio: float
    by: str


MEASURED: tuple[Measured, ...] = ()
"""Where "auto" takes another engine than torch: nowhere, for nothing was measured well enough to stand here.

An entry needs a run of `python -m restorer.bench engines` with at least 15 rounds on a quiet machine, a ratio of 0.9 at
most, and a difference within the tolerance of its precision.
"""


def check(asked: str, device: str, known: Callable[[], Sequence[str]]) -> str:
    """Return the engine that was asked for, with its unit where the device names one: "auto", "torch", "openvino:cpu".

    Args:
        asked: the option.
        device: the option of that name.
        known: the engines that there are.

    Raises:
        UsageError: there is no such engine or unit, or the device is not one of its.
    """
    name, _, unit = asked.partition(":")
    if asked in (AUTO, TORCH):
        return asked
    if name not in UNITS or (unit and unit not in UNITS[name]):
        if not unit and name in known():
            return name
        words = [AUTO, *known(), *(f"{each}:{one}" for each in UNITS for one in UNITS[each])]
        near = nearest(asked, words)
        raise UsageError(
            f"--engine {asked} is not known.", f"Did you mean {near[0]}?" if near else f"Use one of {', '.join(words)}."
        )
    kind = device.partition(":")[0]
    if kind == AUTO:
        return asked
    meant = _UNIT_OF[name].get(kind)
    if unit and unit == meant:
        return asked
    if unit or meant is None:
        raise DeviceUnavailableError(
            f"--engine {asked} does not compute on --device {device}.",
            f"Leave --device out, or use --engine {TORCH}.",
        )
    return f"{name}:{meant}"


def candidates(architecture: str, table: Sequence[Measured] | None = None) -> bool:
    """Return whether an engine that is installed was measured to be quicker on any machine; loads nothing."""
    named = {
        each.engine.partition(":")[0]
        for each in (MEASURED if table is None else table)
        if each.architecture == architecture
    }
    return any(is_installed(name) for name in named)


def quicker(
    architecture: str, precision: str, machine: Hardware, table: Sequence[Measured] | None = None
) -> str | None:
    """Return the engine that was measured to be quicker than torch on such a machine, with its unit; None for none.

    Args:
        architecture: of the network.
        precision: that it computes in on the CPU.
        machine: what is known of it.
        table: what was measured; None = what is shipped.
    """
    here = dict(machine.engines)
    found = [
        each
        for each in (MEASURED if table is None else table)
        if (each.architecture, each.precision) == (architecture, precision)
        and (each.instructions, each.amx) == (machine.instructions, machine.amx)
        and _numbers(here.get(each.engine.partition(":")[0], "")) >= each.least
    ]
    return min(found, key=lambda each: (each.ratio, each.engine)).engine if found else None


def _numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: "2026.4.1-rc" becomes (2026, 4, 1)."""
    numbers = []
    for part in version.split("."):
        digits = part[: next((at for at, sign in enumerate(part) if not sign.isdigit()), len(part))]
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)
