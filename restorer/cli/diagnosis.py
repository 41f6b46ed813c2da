"""Looks at the machine: is everything there that a restoration needs, and what is to be done where it is not.

Each check looks at the thing itself: packages are imported, devices compute, folders are written to, the Hub is asked.
A check that fails does not stop the others.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from restorer.errors import RestorerError
from restorer.version import __version__

Status = Literal["ok", "note", "broken", "skipped"]

PACKAGES = {
    "numpy": "numpy",
    "pillow": "PIL",
    "torch": "torch",
    "torchvision": "torchvision",
    "opencv-python": "cv2",
    "huggingface_hub": "huggingface_hub",
    "safetensors": "safetensors",
    "typer": "typer",
    "rich": "rich",
    "filelock": "filelock",
    "platformdirs": "platformdirs",
}
"""Distributions that are needed, and the module of each that is imported. facexlib and basicsr have their own check."""

LEAST_OPENCV = 5
LITTLE_SPACE = 2_000_000_000
"""Bytes of free disk below which a folder gets a note."""
TOLERANCE = {"fp32": 1e-3, "bf16": 0.05}
"""How far the result of a device may be from the CPU's in float64; its values are about 1."""


@dataclass(frozen=True)
class Check:
    """What one look found.

    Attributes:
        group: "Versions", "Devices", "Folders", "Weights", "Network" or "Settings".
        name: what was looked at.
        status: "ok", "note" (works, but worth to know), "broken" or "skipped".
        detail: what was found.
        remedy: what to type or do; None where nothing is to be done.
        facts: the same for programs.
    """

    group: str
    name: str
    status: Status
    detail: str
    remedy: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def examine(*, offline: bool = False) -> Iterator[Check]:
    """Yield one check after the other, as they are done.

    Args:
        offline: ask no network.
    """
    yield from _versions()
    yield from _compatibility()
    yield from _devices()
    yield from _folders()
    yield from _weights()
    yield from _network(offline)


# --------------------------------------------------------------------------------------------------------- versions


def _versions() -> Iterator[Check]:
    python = platform.python_version()
    where = f"restorer {__version__}, Python {python}, {platform.system()} {platform.machine()}"
    facts = {"restorer": __version__, "python": python, "platform": platform.platform(), "executable": sys.executable}
    yield Check("Versions", "python", "ok", where, facts=facts)
    for name, module in PACKAGES.items():
        yield _package(name, module)
    yield from _several_opencvs()
    if importlib.util.find_spec("pillow_heif") is None:
        remedy = 'To open them, type: pip install "restorer[heif]"'
        yield Check("Versions", "pillow-heif", "note", "not installed: HEIC pictures cannot be opened", remedy)
    else:
        yield _package("pillow-heif", "pillow_heif")


def _package(name: str, module: str) -> Check:
    """Import a package and say its version."""
    try:
        loaded = importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = name if error.name == module else f"{name}, or {error.name} that it needs,"
        return Check(
            "Versions", name, "broken", f"{missing} is not installed", f"Type: pip install {error.name or name}"
        )
    except Exception as error:  # noqa: BLE001 - a broken installation may raise anything; it is the finding
        reason = _first_line(error)
        return Check("Versions", name, "broken", f"cannot be imported: {reason}", _import_remedy(name, reason))
    version = str(getattr(loaded, "__version__", None) or _installed(name) or "?")
    facts = {"version": version, "file": getattr(loaded, "__file__", None)}
    if name == "opencv-python" and int(version.split(".")[0]) < LEAST_OPENCV:
        return Check(
            "Versions",
            name,
            "broken",
            f"{version}: versions before {LEAST_OPENCV} round positions to 1/32 pixel, which shifts faces",
            f'Type: pip install --upgrade "opencv-python>={LEAST_OPENCV}.0"',
            facts,
        )
    return Check("Versions", name, "ok", version, facts=facts)


def _import_remedy(name: str, reason: str) -> str:
    """Return what helps against the known ways in which imports fail."""
    if name == "opencv-python" and "libGL" in reason:
        return "Type: pip uninstall -y opencv-python && pip install opencv-python-headless"
    if name == "torchvision":
        return "torch and torchvision must fit together: pip install --upgrade torch torchvision"
    return f"Type: pip install --force-reinstall {name}"


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _several_opencvs() -> Iterator[Check]:
    names = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")
    here = [name for name in names if _installed(name)]
    if len(here) > 1:
        remedy = f"Keep one: pip uninstall -y {' '.join(here)} && pip install opencv-python"
        yield Check("Versions", "opencv", "note", f"{' and '.join(here)} overwrite each other's files", remedy)


