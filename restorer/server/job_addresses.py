"""The addresses of jobs: how they stand, what came of them, and what happens as it happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from restorer.server import looking
from restorer.server.answers import PRIVATE, as_event, file_answer, packed
from restorer.server.jobs import Job, Upload, new_id
from restorer.server.refusals import BadRequestError, NotReadyError, UnknownThingError
from restorer.server.service import Service, result_of

if TYPE_CHECKING:
    from restorer.photo import Photo

BEAT = 15.0
"""Seconds after which a stream of events says that it is still there."""
MOST_EVENTS = 2000
"""Events that wait for a listener; whoever lets more come together has to ask anew."""


class JobAddresses:
    """What is answered about jobs.

    Args:
        service: what does the work.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    # -------------------------------------------------------------------------------------------------------- jobs

    async def job(self, request: Request) -> Response:
        """Tell how a job stands."""
        return JSONResponse(self._job(request).as_dict(), headers=PRIVATE)

    async def cancel(self, request: Request) -> Response:
        """Give a job up."""
        job = self._job(request)
        await run_in_threadpool(self._service.cancel, job)
        return JSONResponse(job.as_dict(), 202, headers=PRIVATE)

    async def result(self, request: Request) -> Response:
        """Answer with the file of a result."""
        job = self._job(request)
        return file_answer(result_of(job), job.name, download="download" in request.query_params)

    async def shown(self, request: Request) -> Response:
        """Answer with a result as a browser shows it."""
        from restorer.photo import read_photo

        job = self._job(request)
        path = result_of(job)
        if path.suffix.lower() in (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp"):
            return file_answer(path, job.name)
        other = path.parent / "shown.png"
        await run_in_threadpool(self._write_shown, job.upload, lambda: read_photo(path), other)
        return file_answer(other, "shown.png")

    async def record(self, request: Request) -> Response:
        """Tell all that was done to a photo."""
        job = self._job(request)
        if job.record is None or not job.is_over:
            raise NotReadyError("The photo is not restored yet.", f"Follow /jobs/{job.identity}/events, or ask again.")
        return JSONResponse(job.record.as_dict(), headers=PRIVATE)

    async def faces(self, request: Request) -> Response:
        """Tell the faces of a job's photo with their numbers."""
        job = self._job(request)
        if job.record is not None and job.is_over:
            return JSONResponse(looking.faces_of(job.record), headers=PRIVATE)
        if job.upload.faces is None:
            raise NotReadyError("Nobody has looked for faces yet.", "Ask again in a moment.")
        return JSONResponse(job.upload.faces, headers=PRIVATE)

    async def face(self, request: Request) -> Response:
        """Answer with a face's part of a result as it looks with another strength, and where that is.

        Faces that are named as `also` have that strength too, where they reach into that part.
        """
        job = self._job(request)
        try:
            face, strength = int(request.path_params["face"]), float(request.query_params.get("strength", "1"))
            also = {int(each) for each in request.query_params.get("also", "").split(",") if each}
        except ValueError:
            raise BadRequestError(
                "A face is a number, and so is its strength.", "Ask for /faces/2?strength=0.5."
            ) from None
        if not 0 <= strength <= 1:
            raise BadRequestError(f"The strength {strength:g} is outside its range.", "Use 0 to 1.")
        box, picture = await run_in_threadpool(self._service.blended, job, face, strength, also)
        return Response(picture, media_type="image/png", headers={**PRIVATE, "X-Box": ",".join(map(str, box))})

    async def save(self, request: Request) -> Response:
        """Write a result into the folder that the server was started with."""
        path = await run_in_threadpool(self._service.save, self._job(request))
        return JSONResponse({"saved": path.name, "folder": str(path.parent)}, headers=PRIVATE)

    async def zip(self, request: Request) -> Response:
        """Answer with the results of several jobs in one file."""
        jobs = [self._service.job(each) for each in request.query_params.getlist("job")]
        if not jobs:
            raise BadRequestError("No job was named.", "Name some: /zip?job=...&job=...")
        store = self._service.album.store
        path = store.folder / f"{new_id()}.zip"
        results = [(result_of(job), job.name) for job in jobs]
        size = sum(job.bytes for job in jobs)
        store.reserve(size, path.name)

        def clean() -> None:
            path.unlink(missing_ok=True)
            store.release_all(path.name)

        try:
            await run_in_threadpool(packed, results, path)
        except BaseException:
            clean()
            raise
        return file_answer(path, "restored.zip", "application/zip", download=True, after=BackgroundTask(clean))

    # ------------------------------------------------------------------------------------------------------ events

    async def events(self, request: Request) -> Response:
        """Tell all that happens to the photos of whoever asks, as it happens."""
        client = request.state.client
        return self._stream(client, lambda _kind, _facts: True, [], around=self._service.attended(client))

    async def job_events(self, request: Request) -> Response:
        """Tell what happens to one job, until it is over."""
        job = self._job(request)

        def about(kind: str, facts: dict[str, Any]) -> bool:
            return kind == "job" and facts["job"] == job.identity

        return self._stream(job.client, about, [("job", job.as_dict())], until=lambda: job.is_over)

    def _stream(
        self,
        client: str,
        about: Callable[[str, dict[str, Any]], bool],
        first: list[tuple[str, dict[str, Any]]],
        until: Callable[[], bool] = lambda: False,
        around: AbstractContextManager[None] | None = None,
    ) -> Response:
        loop = asyncio.get_running_loop()
        waiting: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue(MOST_EVENTS)

        def put(event: tuple[str, dict[str, Any]]) -> None:
            if not waiting.full():
                waiting.put_nowait(event)

        def heard(kind: str, facts: dict[str, Any]) -> None:
            if about(kind, facts):
                loop.call_soon_threadsafe(put, (kind, facts))

        async def told() -> AsyncIterator[str]:
            end = self._service.exchange.listen(client, heard)
            try:
                with around or nullcontext():
                    yield "retry: 1000\n\n"
                    for event in first:
                        yield as_event(*event)
                    while not (until() and waiting.empty()) and not waiting.full():
                        try:
                            yield as_event(*await asyncio.wait_for(waiting.get(), BEAT))
                        except asyncio.TimeoutError:
                            yield ": still here\n\n"
            finally:
                end()

        return StreamingResponse(told(), media_type="text/event-stream", headers={**PRIVATE, "X-Accel-Buffering": "no"})

    def _write_shown(self, upload: Upload, opened: Callable[[], Photo], path: Path) -> None:
        """Write a picture as a browser shows it, beside a photo's other files, unless it is there."""
        with self._service.album.at_work(upload) as there:
            if not there:
                raise UnknownThingError("There is no such photo here, or no longer.", "Send it again.")
            if not path.exists():
                looking.write_shown(opened(), path)
                self._service.album.store.reserve(path.stat().st_size, upload.identity)

    def _job(self, request: Request) -> Job:
        return self._service.job(request.path_params["job"])
