"""Looks at the machine: is everything there that a restoration needs, and what is to be done where it is not.

Each check looks at the thing itself: packages are imported, devices compute, folders are written to, the Hub is asked.
A check that fails does not stop the others.
"""

from __future__ import annotations

from collections.abc import Iterator

from restorer.cli.diagnosis.base import Check
from restorer.cli.diagnosis.devices import Devices
from restorer.cli.diagnosis.folders import Folders
from restorer.cli.diagnosis.network import Network
from restorer.cli.diagnosis.packages import Packages
from restorer.cli.diagnosis.weights import Weights


def examine(*, offline: bool = False) -> Iterator[Check]:
    """Yield one check after the other, as they are done.

    Args:
        offline: ask no network.
    """
    for examination in (Packages(), Devices(), Folders(), Weights(), Network(offline)):
        yield from examination.look()
