"""What the measurements share: running a command with its clock and memory, stand-in weights, simple plots."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

COLOURS = ("#3b6fb6", "#c8553d", "#5b8c5a", "#8d6a9f", "#d9a441", "#6b7a8f", "#b36a5e", "#4aa3a2", "#777777")


_LAUNCHER = """
import json, os, sys, time
begin = time.perf_counter()
process = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(process, 0)
with open(sys.argv[1], "w") as told:
    json.dump([time.perf_counter() - begin, usage.ru_utime + usage.ru_stime, usage.ru_maxrss], told)
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""A program that runs a command and writes down its wall and processor seconds, and its peak."""


@dataclass(frozen=True)
class Finished:
    """One command that ran to its end: wall and processor seconds, peak of its resident memory, what it printed."""

    seconds: float
    processor_seconds: float
    peak_mib: float
    stdout: str


def run(
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    folder: str | Path | None = None,
    *,
    accepted: Collection[int] = (0,),
) -> Finished:
    """Run a command, from the start of its process to the end, in a folder; None = in this process's own.

    Raises:
        SystemExit: it ended with a code that is not accepted; its last words are in the message.
    """
    # A process begins with the peak of the one that started it: a small one between keeps ours out of the figures.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.NamedTemporaryFile() as told:
        between = [sys.executable, "-I", "-S", "-c", _LAUNCHER, told.name, *command]
        own = {**os.environ, **(environment or {})}
        code = subprocess.run(between, stdout=out, stderr=err, env=own, cwd=folder).returncode
        out.seek(0)
        err.seek(0)
        if code not in accepted:
            last = err.read().decode(errors="replace")[-2000:] or out.read().decode(errors="replace")[-2000:]
            raise SystemExit(f"{' '.join(command)}\nfailed with code {code}:\n{last}")
        seconds, processor, peak = json.loads(told.read())
        unit = 1024 if sys.platform != "darwin" else 1024 * 1024  # of ru_maxrss: KiB, on macOS bytes
        return Finished(seconds, processor, peak / unit, out.read().decode())


def restore(
    photos: Sequence[Path], out: Path, environment: Mapping[str, str], *options: str, accepted: Collection[int] = (0,)
) -> Finished:
    """Run the `restore` command on photos; its records are on its stdout as JSON lines."""
    command = [
        sys.executable,
        "-m",
        "restorer",
        *map(str, photos),
        "-o",
        str(out),
        "--json",
        "--overwrite",
        "--offline",
    ]
    return run([*command, *options], environment, accepted=accepted)


def records(finished: Finished) -> list[dict[str, object]]:
    """Return the records that a `restore --json` printed."""
    return [json.loads(line) for line in finished.stdout.splitlines() if line.startswith("{")]


class Weights:
    """The weight files of a measurement: real ones where they are at hand, else stand-ins, whose values mean nothing.

    Speed and memory do not depend on the values; what the pictures look like does.

    Args:
        given: files by table name.
        folder: for stand-ins and the weights.toml that names all of them.
    """

    def __init__(self, given: Mapping[str, Path], folder: Path) -> None:
        self.files = {name: path.resolve() for name, path in given.items()}
        self.stand_ins: list[str] = []
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def find(self, name: str) -> bool:
        """Look for a table's real weights among the given files and in the cache; never reach for the network."""
        from restorer.errors import WeightsUnavailableError
        from restorer.weights import fetch, resolve

        if name not in self.files:
            try:
                self.files[name] = fetch(resolve(name), offline=True)
            except WeightsUnavailableError:
                return False
        return True

    def add_stand_in(self, name: str, path: Path) -> None:
        """Take a file for a table whose real weights are not at hand."""
        self.files[name] = path
        self.stand_ins.append(name)

    def make(self, name: str) -> None:
        """Make a stand-in of the table's own architecture."""
        import torch

        from restorer.models import REGISTRY
        from restorer.weights import FileHeader, resolve, write

        table = resolve(name)
        architecture = REGISTRY.architecture_of(table)
        arguments = REGISTRY.arguments(table)
        torch.manual_seed(0)
        path = self._folder / f"{name}.safetensors"
        about = FileHeader(architecture.name, arguments, "", trained_for="measuring speed: its values mean nothing")
        write(filled(architecture.build(arguments)).state_dict(), path, about)
        self.add_stand_in(name, path)

    def environment(self) -> dict[str, str]:
        """Write the weights.toml that names the files, let each be verified once, and return the variable for it."""
        from restorer.weights import fetch, resolve

        text = []
        for name, path in self.files.items():
            table = resolve(name)
            arguments = ", ".join(f"{key} = {json.dumps(value)}" for key, value in table.arguments.items())
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            text.append(
                f'["{name}"]\narchitecture = "{table.architecture}"\narguments = {{ {arguments} }}\n'
                f'sources = [{json.dumps(f"file:{path}")}]\nsha256 = "{digest}"\n'
            )
        listing = self._folder / "weights.toml"
        listing.write_text("\n".join(text))
        os.environ["RESTORER_WEIGHTS"] = str(listing)  # also for this process
        for name in self.files:
            fetch(resolve(name), offline=True)  # a second run of a user has verified them too
        return {"RESTORER_WEIGHTS": str(listing)}


