"""Photos as a step of somebody's own Ray Data pipeline: rows with a path or bytes in, results and records out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from restorer.cluster.order import check_installed
from restorer.cluster.stores import read_bytes
from restorer.errors import UsageError
from restorer.options import Options
from restorer.pipeline.restorer import Restorer
from restorer.record import Record

if TYPE_CHECKING:
    import pyarrow as pa
    from ray.data import Dataset

PATH, BYTES, RESULT, RECORD = "path", "bytes", "result", "record"
"""Columns: of these two one is read, where a row has both the second; the others are added."""


def restore_dataset(
    ds: Dataset,
    options: Options | Mapping[str, Any] | None = None,
    *,
    batch_size: int = 8,
    workers: int | tuple[int, int] = (1, 16),
    cpus: float = 1.0,
    gpus: float = 0.0,
) -> Dataset:
    """Return a dataset with each photo restored; nothing is done before it is read, written or taken from.

    Args:
        ds: rows with "bytes", a picture's file, or "path", where it is: on a disk that all machines have, or in a store
            that fsspec opens (`s3://...`). Other columns are handed on as they are.
        options: those of `Restorer`, as `Options` or by their names.
        batch_size: rows that a worker takes at once; what is in memory are these, with their results.
        workers: processes, each with its own networks; (least, most) for a pool that grows and shrinks.
        cpus: of each worker, also in parts; it computes with as many threads.
        gpus: of each worker, also in parts.

    Returns:
        The rows with two more columns: "result", the bytes of the restored file, empty where the photo failed; and
        "record", its record as JSON, whose "status" is "ok" or "failed" and whose "error" says why. A photo that cannot
        be restored costs no other row.

    Raises:
        MissingPackageError: Ray is not installed.
        UsageError: an option makes no sense, or the rows have neither column.
    """
    check_installed()
    from ray.data import ActorPoolStrategy

    chosen = options if isinstance(options, Options) else Options.of(**(options or {}))
    names = ds.columns()
    if names is not None and not {PATH, BYTES} & set(names):
        raise UsageError(f'The rows have neither "{PATH}" nor "{BYTES}", but {", ".join(names)}.', "Rename a column.")
    least, most = workers if isinstance(workers, tuple) else (workers, workers)
    pool = ActorPoolStrategy(min_size=least, max_size=most)
    return ds.map_batches(
        RestoreRows,
        fn_constructor_args=(chosen,),
        batch_size=batch_size,
        batch_format="pyarrow",
        compute=pool,
        num_cpus=cpus,
        num_gpus=gpus or None,
    )


class RestoreRows:
    """Restores rows; one restorer a process, whose networks are loaded with the first photo that needs them.

    Args:
        options: what is asked of each photo.
    """

    def __init__(self, options: Options) -> None:
        self._restorer = Restorer(**options.values())

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Return the rows with "result" and "record"."""
        import pyarrow as pa

        names = [name for name in (PATH, BYTES) if name in batch.column_names]
        done = [self._restored(row) for row in batch.select(names).to_pylist()]
        rest = batch.select([name for name in batch.column_names if name not in (RESULT, RECORD)])
        told = [json.dumps(record.as_dict(), ensure_ascii=False) for _, record in done]
        rest = rest.append_column(RESULT, pa.array([data for data, _ in done], pa.large_binary()))
        return rest.append_column(RECORD, pa.array(told, pa.string()))

    def _restored(self, row: Mapping[str, Any]) -> tuple[bytes, Record]:
        path, data = row.get(PATH), row.get(BYTES)
        named = "-" if path is None else str(path)
        record = self._restorer.new_record(named)
        with record.capturing(named):
            data = read_bytes(named) if data is None else bytes(data)
        if record.status == "failed":
            return b"", record
        result, record = self._restorer.restore_bytes(data)
        record.input = named
        return result, record
