"""What this machine is to whoever chooses how networks are computed: facts that no clock and no load changes."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Hardware:
    """What the choices of arithmetic and engine depend on.

    Attributes:
        instructions: that torch computes matrix products with: "AVX2", "AVX512", or "DEFAULT" for others.
        amx: whether the processor has units for matrices of bf16 (Intel's AMX).
        engines: the other engines that are installed, with their versions.
    """

    instructions: str
    amx: bool = False
    engines: tuple[tuple[str, str], ...] = ()


_DISTRIBUTIONS: Mapping[str, Sequence[str]] = {
    "openvino": ("openvino",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-silicon"),
}
"""What each may have been installed as."""
_settled: list[Hardware] = []
"""What somebody said that choices shall be made for; empty = for this machine."""


def settle(hardware: Hardware | None) -> None:
    """Let this process choose as on other hardware: all workers of a cluster compute as their driver would.

    Args:
        hardware: the driver's; None = this machine's own again.
    """
    _settled[:] = [] if hardware is None else [hardware]


def hardware() -> Hardware:
    """Return what choices are made for: this machine, or what `settle` said. Loads torch where it asks the machine."""
    return _settled[0] if _settled else _here()


def hardware_aside() -> Hardware:
    """Return the same without loading torch here, which takes some hundred megabytes: a process of its own is asked."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    if _settled or "torch" in sys.modules:
        return hardware()
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as aside:
        return aside.submit(hardware).result()


@cache
def _here() -> Hardware:
    import torch

    known = str(torch.backends.cpu.get_cpu_capability())
    probe = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return Hardware(
        known if torch.backends.mkl.is_available() else "DEFAULT",  # type: ignore[no-untyped-call]
        probe is not None and bool(probe()),
        tuple(sorted(versions().items())),
    )


def is_installed(name: str) -> bool:
    """Return whether an engine's module is there; it is not imported for it."""
    return importlib.util.find_spec(name) is not None


def versions() -> dict[str, str]:
    """Return the other engines that are installed, with their versions; none of them is imported for it."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name, distributions in _DISTRIBUTIONS.items():
        if not is_installed(name):
            continue
        for each in distributions:
            with suppress(PackageNotFoundError):
                found[name] = version(each)
                break
        else:
            found[name] = "unknown"
    return found


@cache
def processor() -> str:
    """Return the processor's own name; "" where nobody tells."""
    import platform

    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())
