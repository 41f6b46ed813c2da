"""Weights out of object stores, by fsspec, which the extra `cluster` brings for S3; each download begins anew."""

from __future__ import annotations

from pathlib import Path

from restorer.errors import RestorerError
from restorer.formatting import install_line
from restorer.weights.mirror import Tell, check_disk, part_of
from restorer.weights.progress import Progress
from restorer.weights.reach import SourceError
from restorer.weights.sources import StoreSource
from restorer.weights.table import Table

_CHUNK = 1 << 22
_PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "az": "adlfs", "hdfs": "pyarrow"}


def download(table: Table, source: StoreSource, target: Path, tell: Tell) -> Path:
    """Bring the whole object to `part_of(target)` and return that; it is neither verified nor renamed yet.

    Raises:
        SourceError: the store does not give the object, or another size than the table says.
        NotEnoughDiskError: before the download, when it does not fit.
    """
    part = part_of(target)
    try:
        import fsspec

        system, path = fsspec.core.url_to_fs(source.text, use_listings_cache=False)
        size = int(system.info(path)["size"])
        if table.size is not None and size != table.size:
            raise SourceError(f"it offers {size:,} bytes, and the table says {table.size:,}: another file")
        part.parent.mkdir(parents=True, exist_ok=True)
        check_disk(table, part.parent, size)
        tell(Progress(table.name, source.host, "start", 0, size))
        received = 0
        with system.open(path, "rb") as stream, part.open("wb") as file:
            while chunk := stream.read(_CHUNK):
                received += file.write(chunk)
                tell(Progress(table.name, source.host, "receive", received, size))
    except ImportError as error:
        package = _PACKAGES[source.text.partition(":")[0]]
        raise SourceError(f"it needs {package}, which is not installed: {install_line(package)}") from error
    except FileNotFoundError as error:
        raise SourceError("there is no such object") from error
    except (SourceError, RestorerError):
        raise
    except Exception as error:  # clients of stores have classes of their own
        raise SourceError(f"the store does not give it: {error}") from error
    return part
