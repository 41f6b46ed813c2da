"""What is asked of a cluster: where it is, how many workers, what each of them is given."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec

from restorer.errors import MissingPackageError, UsageError
from restorer.formatting import install_line

LOCAL, AUTO = "local", "auto"
_ADDRESS = re.compile(r"(ray://)?[\w.\[\]:-]+:\d+")
_WORKERS = re.compile(r"(\d+)(?:-(\d+))?")


@dataclass(frozen=True)
class Order:
    """A cluster and its workers.

    Attributes:
        address: "local" = one on this machine, for this run; "auto" = the one that runs here; or where it is.
        least, most: workers; None = as many as there is room for.
        cpus, gpus: what each worker is given, also in fractions; None = one CPU, and a GPU where there are any.
    """

    address: str
    least: int | None = None
    most: int | None = None
    cpus: float | None = None
    gpus: float | None = None

    @classmethod
    def read(
        cls, address: str, workers: str | None = None, cpus: float | None = None, gpus: float | None = None
    ) -> Order:
        """Return the order that options mean.

        Args:
            address: as `--cluster` takes it.
            workers: "N", or "MIN-MAX" for a pool that grows and shrinks with the cluster; None = as many as there is
                room for.
            cpus: of a worker.
            gpus: of a worker.

        Raises:
            UsageError: one of them makes no sense.
        """
        if address not in (LOCAL, AUTO) and not _ADDRESS.fullmatch(address):
            raise UsageError(
                f"--cluster {address} is no address.",
                "Use local, auto, HOST:PORT, or ray://HOST:PORT.",
            )
        if workers is None:
            return cls(address, cpus=cpus, gpus=gpus)
        found = _WORKERS.fullmatch(workers)
        least, most = (int(found[1]), int(found[2] or found[1])) if found is not None else (0, 0)
        if not 1 <= least <= most:
            raise UsageError(f"--workers {workers} is not understood.", "Use a number, or MIN-MAX: --workers 2-16.")
        return cls(address, least, most, cpus, gpus)


def check_installed() -> None:
    """Raise `MissingPackageError` where Ray is not installed, or not with what Ray Data needs."""
    for package in ("ray", "pyarrow", "pandas"):
        if find_spec(package) is None:
            raise MissingPackageError(
                package,
                "--cluster needs Ray Data, which is not installed.",
                f"Type: {install_line('ray[data]')}, on every machine of the cluster.",
            )
