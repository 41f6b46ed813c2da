"""Sentences that a user must accept before a download, where no licence grants the use."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from restorer.storage.atomic import write_atomic
from restorer.storage.folders import config_folder
from restorer.weights.table import Table

_log = logging.getLogger(__name__)


def _file() -> Path:
    return config_folder() / "acknowledged.json"


def _accepted() -> dict[str, str]:
    """Return the accepted sentences by table."""
    try:
        content = json.loads(_file().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        _log.warning("%s cannot be read: %s", _file(), error)
        return {}
    return content if isinstance(content, dict) else {}


def acknowledged(table: Table) -> bool:
    """Tell whether the user has accepted what a table asks to accept; true where it asks for nothing."""
    return table.acknowledge is None or _accepted().get(table.name) == table.acknowledge


def accept_license(table: Table) -> None:
    """Record that the user accepts the sentence of a table; when the sentence changes, it is asked again."""
    if table.acknowledge is None:
        return
    accepted = {**_accepted(), table.name: table.acknowledge}
    write_atomic(_file(), json.dumps(accepted, indent=2) + "\n", through_links=True)
