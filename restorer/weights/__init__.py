"""Where does a checkpoint come from, may it be trusted? The only door: verified and inert.

    table = resolve("gfpgan")           # what weights.toml says
    path = fetch(table)                 # a file whose sha256 is the table's, downloaded if need be
    state = load_state_dict(path, table.name)   # tensors and nothing else

Light to import: torch and huggingface_hub are imported when a file is loaded or downloaded.
"""

from restorer.weights.checkpoint import aligned, load_state_dict
from restorer.weights.fetching import Absence, cached, fetch, fingerprint, missing, peek
from restorer.weights.native_file import FileHeader, write
from restorer.weights.native_file import read as about
from restorer.weights.progress import OnProgress, Progress, announcement
from restorer.weights.table import Table, resolve, searching, tables

__all__ = [
    "Absence",
    "FileHeader",
    "OnProgress",
    "Progress",
    "Table",
    "about",
    "aligned",
    "announcement",
    "cached",
    "fetch",
    "fingerprint",
    "load_state_dict",
    "missing",
    "peek",
    "resolve",
    "searching",
    "tables",
    "write",
]
