"""The plot of a training's losses."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from PIL import Image, ImageDraw

from restorer.storage.pictures import save_picture

_COLORS = ("#1f77b4", "#d62728", "#2ca02c", "#ff7f0e", "#9467bd", "#8c564b", "#e377c2", "#17becf")


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
