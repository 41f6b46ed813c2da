"""Pictures of a training: sample sheets and the plot of its losses."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from restorer.training.datasets import Picture

_COLORS = ("#1f77b4", "#d62728", "#2ca02c", "#ff7f0e", "#9467bd", "#8c564b", "#e377c2", "#17becf")


def sheet(rows: Sequence[Sequence[Picture]], labels: Sequence[str] = ()) -> Image.Image:
    """Return pictures of one size as a table: one list of pictures a row, `labels` above the columns."""
    side = rows[0][0].shape[0]
    head = 16 if labels else 0
    result = Image.new("RGB", (side * max(len(row) for row in rows), head + side * len(rows)), "white")
    draw = ImageDraw.Draw(result)
    for column, label in enumerate(labels):
        draw.text((column * side + 4, 2), label, fill="black")
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            result.paste(Image.fromarray(picture), (x * side, head + y * side))
    return result


def grid(pictures: Sequence[Picture], columns: int | None = None) -> Image.Image:
    """Return pictures of one size side by side, as square a table as their number allows."""
    columns = columns or math.ceil(math.sqrt(len(pictures)))
    return sheet([pictures[start : start + columns] for start in range(0, len(pictures), columns)])


def save_picture(image: Image.Image, path: Path, quality: int = 92) -> None:
    """Write a picture beside its place and move it there, so that a viewer never opens half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    image.save(partial, format="JPEG" if path.suffix == ".jpg" else "PNG", quality=quality)
    partial.replace(path)


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
