"""How a run over photos looks: progress while it works, a line or a record for each photo, a summary at the end."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from restorer.batch import Batch, Job, Summary, find_photos
from restorer.cli.console import duration, messages, results
from restorer.errors import RestorerError, UsageError
from restorer.photo import check_output_size, output_format, read_photo

if TYPE_CHECKING:
    from restorer.pipeline import OnStage, Restorer
    from restorer.record import Record

STAGES = {"detect": (0.0, 0.1), "background": (0.1, 0.4), "restore": (0.4, 0.95), "write": (0.95, 1.0)}
"""Which part of a photo's bar each stage moves."""
WORDS = {
    "detect": "looking for faces",
    "background": "enlarging the picture",
    "restore": "restoring faces",
    "write": "writing",
}


class Run:
    """One call of the command.

    Args:
        restorer: what restores the photos.
        json_lines: print one record a photo on stdout.
        quiet: print errors only.
        verbose: print timings and each face.
    """

    def __init__(self, restorer: Restorer, *, json_lines: bool, quiet: bool, verbose: bool) -> None:
        self._restorer = restorer
        self._json = json_lines
        self._quiet = quiet
        self._verbose = verbose

    def files(self, photos: list[str], out: Path | None, *, name: str, overwrite: bool, dry_run: bool) -> int:
        """Restore files and folders; return the exit code."""
        jobs = find_photos(photos, out)
        batch = Batch(self._restorer, name=name, overwrite=overwrite, dry_run=dry_run)
        with self._progress(len(jobs)) as progress:
            summary = batch.run(jobs, on_start=progress, on_record=self._show)
        if not jobs and not self._quiet:
            messages.print("No photos were found.")
        elif len(jobs) > 1 and not self._quiet:
            self._summarise(summary)
        return 1 if summary.failed else 0

    def stream(self, out: Path | None) -> int:
        """Restore one photo from stdin to stdout, or to a file; return the exit code."""
        data = sys.stdin.buffer.read()
        if self._json and out is None:
            raise UsageError("--json prints records where the picture would go.", "Name a file with -o.")
        record = self._restorer.new_record("-")
        try:
            photo = read_photo(data)
            format = output_format(photo.format, self._restorer.options.format, out.suffix if out else None)
            check_output_size(format, *self._restorer.output_size(photo.size), None)
            buffer = io.BytesIO()
            record = self._restorer.restore_file(data, out or buffer, format, photo=photo)
            if out is None and record.status == "ok":
                sys.stdout.buffer.write(buffer.getvalue())
                sys.stdout.buffer.flush()
        except RestorerError as error:
            if error.exit_code != 1:
                raise
            record.fail(error)
        self._show(record)
        return 1 if record.status == "failed" else 0

    # ---------------------------------------------------------------------------------------------------- what is seen

    @contextmanager
    def _progress(self, count: int) -> Iterator[_Starter]:
        """Show photo, stage, how far it is and the time left, while stderr is a terminal."""
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn() if count > 1 else TextColumn(""),
            TimeRemainingColumn(elapsed_when_finished=True),
        )
        progress = Progress(*columns, console=messages, transient=True, disable=self._quiet or not messages.is_terminal)
        with progress:
            yield _Starter(progress, count)

    def _show(self, record: Record) -> None:
        """Print what became of one photo."""
        if self._json:
            print(json.dumps(record.as_dict(), ensure_ascii=False), flush=True)
        if record.status == "failed" and record.error:
            messages.print(f"[bold red]Failed:[/] {escape(str(record.error['message']))}")
            if record.error["remedy"]:
                messages.print(f"  {escape(str(record.error['remedy']))}")
        if self._quiet:
            return
        for warning in record.warnings:
            messages.print(f"[yellow]Note:[/] {escape(record.input)}: {escape(warning)}")
        if self._json or record.status == "failed" or record.output in (None, "-"):
            return
        results.print(escape(_line(record)))
        if self._verbose:
            stages = ", ".join(f"{stage} {duration(seconds)}" for stage, seconds in record.seconds.items())
            messages.print(escape(f"  {stages}; {record.device}, {record.precision}"))
            for number, face in enumerate(record.faces, 1):
                what = "restored" if face.restored else face.reason
                box = ", ".join(f"{value:.0f}" for value in face.box)
                messages.print(escape(f"  face {number} at {box}, score {face.score:.2f}: {what}"))

    def _summarise(self, summary: Summary) -> None:
        ok, skipped, failed = (summary.count(status) for status in ("ok", "skipped", "failed"))
        faces = sum(face.restored for record in summary.records for face in record.faces)
        parts = [f"{_plural(ok, 'photo')} restored ({_plural(faces, 'face')})"]
        if skipped:
            parts.append(f"{skipped} skipped")
        if failed:
            parts.append(f"[bold red]{failed} failed[/]")
        messages.print(f"{', '.join(parts)}, in {duration(summary.seconds)}.")
        for record in summary.failed:
            kind = record.error["kind"] if record.error else ""
            messages.print(f"  {escape(record.input)}: {kind}")


class _Starter:
    """Starts the bar of each photo; the whole run is one bar, so that its estimate covers all photos."""

    def __init__(self, progress: Progress, count: int) -> None:
        self._progress = progress
        self._task = progress.add_task("Starting", total=count)
        self._done = -1

    def __call__(self, job: Job) -> OnStage:
        self._done += 1
        name = job.source.name

        def on_stage(stage: str, share: float) -> None:
            begin, end = STAGES[stage]
            done = self._done + begin + (end - begin) * share
            self._progress.update(self._task, completed=done, description=f"{name}: {WORDS[stage]}")

        self._progress.update(self._task, completed=self._done, description=f"{name}: reading")
        return on_stage


def _line(record: Record) -> str:
    """Return the one line about a photo that went well."""
    size = f"{record.output_size[0]} x {record.output_size[1]}" if record.output_size else ""
    if record.status == "skipped":
        what = "would be written" if record.reason == "dry run" else str(record.reason)
        return f"{record.output}  ({size}, {what})"
    restored = sum(face.restored for face in record.faces)
    left = len(record.faces) - restored
    details = [size]
    if record.model != "none":
        details.append(
            f"{_plural(restored, 'face')} by {record.model}" + (f", {left} left as they were" if left else "")
        )
    details += [str(record.background), duration(record.seconds.get("total", 0.0))]
    return f"{record.output}  ({'; '.join(details)})"


def _plural(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
