"""Which device and precision a run uses, and how many threads it may take."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from restorer.engine import groups
from restorer.engine.starting import load_torch
from restorer.errors import DeviceUnavailableError, UsageError
from restorer.models.base import Precision

ALL_GPUS = "cuda:all"
"""What stands for a process on each GPU, which are a run's to start and not a network's to use."""
MOST_THREADS = 8
"""Threads that compute a photo, where nobody says how many. Its layers are shared out badly by more, and their last
bits depend on their number: several photos at once, which use more cores, are each computed with as many."""
_SPINNING = {"GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}
"""How long threads of OpenMP spin before they sleep: GNU's, which torch brings on Linux, and LLVM's and Intel's."""
_HUGE_PAGES = "THP_MEM_ALLOC_ENABLE"
"""Lets torch ask the system for large pages, where that is Linux and has them."""
_REPORTED = Path("/sys/module/page_reporting/parameters/page_reporting_order")
"""Is there where Linux may give free pages back to the host of a virtual machine."""
_SMALL_PAGES = ("glean-128", "glean", "codeformer")
"""Networks that were measured to be quicker without large pages where free ones are given back, by all their names
(docs/performance.md)."""
_KERNELS = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "320")
"""How many kernels torch keeps that it made for a layer and a size; a photo with everything takes about 300."""
_threads: list[int] = []
"""How many threads torch shall use, once someone has asked for that; empty where it is left as it is."""


@dataclass(frozen=True)
class Device:
    """Where networks run, in which precision; `name` is torch's: "cpu", "cuda:0", "mps".

    With `low_memory` they take less of a CPU's memory, and more time.
    """

    name: str
    precision: Precision
    low_memory: bool = False

    @property
    def kind(self) -> str:
        """The device's type without its number."""
        return self.name.partition(":")[0]

    def autocast(self, precision: Precision | None = None) -> AbstractContextManager[object]:
        """Return the context in which networks compute; nothing for fp32."""
        import torch

        wanted = precision or self.precision
        if wanted == "fp32":
            return nullcontext()
        return torch.autocast(self.kind, dtype=torch.bfloat16 if wanted == "bf16" else torch.float16)


def choose(device: str = "auto", precision: str = "auto", *, low_memory: bool = False) -> Device:
    """Return the device and precision to use; nothing in torch is changed by asking.

    Args:
        device: "auto" (CUDA, then Apple's MPS, then the CPU), "cpu", "cuda", "cuda:N" or "mps".
        precision: "auto", "fp32", "bf16" or "fp16". Auto is bf16 where the hardware computes in it (CUDA from Ampere
            on, CPUs with AVX-512 BF16 or AMX) and fp32 elsewhere.
        low_memory: whether networks on a CPU shall take less memory, and more time.

    Raises:
        DeviceUnavailableError: the device or the precision is not there.
        UsageError: a name that is none of these.
    """
    name = _device_name(device)
    if precision == "auto":
        return Device(name, "bf16" if computes_in_bf16(name) else "fp32", low_memory)
    if precision not in ("fp32", "bf16", "fp16"):
        raise UsageError(f"--precision {precision} is not known.", "Use auto, fp32, bf16 or fp16.")
    if precision == "fp16" and name == "cpu":
        raise DeviceUnavailableError("fp16 is for GPUs; this run uses the CPU.", "Use --precision bf16 or fp32.")
    return Device(name, cast("Precision", precision), low_memory)


def configure_threads(count: int | None = None, network: str = "") -> None:
    """Ask that torch uses so many threads as soon as a network is loaded; for a program that is this process's own.

    Args:
        count: threads; None = what $OMP_NUM_THREADS says, else as many as `threads_of` the cores that this process may
            use.
        network: the one that faces go through, where that is known; some are better off without large pages.

    Raises:
        UsageError: a number below one.
    """
    if count is not None and count < 1:
        raise UsageError(f"{count} threads compute nothing.", "Use at least 1.")
    _threads[:] = [count or threads_said() or threads_of(allowed_cores())]
    wait_without_spinning()
    use_huge_pages(network)
    keep_few_kernels()


def threads_said() -> int | None:
    """Return the threads that $OMP_NUM_THREADS asks for; None where it says nothing."""
    said = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # "4,2" is for nested teams
    return int(said) or None if said.isdecimal() else None


def threads_of(cores: int) -> int:
    """Return how many threads compute a photo on so many cores, where nobody says it."""
    return min(cores, MOST_THREADS)


def wait_without_spinning() -> None:
    """Let torch's threads sleep while they wait for each other, where nobody asked for anything else.

    They are told so by the environment, which they read when torch is imported: later it has no effect. A thread that
    spins keeps a core from whatever else the machine does, which may be the very thread that it waits for.
    """
    if "torch" in sys.modules or any(name in os.environ for name in ("OMP_WAIT_POLICY", *_SPINNING)):
        return
    os.environ.update(_SPINNING)


