"""OpenVINO: Intel's processors, and their graphics and neural units, which torch does not know."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from restorer.engine.exported import ExportedEngine
from restorer.models.base import Precision
from restorer.models.exporter.difference import Run
from restorer.storage.folders import cache_folder

_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}


class OpenVinoEngine(ExportedEngine):
    """Runs exported files by OpenVINO."""

    name = "openvino"

    def version(self) -> str:
        """Return the version of the library."""
        import openvino

        return str(openvino.__version__).partition("-")[0]

    def units(self) -> Sequence[str]:
        """Return a graphics unit, then the processor, then a neural unit, of which only half precision is known."""
        here = {name.partition(".")[0].lower() for name in _core().available_devices}
        return [unit for unit in ("gpu", "cpu", "npu") if unit in here]

    def describe(self, unit: str) -> str:
        """Return the full name of a unit."""
        return str(_core().get_property(unit.upper(), "FULL_DEVICE_NAME"))

    def precision(self, unit: str, wanted: Precision, bears: Sequence[Precision]) -> Precision | None:
        """Return in what a unit computes: graphics units have no bf16, neural ones fp16 alone."""
        if unit == "cpu":
            return wanted if wanted == "bf16" and "bf16" in bears else "fp32"
        if unit == "npu" or wanted != "fp32":
            return "fp16" if "fp16" in bears else (None if unit == "npu" else "fp32")
        return "fp32"

    def open(self, model: Path, unit: str, precision: Precision, count: int) -> Run:
        """Return what runs a file; what was compiled for a graphics or neural unit OpenVINO keeps in the cache."""
        settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": _HINTS[precision]}
        if unit == "cpu":
            settings["INFERENCE_NUM_THREADS"] = count
        else:
            settings["CACHE_DIR"] = str(cache_folder() / "engines" / "compiled")
        compiled = _core().compile_model(str(model), unit.upper(), settings)
        request = compiled.create_infer_request()
        # A view of memory that the next run writes into: who keeps outputs of several runs copies them.
        return lambda inputs: [value.copy() for value in request.infer(list(inputs)).values()]


def _core() -> Any:
    import openvino

    return openvino.Core()


ENGINE = OpenVinoEngine()