def filled(network: torch.nn.Module) -> torch.nn.Module:
    """Give a network random weights of a size that keeps features of about the same size from layer to layer."""
    import torch

    for parameter in network.parameters():
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 100
        torch.nn.init.normal_(parameter, std=fan_in**-0.5)
    return network.eval()


def keep(path: Path | None, report: object) -> None:
    """Write what is known by now, whole, where it is wanted."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        other = path.with_name(path.name + ".part")
        other.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        other.replace(path)


def bars(path: Path, title: str, unit: str, rows: Mapping[str, Mapping[str, float]]) -> None:
    """Write stacked bars as an SVG picture: rows by label, each the lengths of its parts by name."""
    names = list(dict.fromkeys(name for parts in rows.values() for name in parts))
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}
    longest = max(sum(parts.values()) for parts in rows.values()) or 1.0
    left, width, step = 260, 560, 30
    lines = [f'<text x="10" y="22" font-size="15">{escape(title)}</text>']
    for i, (label, parts) in enumerate(rows.items()):
        x, y = float(left), 40 + i * step
        lines.append(f'<text x="10" y="{y + 15}" font-size="12">{escape(label)}</text>')
        for name, value in parts.items():
            length = value / longest * width
            tip = f"<title>{escape(name)}: {value:.2f} {unit}</title>"
            lines.append(
                f'<rect x="{x:.1f}" y="{y}" width="{length:.1f}" height="20" fill="{colours[name]}">{tip}</rect>'
            )
            x += length
        lines.append(f'<text x="{x + 6:.1f}" y="{y + 15}" font-size="12">{sum(parts.values()):.1f} {unit}</text>')
    y = 50 + len(rows) * step
    for i, name in enumerate(names):
        at = 10 + i % 6 * 150, y + i // 6 * 20
        lines.append(f'<rect x="{at[0]}" y="{at[1]}" width="12" height="12" fill="{colours[name]}"/>')
        lines.append(f'<text x="{at[0] + 18}" y="{at[1] + 11}" font-size="12">{escape(name)}</text>')
    _svg(path, 920, y + 20 * (1 + (len(names) - 1) // 6) + 10, lines)


def curve(path: Path, title: str, x_name: str, y_name: str, points: Sequence[tuple[float, float]]) -> None:
    """Write a curve through points as an SVG picture, both axes from zero."""
    right, top = max(x for x, _ in points) or 1.0, max(y for _, y in points) or 1.0
    placed = [(60 + x / right * 480, 300 - y / top * 240) for x, y in points]
    lines = [
        f'<text x="10" y="22" font-size="15">{escape(title)}</text>',
        '<path d="M60 50V300H560" fill="none" stroke="#999"/>',
        f'<text x="300" y="335" font-size="12">{escape(x_name)}</text>',
        f'<text x="10" y="42" font-size="12">{escape(y_name)}</text>',
        f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in placed)}" fill="none" stroke="{COLOURS[0]}"/>',
    ]
    for (x, y), (value_x, value_y) in zip(placed, points, strict=True):
        lines.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{COLOURS[0]}"/>')
        lines.append(f'<text x="{x - 12:.1f}" y="{y - 8:.1f}" font-size="11">{value_y:.1f}</text>')
        lines.append(f'<text x="{x - 8:.1f}" y="316" font-size="11">{value_x:g}</text>')
    _svg(path, 620, 350, lines)


def _svg(path: Path, width: int, height: int, lines: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">'
    paper = f'<rect width="{width}" height="{height}" fill="white"/>'
    path.write_text("\n".join([head, paper, *lines, "</svg>", ""]), encoding="utf-8")


def weight_file(text: str) -> tuple[str, Path]:
    """Read NAME=FILE of a command line."""
    name, _, file = text.partition("=")
    if not file or not Path(file).is_file():
        raise ValueError(f"{text!r} is not NAME=FILE with a file that is there")
    return name, Path(file)
