"""Writing a network as an ONNX file, which is kept only where ONNX Runtime computes from it what torch does.

The network is traced as it is while gradients are kept: then nothing is written in place into a part of something else,
and no kernel is used that only torch has. What torch's exporter makes of a network in that form is the same function
(`tests/models/test_exporter.py`); in the form that a run uses, its short cuts for speed were lost on the way.
"""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restorer.errors import ExportError, MissingPackageError, UsageError
from restorer.models.base import (
    Architecture,
    DetectorArchitecture,
    FaceArchitecture,
    LoadedNetwork,
    ParserArchitecture,
    RecogniserArchitecture,
    UpscalerArchitecture,
)
from restorer.models.exporter.difference import Difference, Run, apart
from restorer.storage.atomic import write_whole

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
OPSET = 18
"""The version of ONNX's operators that files are written in."""
TOLERANCE = 1e-3
"""Largest difference between ONNX Runtime and torch, in deviations of torch's output, with which a file is kept."""
SEEDS = (0, 1, 2)
"""Of the inputs by which a file is checked; with each, a control has another value."""
CONTROLS: Mapping[str, Sequence[float]] = {"fidelity": (0.5, 0.0, 1.0)}
"""Controls that become inputs, with the values that they are checked with; the first is that of the trace."""
SIDES: Mapping[type[Architecture], int] = {UpscalerArchitecture: 256, DetectorArchitecture: 640}
"""Sides of the pictures of networks that take any."""
LARGEST = (1 << 31) - 1
"""Bytes of a file in ONNX's own format, which counts them in 32 bits."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: the file.
        inputs: shapes by name; a control has none.
        outputs: likewise.
        difference: the largest between ONNX Runtime and torch, in deviations of torch's output.
        size: bytes.
    """

    path: Path
    inputs: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, tuple[int, ...]]
    difference: float
    size: int


def export(loaded: LoadedNetwork, target: Path, *, side: int | None = None, overwrite: bool = False) -> Exported:
    """Write a network as an ONNX file with fixed sizes and a batch of one.

    Its inputs are RGB in [-1, 1], and each control of the network as a number of its own; its outputs are the
    network's. An upscaler enlarges by its largest factor. The file's metadata say which table it was made from.

    Args:
        loaded: the network, on the CPU in fp32.
        target: the file.
        side: of the pictures, for a network that takes any; None = `SIDES`.
        overwrite: replace a file that is there.

    Raises:
        MissingPackageError: a package that writes or runs ONNX is not installed.
        ExportError: the network cannot be written, or ONNX Runtime computes something else from the file, which is not
            kept then.
        UsageError: a side for a network of one size.
        OutputExistsError, UnwritableOutputError: as `write_whole`.
    """
    check_packages()
    draft = Draft.of(loaded, side)
    difference = draft.compared(_in_onnxruntime(draft.data))
    if not difference.largest <= TOLERANCE:
        raise ExportError(
            f"ONNX Runtime computes something else than torch from that file: {difference.largest:.2g} of the "
            f"deviation, where {TOLERANCE:g} is allowed. It was not kept."
        )
    write_whole(target, draft.data, replace=overwrite)
    inputs = {name: tuple(value.shape) for name, value in draft.traced.example(0).items()}
    return Exported(target, inputs, draft.outputs, difference.largest, len(draft.data))


def check_packages(packages: Sequence[str] | None = None, extra: str = "onnxruntime") -> None:
    """Raise `MissingPackageError` where a package is not installed that writes or runs ONNX.

    Args:
        packages: their modules; None = `PACKAGES`.
        extra: of this distribution, which brings them.
    """
    from importlib.util import find_spec

    missing = [name for name in packages or PACKAGES if find_spec(name) is None]
    if missing:
        raise MissingPackageError(
            missing[0],
            f"Writing and checking ONNX files needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} "
            "not installed.",
            f'Type: pip install "restorer[{extra}]"',
        )


def shape_of(architecture: Architecture, arguments: Mapping[str, Any], side: int | None) -> tuple[int, ...]:
    """Return the shape of the pictures that a network takes, one of them.

    Raises:
        ExportError: it is no network that takes pictures, or one that no file can hold.
        UsageError: a side for a network of one size.
    """
    fixed: tuple[int, ...] | None = None
    if architecture.unexportable is not None:
        raise ExportError(f"{architecture.name} cannot be written as ONNX: {architecture.unexportable}.")
    if isinstance(architecture, FaceArchitecture):
        fixed = (1, 3, *[architecture.crop(arguments).input_size] * 2)
    elif isinstance(architecture, ParserArchitecture):
        fixed = (1, 3, 512, 512)
    elif isinstance(architecture, RecogniserArchitecture):
        fixed = (1, 3, 112, 96)
    if fixed is not None and side is not None:
        raise UsageError(f"--side is for networks that take any size; {architecture.name} takes {fixed[-1]}.")
    if fixed is not None:
        return fixed
    for kind, usual in SIDES.items():
        if isinstance(architecture, kind):
            return (1, 3, side or usual, side or usual)
    raise ExportError(f"{architecture.name} cannot be written as ONNX: no picture goes into it.")


