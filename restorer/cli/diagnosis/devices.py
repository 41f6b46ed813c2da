"""Does each device compute, and does it compute right?"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from restorer.cli.diagnosis.base import Check, Examination, first_line
from restorer.errors import RestorerError

PRECISIONS: tuple[Literal["fp32", "bf16"], ...] = ("fp32", "bf16")
TOLERANCE = {"fp32": 1e-3, "bf16": 0.05}
"""How far the result of a device may be from the CPU's in float64; its values are about 1."""


class Devices(Examination):
    """Lets each device compute something small."""

    group = "Devices"

    def look(self) -> Iterator[Check]:
        """Yield each device, the threads, and a GPU that is not used."""
        from restorer.engine.device import allowed_cores, choose

        try:
            import torch
        except Exception as error:  # noqa: BLE001 - said with the versions already
            yield self.found("torch", "broken", f"no device: {first_line(error)}", "Repair torch first.")
            return
        automatic = choose()
        names = ["cpu"]
        if torch.cuda.is_available():
            names += [f"cuda:{number}" for number in range(torch.cuda.device_count())]
        if torch.backends.mps.is_available():
            names.append("mps")
        for name in names:
            yield self.device(name, automatic.name)
        cores, allowed = os.cpu_count() or 1, allowed_cores()
        limit = "" if allowed == cores else ", as affinity or a container's quota allow"
        detail = f"{allowed} of {cores} cores{limit}"
        yield self.found("threads", "ok", detail, facts={"allowed": allowed, "cores": cores})
        yield from self.unused_gpu(torch.cuda.is_available(), torch.version.cuda)

    def device(self, name: str, automatic: str) -> Check:
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
            for precision in PRECISIONS:
                error, seconds = compute(name, precision)
                facts[precision] = {"error": error, "seconds": round(seconds, 4)}
                if not error <= TOLERANCE[precision]:
                    detail = f"computes wrongly in {precision}: off by {error:.2g} where 1 is usual"
                    here = f"(here: {torch.__version__})"
                    remedy = f"Leave it out with --device, use --precision fp32, or update torch {here}."
                    return self.found(name, "broken", detail, remedy, facts)
            facts["precision"] = choose(name).precision
            facts["bf16_in_hardware"] = facts["precision"] == "bf16"
        except (RuntimeError, RestorerError) as error:  # torch raises RuntimeError for all that a device cannot
            remedy = f"Use --device cpu, or update the driver or torch (here: {torch.__version__})."
            return self.found(name, "broken", f"does not compute: {first_line(error)}", remedy, facts)
        words.append("computes in fp32 and bf16")
        words.append(f"runs use {facts['precision']}" + ("" if facts["bf16_in_hardware"] else " (bf16 is emulated)"))
        if name == automatic:
            words.append("--device auto takes it")
        return self.found(name, "ok", "; ".join(words), facts=facts)

    def unused_gpu(self, used: bool, built_for: str | None) -> Iterator[Check]:
        """Notice an NVIDIA GPU that torch does not use, which else shows only in how long a run takes."""
        if used or not (Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi")):
            return
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        if hidden is not None and hidden.strip() in ("", "-1"):
            detail = f"CUDA_VISIBLE_DEVICES={hidden} hides the NVIDIA GPU"
            yield self.found("gpu", "note", detail, "Unset CUDA_VISIBLE_DEVICES to use it.")
        elif built_for is None:
            detail = "an NVIDIA driver is here, but this torch was built without CUDA; runs use the CPU"
            remedy = "Install a torch with CUDA: https://pytorch.org/get-started/locally/"
            yield self.found("gpu", "broken", detail, remedy)
        else:
            detail = f"an NVIDIA driver is here, but torch (for CUDA {built_for}) finds no GPU; runs use the CPU"
            yield self.found("gpu", "broken", detail, "Look what `nvidia-smi` says; a newer driver may be needed.")


def compute(name: str, precision: Literal["fp32", "bf16"]) -> tuple[float, float]:
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