def use_huge_pages(network: str = "") -> None:
    """Let large tensors lie in large pages, where nobody asked for anything else; like waiting, by the environment.

    Features go back to the system with each layer, and new ones come, page by page: with large ones that is less work,
    unless the host of a virtual machine takes free ones back: then each that is needed again is waited for.

    Args:
        network: the one that most of the work is done in, where that is known; no value that it computes depends on it.
    """
    if "torch" not in sys.modules and gains_by_huge_pages(network, reported=_REPORTED.exists()):
        os.environ.setdefault(_HUGE_PAGES, "1")


def gains_by_huge_pages(network: str, *, reported: bool) -> bool:
    """Return whether a network has large pages: all have but few, and those but on some virtual machines.

    Args:
        network: its table's name; "" = not known.
        reported: whether the system may report free pages to a host.
    """
    return not (reported and network in _SMALL_PAGES)


def keep_few_kernels() -> None:
    """Let torch keep the kernels of a few sizes only, where nobody asked for anything else; by the environment, too.

    Photos of other sizes take kernels of their own for the network that looks for faces. torch keeps 1,024, which come
    to a hundred mebibytes over the first photos of a folder or a server.
    """
    name, most = _KERNELS
    if "torch" not in sys.modules and f"DNNL_{name.partition('_')[2]}" not in os.environ:
        os.environ.setdefault(name, most)


def apply_threads() -> None:
    """Do what `configure_threads` asked for; nothing where it was not called."""
    if _threads:
        load_torch(own=True)  # whoever comes first: a network may be asked for before the device is
        import torch

        if torch.get_num_threads() != _threads[0]:
            torch.set_num_threads(_threads[0])


def threads() -> int:
    """Return how many threads a network shall compute with: what was asked for, else as many as torch takes."""
    if _threads:
        return _threads[0]
    import torch

    return torch.get_num_threads()


def start_after_fork(used: Device | None) -> None:
    """Make computing safe in a process that was forked from one which may have computed already.

    The threads that torch computes with do not come along, and who waited for them would wait for ever; so it computes
    with one from here on. OpenCV's are left alone: its work does not wait for threads that do not take a part of it,
    but to set their number waits for all of them.

    Args:
        used: the device of the networks that the parent has loaded; None = none is known.

    Raises:
        DeviceUnavailableError: it is a GPU, which a forked process cannot use.
    """
    if used is not None and used.kind != "cpu":
        raise DeviceUnavailableError(
            f"This process was forked from one whose networks are on {used.name}, and a fork cannot use that.",
            'Start processes by multiprocessing.get_context("spawn"), or make the Restorer in the new process.',
        )
    _threads[:] = [1]
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def _device_name(device: str) -> str:
    load_torch(own=bool(_threads))
    import torch as t

    if device == "auto":
        if t.cuda.is_available():
            return "cuda:0"
        return "mps" if t.backends.mps.is_available() else "cpu"
    if device == "cpu":
        return "cpu"
    if device == "mps":
        if not t.backends.mps.is_available():
            raise DeviceUnavailableError("This machine has no MPS device.", "Use --device auto or --device cpu.")
        return "mps"
    if device == ALL_GPUS:
        raise DeviceUnavailableError(
            f"--device {device} is for a run of the command, which starts a process for each GPU.",
            "Use --device cuda:0 here, or one Restorer in each of several processes.",
        )
    kind, _, number = device.partition(":")
    if kind == "cuda" and (number.isdecimal() or device == "cuda"):
        index = int(number or 0)
        count = gpu_count()
        if index >= count:
            seen = f"only {count} CUDA device{'s' if count > 1 else ''}" if count else "no CUDA device"
            raise DeviceUnavailableError(
                f"--device {device} asks for a GPU that is not there: torch sees {seen}.",
                "Use --device auto or --device cpu.",
            )
        return f"cuda:{index}"
    raise UsageError(f"--device {device} is not known.", "Use auto, cpu, cuda, cuda:N or mps.")


def gpu_count() -> int:
    """Return how many CUDA devices torch sees."""
    import torch as t

    return t.cuda.device_count() if t.cuda.is_available() else 0


def computes_in_bf16(name: str) -> bool:
    """Return whether bf16 is computed by the hardware rather than emulated."""
    import torch as t

    if name.startswith("cuda"):
        return t.cuda.get_device_capability(t.device(name)) >= (8, 0)
    if name != "cpu":
        return False
    probes = (getattr(t.cpu, probe, None) for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(bool(probe()) for probe in probes if probe is not None)


def allowed_cores() -> int:
    """Return how many cores this process may use: its CPU affinity, cut by a container's quota, at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_quota()
    return max(1, min(cores, quota) if quota else cores)


def _cgroup_quota(root: Path = groups.ROOT, told: Path = groups.TOLD) -> int | None:
    """Return the CPU quota of this process's groups, rounded up to whole cores; None where there is none."""
    quotas = [quota for folder in groups.folders("cpu", root, told) if (quota := _quota(folder)) is not None]
    return min(quotas, default=None)


def _quota(folder: Path) -> int | None:
    try:
        limit, period = (folder / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            limit = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if not limit.isdecimal() or not period.isdecimal() or int(period) == 0:
        return None
    return max(1, -(-int(limit) // int(period)))