@dataclass(frozen=True)
class Traced:
    """A network with the shapes and controls that it is traced with."""

    network: nn.Module
    shape: tuple[int, ...]
    controls: tuple[str, ...] = ()

    @classmethod
    def of(cls, loaded: LoadedNetwork, side: int | None) -> Traced:
        architecture = loaded.architecture
        shape = shape_of(architecture, loaded.arguments, side)
        controls: tuple[str, ...] = ()
        if isinstance(architecture, FaceArchitecture):
            controls = tuple(name for name in architecture.controls if name in CONTROLS)
        fixed = {}
        if isinstance(architecture, UpscalerArchitecture):
            fixed["factor"] = architecture.factors(loaded.arguments)[-1]
        return cls(_called(loaded.network, controls, fixed), shape, controls)

    def example(self, seed: int) -> dict[str, torch.Tensor]:
        """Return inputs by name: smooth pictures with some noise, and a value of each control."""
        import torch
        from torch.nn import functional as F

        generator = torch.Generator().manual_seed(seed)
        coarse = torch.rand(1, 3, 8, 8, generator=generator) * 2 - 1
        noise = torch.randn(self.shape, generator=generator) * 0.05
        picture = F.interpolate(coarse, self.shape[2:], mode="bicubic", align_corners=False) + noise
        values = {name: torch.tensor(CONTROLS[name][seed % len(CONTROLS[name])]) for name in self.controls}
        return {"pictures": picture.clamp(-1, 1), **values}

    def run(self, inputs: Mapping[str, torch.Tensor]) -> list[np.ndarray]:
        """Return what torch makes of inputs, in the form that a run uses."""
        import torch

        with torch.inference_mode():
            found = self.network(*inputs.values())
        return [each.numpy() for each in (found if isinstance(found, (tuple, list)) else (found,))]

    def answers(self) -> list[list[np.ndarray]]:
        """Return what torch makes of the input of each of `SEEDS`."""
        return [self.run(self.example(seed)) for seed in SEEDS]


def _called(network: nn.Module, controls: tuple[str, ...], fixed: Mapping[str, Any]) -> nn.Module:
    """Return a network that takes its controls by position, and other arguments always as they are given here."""
    if not controls and not fixed:
        return network
    from torch import nn

    class Called(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, pictures: torch.Tensor, *values: torch.Tensor) -> Any:
            return self.network(pictures, **dict(zip(controls, values, strict=True)), **fixed)

    return Called().eval()


def _output_names(count: int) -> list[str]:
    return ["output"] if count == 1 else [f"output_{number}" for number in range(count)]


def _written(traced: Traced, loaded: LoadedNetwork, outputs: int) -> bytes:
    """Return the ONNX file of a network with so many outputs."""
    import torch

    getattr(torch._meta_registrations, "aten", None)  # a run of the command may have left that for later
    inputs, log = traced.example(0), io.StringIO()
    loud = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [each.level for each in loud]
    try:
        for each in loud:
            each.setLevel(logging.ERROR)
        with warnings.catch_warnings(), redirect_stdout(log), redirect_stderr(log), torch.enable_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                traced.network, tuple(inputs.values()), dynamo=True, opset_version=OPSET,
                input_names=list(inputs), output_names=_output_names(outputs), verbose=False,
            )  # fmt: skip
    except Exception as error:  # the exporter raises nearly every class; the reason goes into the message
        cause = error.__cause__ or error  # torch wraps it in advice for its developers
        reason = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
        raise ExportError(f"{loaded.table.name} cannot be written as ONNX: {reason}") from error
    finally:
        for each, level in zip(loud, levels, strict=True):
            each.setLevel(level)
    assert program is not None
    model = program.model_proto
    described = {
        "name": loaded.table.name,
        "architecture": loaded.architecture.name,
        "arguments": json.dumps(dict(loaded.arguments), sort_keys=True),
        "sha256": loaded.table.wanted_hash,
        "license": loaded.table.license or "",
        "values": "RGB in [-1, 1]",
    }
    for key, value in described.items():
        model.metadata_props.add(key=f"restorer.{key}", value=value)
    if model.ByteSize() > LARGEST:
        raise ExportError(f"{loaded.table.name} is too large for an ONNX file of one piece (2 GB).")
    return bytes(model.SerializeToString())


@dataclass(frozen=True)
class Draft:
    """A network as an ONNX file that nobody has compared with torch yet.

    Attributes:
        traced: what was traced.
        data: the file.
        wanted: what torch makes of the input of each of `SEEDS`.
    """

    traced: Traced
    data: bytes
    wanted: Sequence[Sequence[np.ndarray]]

    @classmethod
    def of(cls, loaded: LoadedNetwork, side: int | None = None) -> Draft:
        """Trace a network on the CPU in fp32.

        Raises:
            ExportError: it cannot be written.
            UsageError: a side for a network of one size.
        """
        traced = Traced.of(loaded, side)
        # Before the trace, in which what a network keeps between runs (a filter) would be made of no numbers.
        wanted = traced.answers()
        return cls(traced, _written(traced, loaded, len(wanted[0])), wanted)

    @property
    def outputs(self) -> dict[str, tuple[int, ...]]:
        """The outputs' shapes by name."""
        shapes = [tuple(each.shape) for each in self.wanted[0]]
        return dict(zip(_output_names(len(shapes)), shapes, strict=True))

    def compared(self, run: Run) -> Difference:
        """Return the largest difference of what runs the file from torch; see `compared`."""
        return compared(run, self.traced, self.wanted)


def compared(run: Run, traced: Traced, wanted: Sequence[Sequence[np.ndarray]]) -> Difference:
    """Return the largest differences, over the inputs of all `SEEDS`, of what runs an exported network from torch.

    Args:
        run: maps inputs to outputs, both in the file's order.
        traced: what was exported.
        wanted: what torch makes of these inputs (`Traced.answers`).
    """
    found = [
        apart(run([value.numpy() for value in traced.example(seed).values()]), own)
        for seed, own in zip(SEEDS, wanted, strict=True)
    ]
    return Difference(max(each.largest for each in found), max(each.rms for each in found))


def _in_onnxruntime(data: bytes) -> Run:
    """Return what runs a file in ONNX Runtime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    return lambda inputs: session.run(None, dict(zip(names, inputs, strict=True)))
