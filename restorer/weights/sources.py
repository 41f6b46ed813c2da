"""The kinds of source that a table may name, read from their text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

_HUB = re.compile(r"hf://(?P<repo>[\w.-]+/[\w.-]+)/(?P<file>[^@]+?)(?:@(?P<revision>[^@]+))?")
STORES = ("s3://", "gs://", "gcs://", "abfs://", "az://", "hdfs://")
"""What sources in stores begin with."""
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True)
class HubSource:
    """A file of a model repository on the Hub: `hf://OWNER/REPO/FILE@REVISION`; without a revision, `main`."""

    text: str
    repo: str
    file: str
    revision: str


@dataclass(frozen=True)
class UrlSource:
    """A plain download: `https://...`, or one file of a zip there: `https://...zip#FOLDER/FILE`.

    `http://` is accepted for this very machine only.
    """

    text: str

    @property
    def host(self) -> str:
        """The host's name, as people read it."""
        return urlsplit(self.text).hostname or self.text

    @property
    def file(self) -> str:
        """The last part of the path, which names the file in the cache."""
        return (self.member or unquote(urlsplit(self.text).path)).rsplit("/", 1)[-1] or "weights"

    @property
    def member(self) -> str:
        """Of a zip, the file inside it; "" for what is no part of another file."""
        return unquote(urlsplit(self.text).fragment)


@dataclass(frozen=True)
class StoreSource:
    """An object in a store that fsspec opens: `s3://BUCKET/PATH`. Who may read it, this machine must know by itself."""

    text: str

    @property
    def host(self) -> str:
        """The store's part that holds it, as people read it."""
        parts = urlsplit(self.text)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def file(self) -> str:
        """The last part of the path, which names the file in the cache."""
        return urlsplit(self.text).path.rsplit("/", 1)[-1] or "weights"


@dataclass(frozen=True)
class FileSource:
    """A file of the user's: `file:PATH`, absolute or relative to the toml. Never written, never deleted."""

    text: str
    path: Path


@dataclass(frozen=True)
class PackageSource:
    """A file inside the installed package: `package:NAME` is restorer/data/NAME."""

    text: str
    name: str

    @property
    def path(self) -> Path:
        """Where it is installed."""
        return Path(__file__).parents[1] / "data" / self.name


Source = HubSource | UrlSource | StoreSource | FileSource | PackageSource
RemoteSource = HubSource | UrlSource | StoreSource
LocalSource = FileSource | PackageSource


def parse(text: str, base: Path) -> Source:
    """Return the source that a text of weights.toml names; `base` is the folder of that toml.

    Raises:
        ValueError: it is none of these kinds; the message says why.
    """
    if text.startswith("hf://"):
        match = _HUB.fullmatch(text)
        if match is None:
            raise ValueError("a Hub source is written hf://OWNER/REPO/FILE@REVISION")
        if match["repo"].split("/")[0] in ("datasets", "spaces"):
            raise ValueError("Hub sources are model repositories; data sets and spaces are not supported")
        if ".." in match["file"].split("/"):
            raise ValueError("a Hub source must not climb out of its repository")
        return HubSource(text, match["repo"], match["file"], match["revision"] or "main")
    if text.startswith(("https://", "http://")):
        address = urlsplit(text)
        if not address.hostname:
            raise ValueError("the address has no host")
        if address.scheme == "http" and address.hostname not in _LOOPBACK:
            raise ValueError("http:// is accepted for this machine only; use https://")
        return UrlSource(text)
    if text.startswith(STORES):
        address = urlsplit(text)
        if not address.netloc or not address.path.strip("/"):
            raise ValueError(f"an object in a store is written {address.scheme}://BUCKET/PATH")
        return StoreSource(text)
    if text.startswith("file:"):
        path = Path(text.removeprefix("file:")).expanduser()
        return FileSource(text, path if path.is_absolute() else base / path)
    if text.startswith("package:"):
        name = text.removeprefix("package:")
        if not re.fullmatch(r"[\w.-]+", name) or name.startswith("."):
            raise ValueError("a package source is the plain name of a built-in file")
        return PackageSource(text, name)
    raise ValueError("a source begins with hf://, https://, s3://, file: or package:")