def _compatibility() -> Iterator[Check]:
    """Load what is known to break with newer releases of other packages."""
    from restorer.evaluation.basicsr_compat import import_basicsr

    def basicsr() -> None:
        for module in ("metrics.psnr_ssim", "metrics.niqe"):
            import_basicsr(f"basicsr.{module}")

    def facexlib() -> None:
        from restorer.networks.facexlib_networks import facexlib_module

        for module in ("retinaface_net", "parsenet", "bisenet"):
            facexlib_module(module)

    for name, load in (("basicsr", basicsr), ("facexlib", facexlib)):
        version = _installed(name)
        facts = {"version": version}
        if version is None and name == "basicsr" and sys.version_info[:2] >= (3, 13):
            detail = "not installed, and cannot be built under this Python: `restore evaluate` is not available"
            yield Check("Versions", name, "note", detail, "For it, install restorer under Python 3.12.", facts)
            continue
        if version is None:
            yield Check("Versions", name, "broken", f"{name} is not installed", f"Type: pip install {name}", facts)
            continue
        try:
            load()
        except Exception as error:  # noqa: BLE001 - a broken installation may raise anything; it is the finding
            wanted = {"basicsr": "1.4.2", "facexlib": "0.3.0"}[name]
            remedy = f"Type: pip install --force-reinstall --no-deps {name}=={wanted}"
            yield Check("Versions", name, "broken", f"{version} cannot be loaded: {_first_line(error)}", remedy, facts)
        else:
            yield Check("Versions", name, "ok", f"{version}, its parts load", facts=facts)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


# ---------------------------------------------------------------------------------------------------------- devices


