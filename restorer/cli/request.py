"""What `restore PHOTO` takes beside the choices of a photo: which files, and how much is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from restorer import formatting
from restorer.cli.paths import out_path
from restorer.options import FILES, RUN, Options, declared, option


@dataclass(frozen=True)
class PhotosRequest:
    """Which photos of those that were named are restored, and where the results go.

    `photos` are files, folders and globs, "-" is stdin; `overwrite`, `dry_run`, `resume` and `retry_failed` are those
    of `restorer.batch.run.Batch`.
    """

    photos: Sequence[str] = ()
    out: Path | None = option(
        None,
        help="A picture file (for one photo) or a folder; default: beside each photo.",
        panel=FILES,
        flags=("-o", "--out"),
        metavar="PATH",
        parse=out_path,
    )
    name: str = option("{stem}_restored", help="Name of a result: {stem}, {model}, {scale}.", panel=FILES)
    overwrite: bool = option(False, help="Replace results that exist; never the photos themselves.", panel=FILES)
    pages: str | None = option(
        None, help="Of a file with several pages: all, or numbers such as 2,5; otherwise the first.", panel=FILES
    )
    split: str = option(
        "none",
        help="auto: each print on a scan of several is found, straightened, cut, and a photo of its own.",
        panel=FILES,
        values=("none", "auto"),
    )
    files_from: Path | None = option(
        None,
        help="Also the photos in this list, one a line or separated by NUL bytes; - reads the list from stdin.",
        panel=FILES,
    )
    shard: str | None = option(
        None, help="Only the I-th of N parts of the photos: one a machine.", panel=FILES, metavar="I/N"
    )
    cluster: str | None = option(
        None,
        help="Restore on a Ray cluster: local (one on this machine), auto, HOST:PORT or ray://HOST:PORT.",
        panel=RUN,
        metavar="ADDRESS",
    )
    workers: str | None = option(
        None,
        help="Processes on the cluster: N, or MIN-MAX as it grows; default: as many as fit.",
        panel=RUN,
        metavar="N",
    )
    worker_cpus: float | None = option(None, help="CPUs of each, also in parts; default: 1.", panel=RUN, above=0)
    worker_gpus: float | None = option(
        None, help="GPUs of each, also in parts; default: 1 where there are any.", panel=RUN, least=0
    )
    watch: bool = option(
        False, help="Go on: restore what comes into the folders, each photo once it has settled.", panel=FILES
    )
    preset: str | None = option(
        None, help="A named set of options: old-photo, archive, or one of your own.", panel=RUN, metavar="NAME"
    )
    resume: bool = option(True, help="Skip what an earlier run has done or failed to do.", panel=RUN)
    retry_failed: bool = option(False, help="Try again what failed in an earlier run.", panel=RUN)
    redo: str | None = option(
        None,
        help="built-in: make anew what built-in models did and better ones would do now.",
        panel=RUN,
        values=("built-in",),
    )
    require_photos: bool = option(False, help="No photo found is exit code 4, not 0.", panel=RUN)
    max_time: str | None = option(
        None,
        help="Begin no other photo after this time, such as 90m or 8h; the same command goes on (exit code 124).",
        panel=RUN,
        metavar="TIME",
    )
    jobs: int | str = option(
        "auto",
        help="Photos at once: a number, or auto, by cores and memory.",
        panel=RUN,
        least=1,
        values=("auto",),
        parse=formatting.jobs,
        metavar="N",
    )
    threads: int | None = option(
        None, help="Threads that compute a photo; default: as many as cores, 8 at most.", panel=RUN, least=1, most=1024
    )
    dry_run: bool = option(False, help="Say what would be done, and do nothing.", panel=RUN)
    report: bool = option(False, help="Write report.html with before and after.", panel=RUN)
    report_sample: str | None = option(
        None,
        help="A report of a long run's share, by lot, of what changed most, and of what failed.",
        panel=RUN,
        metavar="PERCENT",
    )
    sheet: Path | None = option(
        None, help="Write a PDF or TIFF for the client: before, after and what was used, a page a photo.", panel=RUN
    )
    open: bool = option(
        False, help="Show the result when the run is over: the picture, the report, or the folder.", panel=FILES
    )
    preview: Path | None = option(
        None, help="A picture file that shows how a search goes, written anew every 2 seconds.", panel=RUN
    )
    log: Path | None = option(
        None, help="Add what happens to this file, a line each with its time; also with -q.", panel=RUN
    )
    metrics: Path | None = option(
        None, help="Write figures of the run to this file every minute: JSON, or *.prom for Prometheus.", panel=RUN
    )
    json_lines: bool = option(False, help="One record a photo, as JSON lines on stdout.", panel=RUN, flags=("--json",))

    def __post_init__(self) -> None:
        """Check every value; raises `UsageError`."""
        for name, each in declared(type(self)).items():
            each.checked(getattr(self, name))


@dataclass(frozen=True)
class Manner:
    """How much a run says."""

    quiet: bool = option(
        False, help="Errors only, and a line where built-in models take over.", panel=RUN, flags=("-q", "--quiet")
    )
    verbose: bool = option(False, help="Timings, faces, tracebacks.", panel=RUN, flags=("-v", "--verbose"))
    notify: bool = option(
        True, help="After half a minute or more, tell by notification or bell that the run is over.", panel=RUN
    )


PHOTO_OPTIONS = (PhotosRequest, Options, Manner)
"""Whose fields are the options of `restore PHOTO`, and the keys of restore.toml."""
