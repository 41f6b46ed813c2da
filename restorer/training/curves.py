"""The losses of a training, as a table and as curves."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path

from PIL import Image, ImageDraw
from torch import Tensor

from restorer.storage.atomic import write_atomic
from restorer.storage.pictures import save_picture

_COLORS = ("#1f77b4", "#d62728", "#2ca02c", "#ff7f0e", "#9467bd", "#8c564b", "#e377c2", "#17becf")


class Losses:
    """The CSV of losses: means over `every` steps, cut back to the checkpoint when a run resumes."""

    def __init__(self, path: Path, every: int, done: int) -> None:
        self.path = path
        self.every = every
        self._sums: dict[str, list[float]] = {}
        self._names: list[str] = []
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file)
                rows = [row for row in reader if int(row["step"]) <= done]
                self._names = [name for name in reader.fieldnames or () if name not in ("step", "pictures", "seconds")]
            self._rewrite(rows)

    def add(self, step: int, pictures: int, seconds: float, losses: Mapping[str, Tensor]) -> dict[str, float] | None:
        """Take the losses of a step; return the means when a row was written."""
        for name, value in losses.items():
            self._sums.setdefault(name, []).append(float(value))
        if step % self.every:
            return None
        means = {name: sum(values) / len(values) for name, values in self._sums.items()}
        self._sums = {}
        new = [name for name in means if name not in self._names]
        if new or not self.path.is_file():
            self._names += new
            rows: list[dict[str, str]] = []
            if self.path.is_file():
                with self.path.open(newline="", encoding="utf-8") as file:
                    rows = list(csv.DictReader(file))
            self._rewrite(rows)
        with self.path.open("a", newline="", encoding="utf-8") as file:
            row: list[object] = [step, pictures, f"{seconds:.1f}"]
            csv.writer(file).writerow(row + [f"{means[name]:.6g}" if name in means else "" for name in self._names])
        return means

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, ["step", "pictures", "seconds", *self._names], restval="")
        writer.writeheader()
        writer.writerows(rows)
        write_atomic(self.path, text.getvalue())


def plot_losses(table: Path, path: Path) -> None:
    """Draw every column of a losses.csv over the step, each scaled to its own range, and write it as a PNG.

    A run too short for two rows has no plot.
    """
    if not table.is_file():
        return
    with table.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
        names = [name for name in reader.fieldnames or () if name not in ("step", "pictures", "seconds", "size")]
    curves = {}
    for name in names:
        points = [(int(row["step"]), float(row[name])) for row in rows if row[name]]
        points = [point for point in points if math.isfinite(point[1])]
        if len(points) > 1:
            curves[name] = points
    if not curves:
        return
    width, height, margin = 900, 120, 30
    image = Image.new("RGB", (width, height * len(curves)), "white")
    draw = ImageDraw.Draw(image)
    last = max(points[-1][0] for points in curves.values())
    for row, (name, points) in enumerate(curves.items()):
        low, high = min(y for _, y in points), max(y for _, y in points)
        top, color = row * height, _COLORS[row % len(_COLORS)]
        across = [margin + (width - 2 * margin) * step / max(last, 1) for step, _ in points]
        down = [top + height - 10 - (height - 35) * (y - low) / ((high - low) or 1) for _, y in points]
        draw.line(list(zip(across, down, strict=True)), fill=color, width=2)
        draw.text((margin, top + 4), f"{name}: {points[-1][1]:.4g} (from {low:.4g} to {high:.4g})", fill=color)
    draw.text((width - 140, height * len(curves) - 14), f"step 0 to {last}", fill="black")
    save_picture(image, path)
