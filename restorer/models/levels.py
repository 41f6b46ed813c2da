"""What the shapes of a small U-Net's checkpoint tell of its levels."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from restorer.models.base import Shapes


def levels(shapes: Shapes) -> tuple[list[int], list[int]]:
    """Return the widths of the levels and their numbers of residual blocks; empty where there are none."""
    found: dict[int, tuple[int, int]] = {}
    for key, shape in shapes.items():
        parts = key.split(".")
        if parts[0] == "down" and parts[-2:] == ["first", "weight"]:
            found[int(parts[1])] = (shape[0], max(found.get(int(parts[1]), (0, 0))[1], int(parts[2]) + 1))
    ordered = [found[level] for level in sorted(found)]
    return [width for width, _ in ordered], [count for _, count in ordered]
