"""Where things lie: our own cache and settings, the Hub's cache, and whether the network may be used at all.

Everything is read from the environment when it is asked for, not when this module is imported.
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

_YES = frozenset({"1", "ON", "YES", "TRUE"})


def cache_folder() -> Path:
    """Return the folder of mirrors' downloads, verification records and locks: `$RESTORER_CACHE` or the system's."""
    given = os.environ.get("RESTORER_CACHE")
    return Path(given).expanduser() if given else platformdirs.user_cache_path("restorer", appauthor=False)


def config_folder() -> Path:
    """Return the folder of the user's own weights.toml and settings: `$RESTORER_CONFIG` or the system's."""
    given = os.environ.get("RESTORER_CONFIG")
    return Path(given).expanduser() if given else platformdirs.user_config_path("restorer", appauthor=False)


def hub_cache() -> Path:
    """Return the Hub's cache folder by the same variables as huggingface_hub, which reads them only once a process."""
    given = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    if given:
        return Path(os.path.expandvars(given)).expanduser()
    home = os.environ.get("HF_HOME")
    if not home:
        home = os.environ.get("XDG_CACHE_HOME", "~/.cache") + "/huggingface"
    return Path(os.path.expandvars(home)).expanduser() / "hub"


def hub_endpoint() -> str:
    """Return the address of the Hub: `$HF_ENDPOINT` or huggingface.co."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def is_offline(asked: bool = False) -> bool:
    """Tell whether the network is off limits: because the caller says so, or `HF_HUB_OFFLINE` does."""
    variables = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return asked or any(os.environ.get(name, "").strip().upper() in _YES for name in variables)
