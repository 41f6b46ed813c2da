"""ONNX Runtime: by its providers it reaches DirectML (any GPU of Windows) and CoreML (a Mac's), beside CPU and CUDA."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from restorer.engine.exported import ExportedEngine
from restorer.models.base import Precision
from restorer.models.exporter.difference import Run

PROVIDERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "cuda": ("CUDAExecutionProvider", {"use_tf32": 0}),
    "directml": ("DmlExecutionProvider", {}),
    "coreml": ("CoreMLExecutionProvider", {"ModelFormat": "MLProgram", "MLComputeUnits": "CPUAndGPU"}),
    "cpu": ("CPUExecutionProvider", {}),
}
"""By unit, in the order in which they are tried, each with its settings: fp32 is to be fp32."""


class OnnxRuntimeEngine(ExportedEngine):
    """Runs exported files by ONNX Runtime, in fp32."""

    name = "onnxruntime"

    def version(self) -> str:
        """Return the version of the library."""
        import onnxruntime

        return str(onnxruntime.__version__)

    def units(self) -> Sequence[str]:
        """Return the units whose provider this build of ONNX Runtime has; the processor is the last."""
        import onnxruntime

        here = set(onnxruntime.get_available_providers())
        return [unit for unit, (provider, _) in PROVIDERS.items() if provider in here]

    def describe(self, unit: str) -> str:
        """Return the provider, the system and the processor; nobody tells the name of a GPU."""
        from restorer.engine.hardware import processor

        return f"{PROVIDERS[unit][0]} on {platform.system()} {platform.machine()}, {processor()}"

    def precision(self, unit: str, wanted: Precision, bears: Sequence[Precision]) -> Precision | None:
        """Return fp32: it casts a file of fp32 to nothing else."""
        return "fp32"

    def open(self, model: Path, unit: str, precision: Precision, count: int, *, spinning: bool = False) -> Run:
        """Return what runs a file.

        Args:
            model: the ONNX file.
            unit: where.
            precision: fp32.
            count: of threads.
            spinning: let threads that wait keep their cores, as the library does where nobody says anything.

        Raises:
            RuntimeError: the provider did not start, so that the processor would compute in its place.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = count, 1, 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
        if unit == "directml":  # as its documentation asks
            options.enable_mem_pattern = False
        provider, settings = PROVIDERS[unit]
        session = onnxruntime.InferenceSession(str(model), options, providers=[(provider, dict(settings))])
        if session.get_providers()[0] != provider:
            raise RuntimeError(f"{provider} did not start")
        names = [each.name for each in session.get_inputs()]
        return lambda inputs: session.run(None, dict(zip(names, inputs, strict=True)))


ENGINE = OnnxRuntimeEngine()
