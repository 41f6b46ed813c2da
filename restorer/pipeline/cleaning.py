"""What `--clean` names: a network that takes noise, JPEG's blocks or blur off and enlarges nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from restorer.errors import UnknownTableError, UsageError
from restorer.formatting import nearest
from restorer.models import REGISTRY
from restorer.models.base import UpscalerArchitecture
from restorer.models.importer.named import upscaler_named
from restorer.weights.table import CHECKPOINT_SUFFIXES

if TYPE_CHECKING:
    from restorer.options import Options
    from restorer.weights import Table


def table_of(options: Options) -> Table | None:
    """Return the table of what cleans the photos, also of a file of one's own; None where nothing does.

    Raises:
        UnknownTableError: there is no such table or file.
    """
    return None if options.clean is None else upscaler_named(options.clean)


def check(options: Options, tables: Mapping[str, Table]) -> Table | None:
    """Refuse what cannot clean a photo; return its table.

    Raises:
        UnknownTableError: there is no such table or file; the nearest names are told.
        UsageError: it enlarges, or is something else.
    """
    if options.clean is None:
        return None
    known = [name for name, each in tables.items() if REGISTRY.enlarges_nothing(each)]
    try:
        table = upscaler_named(options.clean)
    except UnknownTableError as error:
        named_a_file = Path(options.clean).name != options.clean or Path(options.clean).suffix in CHECKPOINT_SUFFIXES
        if named_a_file and options.clean not in tables:
            raise
        near = nearest(options.clean, known)
        remedy = f"Did you mean {' or '.join(near)}?" if near else f"--clean takes {', '.join(known)}, or a file."
        message = f"--clean {options.clean}: there is nothing of that name."
        raise UnknownTableError(options.clean, message, remedy, suggestions=near) from error
    architecture = REGISTRY.of_role(UpscalerArchitecture, table, f"--clean {options.clean}")
    if not REGISTRY.enlarges_nothing(table):
        times = architecture.factors(REGISTRY.arguments(table))[0]
        raise UsageError(
            f"--clean {options.clean}: {table.name} enlarges {times} times, and cleaning leaves the size alone.",
            f"Give it to --background; --clean takes {', '.join(known)}, or a file.",
        )
    return table
