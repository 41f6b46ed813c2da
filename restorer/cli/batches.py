"""Which machines a run is for: this one, or those of a cluster."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from restorer.batch.jobs import AUTO
from restorer.batch.parts import Part
from restorer.batch.run import Batch
from restorer.cli.console import say
from restorer.cli.progress import Screen
from restorer.cli.request import PhotosRequest
from restorer.cli.said import plural
from restorer.engine.device import ALL_GPUS, allowed_cores, gpu_count, threads_of, threads_said
from restorer.errors import UsageError

if TYPE_CHECKING:
    from restorer.options import Options
    from restorer.pipeline.restorer import Restorer


_STORE = re.compile(r"[a-z][a-z0-9+.-]+:/")


@contextmanager
def made(request: PhotosRequest, restorer: Restorer) -> Iterator[Batch]:
    """Make what brings the photos of a run through, and let it go in the end, whatever happened.

    Args:
        request: what was asked for.
        restorer: what says what is asked of a photo.

    Raises:
        UsageError: options contradict each other.
        MissingPackageError: a cluster was asked for, and Ray is not installed.
    """
    rules: dict[str, Any] = {
        "overwrite": request.overwrite,
        "dry_run": request.dry_run,
        "resume": request.resume,
        "retry_failed": request.retry_failed,
    }
    stores = _in_stores(request)
    if request.cluster is None and stores:
        raise UsageError(f"{stores[0]} is in a store, which only a cluster opens.", "Add --cluster local.")
    if request.cluster is None:
        given = [name for name in ("workers", "worker_cpus", "worker_gpus") if getattr(request, name) is not None]
        if given:
            flag = f"--{given[0].replace('_', '-')}"
            raise UsageError(f"{flag} is about a cluster, and none was asked for.", "Add --cluster local.")
        part = Part.read(request.shard) if request.shard else None
        yield Batch(restorer, redo=request.redo, part=part, **rules)
        return
    if request.jobs != AUTO:
        raise UsageError(
            "--jobs is about this machine alone; --cluster shares the photos out itself.", "Use --workers in its place."
        )
    for name in ("shard", "preview"):
        if getattr(request, name) is not None:
            raise UsageError(
                f"--{name} does not go with --cluster, which shares the photos out itself.", "Leave it out."
            )
    for name in ("report", "report_sample", "sheet", "pages"):
        if stores and getattr(request, name):
            flag = f"--{name.replace('_', '-')}"
            raise UsageError(f"{flag} reads photos again, which are in a store here.", f"Leave {flag} out.")
    if stores and request.split != "none":
        raise UsageError("--split reads photos first, which are in a store here.", "Leave it out.")
    from restorer.cluster.order import Order
    from restorer.cluster.run import ClusterBatch

    order = Order.read(request.cluster, request.workers, request.worker_cpus, request.worker_gpus)
    batch = ClusterBatch(restorer, order, threads=request.threads, redo=request.redo, **rules)
    try:
        yield batch
    finally:
        batch.leave()


def on_all_gpus(options: Options, request: PhotosRequest) -> tuple[Options, PhotosRequest]:
    """Return what `--device cuda:all` means: a worker with a GPU of its own for each; a single GPU needs no cluster."""
    if options.device != ALL_GPUS:
        return options, request
    options = replace(options, device="cuda")
    if request.cluster is None and gpu_count() < 2:
        return options, request
    gpus = 1.0 if request.worker_gpus is None else request.worker_gpus
    return options, replace(request, cluster=request.cluster or "local", worker_gpus=gpus)


def _in_stores(request: PhotosRequest) -> list[str]:
    """Return what was named in stores, as it was typed or read from a list."""
    named = [*request.photos, *([] if request.out is None else [str(request.out)])]
    return [each for each in named if _STORE.match(each)]


def joined(request: PhotosRequest, batch: Batch, screen: Screen, *, quiet: bool) -> int:
    """Join the cluster of a run, and say how many workers there are; return that."""
    screen.doing("Starting the cluster" if request.cluster == "local" else "Joining the cluster")
    workers = batch.join()
    if not quiet:
        say(f"{plural(workers, 'worker')} on the cluster.")
    return workers


def side_by_side(request: PhotosRequest, batch: Batch, work: int, *, quiet: bool) -> int:
    """Decide how many photos of a run are restored at once; return that, and say where it is not what was asked for.

    Args:
        request: what was asked for.
        batch: the run.
        work: how many photos are to be restored.
        quiet: whether only errors are said.
    """
    said = request.threads or threads_said()
    jobs = batch.share(request.jobs, work, said)
    if quiet:
        return jobs.count
    if jobs.asked is not None:
        say(f"Memory has room for {plural(jobs.count, 'photo')} at once, not {jobs.asked}.")
    cores = allowed_cores()
    threads = threads_of(cores)
    if jobs.count > 1 and jobs.count * threads > cores and said is None:
        say(
            f"{plural(jobs.count, 'photo')} at once with {plural(threads, 'thread')} each share "
            f"{plural(cores, 'core')}; with --threads {max(1, cores // jobs.count)} they wait less for each other."
        )
    return jobs.count
