"""What answers are made of: files, archives, events, and the fields of a request."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.types import Receive, Scope, Send

from restorer.photo import FORMATS
from restorer.server.refusals import BadRequestError

MOST_FIELDS = 64
PRIVATE = {"Cache-Control": "no-store"}
TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "TIFF": "image/tiff", "BMP": "image/bmp",
         "HEIF": "image/heic", "GIF": "image/gif", "AVIF": "image/avif"}  # fmt: skip


async def fields(request: Request) -> dict[str, Any]:
    """Return the options of a request: a JSON object, or the fields of a form."""
    if not request.headers.get("content-type", "").startswith("application/json"):
        async with request.form(max_files=0, max_fields=MOST_FIELDS) as form:
            return {name: value for name, value in form.items() if isinstance(value, str)}
    try:
        given = json.loads(await request.body() or b"{}")
    except ValueError as error:
        raise BadRequestError(f"The request is no JSON: {error}.", 'Send an object such as {"scale": 4}.') from error
    if not isinstance(given, dict):
        raise BadRequestError("The request is no JSON object.", 'Send one such as {"scale": 4}.')
    return given


def as_event(kind: str, facts: dict[str, Any]) -> str:
    return f"event: {kind}\ndata: {json.dumps(facts)}\n\n"


def packed(files: list[tuple[Path, str]], target: Path) -> None:
    """Write files into an archive, under names that are all different."""
    taken: set[str] = set()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path, name in files:
            free, number = name, 1
            while free.lower() in taken:
                number += 1
                free = f"{Path(name).stem}_{number}{Path(name).suffix}"
            taken.add(free.lower())
            archive.write(path, free)


class _FileAnswer(FileResponse):
    """A file that may have been removed since its answer was begun, which is nothing that the server did wrong."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not Path(self.path).exists():
            raise FileNotFoundError(self.path)
        await super().__call__(scope, receive, send)


def file_answer(
    path: Path, name: str, type: str | None = None, *, download: bool = False, after: BackgroundTask | None = None
) -> Response:
    """Return a file as an answer, of a type that no browser takes for a page."""
    if type is None:
        suffix = Path(name).suffix.lower()
        format = next((entry.name for entry in FORMATS.values() if suffix in entry.suffixes), "")
        type = TYPES.get(format, "application/octet-stream")
    kind = "attachment" if download else "inline"
    return _FileAnswer(path, headers=PRIVATE, media_type=type, filename=name, content_disposition_type=kind,
                        background=after)  # fmt: skip