def _devices() -> Iterator[Check]:
    from restorer.engine.device import allowed_cores, choose

    try:
        import torch
    except Exception as error:  # noqa: BLE001 - said with the versions already
        yield Check("Devices", "torch", "broken", f"no device: {_first_line(error)}", "Repair torch first.")
        return
    automatic = choose()
    names = ["cpu"]
    if torch.cuda.is_available():
        names += [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("mps")
    for name in names:
        yield _device(name, automatic.name)
    cores, allowed = os.cpu_count() or 1, allowed_cores()
    detail = f"{allowed} of {cores} cores" + ("" if allowed == cores else ", as affinity or a container's quota allow")
    yield Check("Devices", "threads", "ok", detail, facts={"allowed": allowed, "cores": cores})
    yield from _unused_gpu(torch.cuda.is_available(), torch.version.cuda)


def _device(name: str, automatic: str) -> Check:
    """Let a device compute, in fp32 and in bf16, and compare with what comes out of the CPU in float64."""
    import torch

    from restorer.engine.device import choose

    facts: dict[str, Any] = {"name": name, "automatic": name == automatic}
    words = []
    try:
        if name.startswith("cuda"):
            properties = torch.cuda.get_device_properties(torch.device(name))
            facts |= {"model": properties.name, "memory": properties.total_memory}
            words.append(f"{properties.name}, {properties.total_memory / 1e9:.0f} GB")
        elif name == "cpu":
            facts["capability"] = torch.backends.cpu.get_cpu_capability()
            words.append(facts["capability"])
        for precision in ("fp32", "bf16"):
            error, seconds = _compute(name, precision)
            facts[precision] = {"error": error, "seconds": round(seconds, 4)}
            if not error <= TOLERANCE[precision]:
                return Check(
                    "Devices", name, "broken", f"computes wrongly in {precision}: off by {error:.2g} where 1 is usual",
                    f"Leave it out with --device, use --precision fp32, or update torch (here: {torch.__version__}).",
                    facts,
                )  # fmt: skip
        facts["precision"] = choose(name).precision
        facts["bf16_in_hardware"] = facts["precision"] == "bf16"
    except (RuntimeError, RestorerError) as error:  # torch raises RuntimeError for all that a device cannot
        remedy = f"Use --device cpu, or update the driver or torch (here: {torch.__version__})."
        return Check("Devices", name, "broken", f"does not compute: {_first_line(error)}", remedy, facts)
    words.append("computes in fp32 and bf16")
    words.append(f"runs use {facts['precision']}" + ("" if facts["bf16_in_hardware"] else " (bf16 is emulated)"))
    if name == automatic:
        words.append("--device auto takes it")
    return Check("Devices", name, "ok", "; ".join(words), facts=facts)


def _compute(name: str, precision: Literal["fp32", "bf16"]) -> tuple[float, float]:
    """Return the largest error of a small convolution on a device, and the seconds it took."""
    import torch

    from restorer.engine.device import Device

    picture = torch.linspace(-1, 1, 8 * 24 * 24, dtype=torch.float64).sin().view(1, 8, 24, 24)
    kernel = torch.linspace(-3, 3, 8 * 8 * 9, dtype=torch.float64).cos().view(8, 8, 3, 3) / 8
    truth = torch.nn.functional.conv2d(picture, kernel)
    truth, kernel = truth / truth.std(), kernel / truth.std()
    begin = time.perf_counter()
    with torch.inference_mode(), Device(name, precision).autocast():
        result = torch.nn.functional.conv2d(picture.float().to(name), kernel.float().to(name)).double().cpu()
    return float((result - truth).abs().max()), time.perf_counter() - begin


def _unused_gpu(used: bool, built_for: str | None) -> Iterator[Check]:
    """Notice an NVIDIA GPU that torch does not use, which else shows only in how long a run takes."""
    if used or not (Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi")):
        return
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and hidden.strip() in ("", "-1"):
        detail = f"CUDA_VISIBLE_DEVICES={hidden} hides the NVIDIA GPU"
        yield Check("Devices", "gpu", "note", detail, "Unset CUDA_VISIBLE_DEVICES to use it.")
    elif built_for is None:
        detail = "an NVIDIA driver is here, but this torch was built without CUDA; runs use the CPU"
        remedy = "Install a torch with CUDA: https://pytorch.org/get-started/locally/"
        yield Check("Devices", "gpu", "broken", detail, remedy)
    else:
        detail = f"an NVIDIA driver is here, but torch (for CUDA {built_for}) finds no GPU; runs use the CPU"
        yield Check("Devices", "gpu", "broken", detail, "Look what `nvidia-smi` says; a newer driver may be needed.")


# ---------------------------------------------------------------------------------------------------------- folders


def _folders() -> Iterator[Check]:
    from restorer.storage.folders import cache_folder, config_folder, hub_cache

    yield _folder("cache", cache_folder(), "RESTORER_CACHE")
    yield _folder("hub cache", hub_cache(), "HF_HOME")
    yield _folder("settings", config_folder(), "RESTORER_CONFIG", needed=False)


def _folder(name: str, folder: Path, variable: str, *, needed: bool = True) -> Check:
    """Write into a folder, or into the nearest one above it that is there, and look at the free disk."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    facts: dict[str, Any] = {"path": str(folder), "exists": folder.exists()}
    remedy = f"Let {variable} name a folder that can be written, or change its permissions."
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
        free = shutil.disk_usage(there).free
    except OSError as error:
        detail = f"{folder} cannot be written: {error.strerror or error}"
        return Check("Folders", name, "broken" if needed else "note", detail, remedy, facts)
    facts["free"] = free
    detail = f"{folder}, {free / 1e9:.1f} GB free" + ("" if folder.exists() else " (made when it is needed)")
    if needed and free < LITTLE_SPACE:
        return Check(
            "Folders",
            name,
            "note",
            f"{detail}: little",
            f"Free some space, or let {variable} name another disk.",
            facts,
        )
    return Check("Folders", name, "ok", detail, facts=facts)


# ---------------------------------------------------------------------------------------------------------- weights


def _weights() -> Iterator[Check]:
    from restorer import weights
    from restorer.weights import fetching

    try:
        tables = weights.tables()
    except RestorerError as error:
        yield Check("Weights", "weights.toml", "broken", error.message, error.remedy)
        return
    verified, wrong = [], []
    for table in tables.values():
        if weights.cached(table) is not None:
            verified.append(table.name)
        elif here := fetching.located(table):
            wrong.append(table.name)
            yield Check(
                "Weights",
                table.name,
                "broken",
                f"{here[0][1]} is not the file that its table asks for; it is never loaded",
                f"Type `restore models pull {table.name}` to download it again.",
                {"path": str(here[0][1])},
            )
    facts = {"known": len(tables), "verified": verified, "wrong": wrong}
    names = f": {', '.join(verified)}" if verified else ""
    yield Check("Weights", "here", "ok", f"{len(verified)} of {len(tables)} are here and verified{names}", facts=facts)
    yield from _defaults(_guarded(_default_names), verified)


def _default_names() -> list[str]:
    """Return the weights of a run that names none: face restorers below and from scale 8, detector, parser."""
    from restorer.pipeline.parts import DETECTOR, GLEAN_FROM_SCALE, PARSER, wanted_model

    return [wanted_model(2), wanted_model(GLEAN_FROM_SCALE), DETECTOR, PARSER]


def _guarded(names: Callable[[], list[str]]) -> list[str] | Check:
    """Return the names, or the check that says why there are none."""
    try:
        return names()
    except RestorerError as error:
        return Check("Weights", "defaults", "broken", error.message, error.remedy)
    except ImportError as error:  # said with the versions already
        return Check("Weights", "defaults", "broken", _first_line(error), "Repair the packages above first.")


def _defaults(names: list[str] | Check, verified: list[str]) -> Iterator[Check]:
    """Say what a run without --model would have to download first."""
    from restorer import weights
    from restorer.storage.folders import hub_cache
    from restorer.weights.progress import megabytes

    if isinstance(names, Check):
        yield names
        return
    tables = weights.tables()
    absent = [name for name in names if name not in verified]
    if not absent:
        yield Check("Weights", "defaults", "ok", f"all that a plain run uses: {', '.join(names)}")
        return
    size = sum(tables[name].size or 0 for name in absent)
    listed = ", ".join(f"{name} ({megabytes(tables[name].size)})" for name in absent)
    facts = {"missing": absent, "bytes": size}
    there = next(folder for folder in (hub_cache(), *hub_cache().parents) if folder.exists())
    if (free := shutil.disk_usage(there).free) < size:
        detail = f"not here: {listed}; only {megabytes(free)} are free for {megabytes(size)}"
        yield Check(
            "Weights", "defaults", "broken", detail, "Free some space, or let HF_HOME name another disk.", facts
        )
        return
    detail = f"not here yet, downloaded when a run first uses them: {listed}"
    yield Check(
        "Weights", "defaults", "note", detail, f"To have them now: restore models pull {' '.join(absent)}", facts
    )


# ---------------------------------------------------------------------------------------------------------- network


def _network(offline: bool) -> Iterator[Check]:
    """Ask the Hub whether it is there, first whether anything answers at all, then with the client that downloads."""
    from restorer.storage.folders import hub_endpoint, is_offline
    from restorer.weights.reach import unreachable

    endpoint = hub_endpoint()
    facts: dict[str, Any] = {"endpoint": endpoint}
    if is_offline(offline):
        why = "--offline" if offline else "HF_HUB_OFFLINE"
        yield Check("Network", "hub", "skipped", f"{endpoint} was not asked: {why}", facts=facts)
        return
    remedy = (
        "Weights that are here work without it: use --offline. Behind a proxy set HTTPS_PROXY; for a mirror set "
        "HF_ENDPOINT."
    )
    begin = time.perf_counter()
    if silent := unreachable([endpoint]):
        yield Check("Network", "hub", "broken", f"{endpoint} does not answer: {silent[endpoint]}", remedy, facts)
        return
    try:
        from huggingface_hub import get_session

        answer = get_session().head(endpoint, timeout=5)
    except Exception as error:  # noqa: BLE001 - the client's errors depend on its version; each is the finding
        reason = _first_line(error)
        if "CERTIFICATE" in reason.upper():
            remedy = "Let SSL_CERT_FILE name the certificates of your network."
        yield Check("Network", "hub", "broken", f"{endpoint} cannot be used: {reason}", remedy, facts)
        return
    seconds = time.perf_counter() - begin
    facts |= {"status": answer.status_code, "seconds": round(seconds, 3)}
    if answer.status_code >= 500:
        detail = f"{endpoint} answers with the error {answer.status_code}"
        yield Check("Network", "hub", "broken", detail, "Try again later; " + remedy[0].lower() + remedy[1:], facts)
    else:
        yield Check("Network", "hub", "ok", f"{endpoint} answers in {seconds:.1f} s", facts=facts)
