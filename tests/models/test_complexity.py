"""LightGLEAN is as light as the paper says, counted as GLEAN is."""

from __future__ import annotations

import pytest

from restorer.bench import __main__ as bench
from restorer.bench.complexity import measure
from restorer.models import REGISTRY
from restorer.models.base import FaceArchitecture

PUBLISHED = {(32, 256): 167.5, (16, 256): 160.6, (64, 1024): 352.6, (128, 1024): 552.7}
"""Thousand million multiplications of GLEAN's official configurations, counted on the reference implementation."""


def model(name: str) -> FaceArchitecture:
    found = REGISTRY[name]
    assert isinstance(found, FaceArchitecture)
    return found


@pytest.mark.parametrize("sizes", sorted(PUBLISHED))
def test_glean_costs_what_the_reference_costs(sizes: tuple[int, int]) -> None:
    """But for what is dropped: the RGB branch, which costs little."""
    counted = measure(model("glean"), in_size=sizes[0], out_size=sizes[1])
    assert 0.995 * PUBLISHED[sizes] < counted.macs / 1e9 < PUBLISHED[sizes]
    assert sum(counted.parts.values()) == counted.macs


def test_lightglean_reaches_both_figures_of_the_paper() -> None:
    glean, light = measure(model("glean")), measure(model("lightglean"))
    assert light.parameters <= 0.21 * glean.parameters
    assert light.macs <= 0.35 * glean.macs
    assert sum(light.parts.values()) == light.macs


def test_the_command_prints_both(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["complexity"]) == 0
    printed = capsys.readouterr().out
    light = next(line for line in printed.splitlines() if line.startswith("lightglean 128 to 1024"))
    shares = [float(word[:-1]) for word in light.split() if word.endswith("%")]
    assert len(shares) == 2
    assert shares[0] <= 21
    assert shares[1] <= 35
    assert bench.main([]) == 2
