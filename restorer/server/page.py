"""The page: files of this package, served as they are; nothing is fetched from elsewhere."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

LANGUAGES = ("en", "de", "es", "fr", "zh")
"""Those with a file in static/languages."""


def folder() -> Path:
    """Return where the page's files are."""
    return Path(str(resources.files("restorer.server"))) / "static"


def files() -> StaticFiles:
    """Return what serves the page's files."""
    return StaticFiles(directory=folder())


async def index(_request: Request) -> Response:
    """Answer with the page."""
    return HTMLResponse((folder() / "index.html").read_text("utf-8"), headers={"Cache-Control": "no-store"})
