"""Which machines a run is for: this one, or those of a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from restorer.batch.parts import Part
from restorer.batch.run import Batch
from restorer.cli.console import say
from restorer.cli.progress import Screen
from restorer.cli.request import PhotosRequest
from restorer.cli.said import plural
from restorer.errors import UsageError

if TYPE_CHECKING:
    from restorer.pipeline.restorer import Restorer


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
    if request.cluster is None:
        given = [name for name in ("workers", "worker_cpus", "worker_gpus") if getattr(request, name) is not None]
        if given:
            flag = f"--{given[0].replace('_', '-')}"
            raise UsageError(f"{flag} is about a cluster, and none was asked for.", "Add --cluster local.")
        part = Part.read(request.shard) if request.shard else None
        yield Batch(restorer, redo=request.redo, part=part, **rules)
        return
    for name in ("shard", "preview"):
        if getattr(request, name) is not None:
            raise UsageError(
                f"--{name} does not go with --cluster, which shares the photos out itself.", "Leave it out."
            )
    from restorer.cluster.order import Order
    from restorer.cluster.run import ClusterBatch

    order = Order.read(request.cluster, request.workers, request.worker_cpus, request.worker_gpus)
    batch = ClusterBatch(restorer, order, threads=request.threads, redo=request.redo, **rules)
    try:
        yield batch
    finally:
        batch.leave()


def joined(request: PhotosRequest, batch: Batch, screen: Screen, *, quiet: bool) -> int:
    """Join the cluster of a run, and say how many workers there are; return that."""
    screen.doing("Starting the cluster" if request.cluster == "local" else "Joining the cluster")
    workers = batch.join()
    if not quiet:
        say(f"{plural(workers, 'worker')} on the cluster.")
    return workers
