"""The degradations that `restore evaluate` knows by name, and those of recipes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from restorer.errors import UsageError
from restorer.evaluation.degrading import NAMED, degradation_of
from restorer.imaging.sheets import Picture

SIDE = 128


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    """Twelve pictures with edges and soft parts."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    found = []
    for _ in range(12):
        waves = sum(np.sin((a * x + b * y) / SIDE * 6.3 + c) for a, b, c in rng.uniform(-4, 4, (5, 3)))
        edges = 60.0 * (np.hypot(x - rng.uniform(30, 90), y - rng.uniform(30, 90)) < 30)
        layers = [np.clip(110 + 18 * waves + edges + shift, 0, 255) for shift in rng.uniform(-30, 30, 3)]
        found.append(np.stack(layers, 2).astype(np.uint8))
    return found


def error(name: str, pictures: list[Picture]) -> float:
    """Return the mean absolute difference that a degradation makes, levels."""
    _, degrade = degradation_of(name, SIDE)
    pairs = [degrade(picture, np.random.default_rng([0, index])) for index, picture in enumerate(pictures)]
    assert all(pair.picture.shape == pair.truth.shape == pair.bicubic.shape == (SIDE, SIDE, 3) for pair in pairs)
    return float(np.mean([np.abs(pair.picture.astype(int) - pair.truth).mean() for pair in pairs]))


def test_none_is_the_truth_and_the_others_grow_worse(pictures: list[Picture]) -> None:
    errors = {name: error(name, pictures) for name in NAMED}
    assert errors["none"] == 0
    assert 0 < errors["mild"] < errors["gfpgan"] < errors["strong"]
    assert errors["print"] > errors["mild"]


@pytest.mark.parametrize("name", NAMED)
def test_the_seed_decides(name: str, pictures: list[Picture]) -> None:
    _, degrade = degradation_of(name, SIDE)
    first, again, other = (degrade(pictures[0], np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first.picture, again.picture)
    assert np.array_equal(first.truth, again.truth)
    assert name == "none" or not np.array_equal(first.picture, other.picture)


def test_a_recipe_s_own_degradation_counts(tmp_path: Path, pictures: list[Picture]) -> None:
    mixed, plain, wrong = (tmp_path / f"{name}.toml" for name in ("mixed", "plain", "wrong"))
    head = 'recipe = "faceunet"\nname = "{}"\n[degradation]\n'
    mixed.write_text(head.format("mixed") + "clean = 1.0\nformula = 0.0\ngrey = 0.0\n", encoding="utf-8")
    plain.write_text(head.format("plain") + "noise = [40.0, 40.0]\n", encoding="utf-8")
    wrong.write_text(head.format("wrong") + "clean = 0.5\nsigma = [1.0, 2.0]\n", encoding="utf-8")
    assert degradation_of(mixed, SIDE)[0] == "mixed"
    assert error(str(mixed), pictures) == 0
    assert error(str(plain), pictures) > error("gfpgan", pictures)
    with pytest.raises(UsageError, match="sigma"):
        degradation_of(wrong, SIDE)
    with pytest.raises(UsageError):
        degradation_of("no-such-thing", SIDE)
