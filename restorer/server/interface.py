"""The HTTP interface: what each address does, said in terms of `restorer.server.service`."""

from __future__ import annotations

import asyncio
from typing import Any, BinaryIO

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from restorer.errors import RestorerError
from restorer.server import choices, documentation, looking, page
from restorer.server.answers import MOST_FIELDS, PRIVATE, TYPES, fields, file_answer
from restorer.server.guard import as_response
from restorer.server.job_addresses import JobAddresses
from restorer.server.jobs import Job, Upload
from restorer.server.refusals import BadRequestError, NotReadyError, UnknownThingError
from restorer.server.service import Service, result_of
from restorer.version import __version__


def application(service: Service) -> Starlette:
    """Return the interface of a service, and the page before it."""
    interface = Interface(service)
    return Starlette(
        routes=[
            Route("/", page.index, name="page"),
            Mount("/static", page.files(), name="static"),
            *interface.routes(),
            Route("/openapi.json", documentation.as_json, name="openapi"),
            Route("/docs", documentation.as_page, name="docs"),
        ],
        exception_handlers={
            RestorerError: _failed,
            HTTPException: _not_there,
            ClientDisconnect: _gone,
            FileNotFoundError: _removed,
        },
    )


async def _failed(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RestorerError)
    return as_response(error)


async def _not_there(request: Request, error: Exception) -> Response:
    """Answer for addresses that there are not, and for requests that are not as they should be."""
    status = getattr(error, "status_code", 400)
    if status == 404:
        return await _failed(request, UnknownThingError(f"There is nothing at {request.url.path}.", "See /docs."))
    message = str(getattr(error, "detail", "")) or "The request is not understood."
    answer = await _failed(request, BadRequestError(f"{message.rstrip('.')}.", "See /docs."))
    answer.status_code = status
    return answer


async def _removed(request: Request, _error: Exception) -> Response:
    """Answer for a file that was removed, with its photo, while it was asked for."""
    return await _failed(request, UnknownThingError("It is here no longer: the photo was removed.", "Send it again."))


async def _gone(_request: Request, _error: Exception) -> Response:
    return Response(status_code=499)  # nobody hears it


class Interface(JobAddresses):
    """The addresses of a service.

    Args:
        service: what does the work.
    """

    def routes(self) -> list[Route]:
        """Return all of them."""
        photo, job = "/photos/{photo}", "/jobs/{job}"
        return [
            Route("/about", self.about),
            Route("/photos", self.photos),
            Route("/photos", self.send, methods=["POST"]),
            Route("/restore", self.restore, methods=["POST"]),
            Route(photo, self.photo),
            Route(photo, self.remove, methods=["DELETE"]),
            Route(f"{photo}/file", self.file),
            Route(f"{photo}/thumbnail", self.thumbnail),
            Route(f"{photo}/mask", self.mask),
            Route(f"{photo}/mask", self.draw, methods=["PUT"]),
            Route(f"{photo}/mask", self.wipe, methods=["DELETE"]),
            Route(f"{photo}/jobs", self.again, methods=["POST"]),
            Route(job, self.job),
            Route(job, self.cancel, methods=["DELETE"]),
            Route(f"{job}/events", self.job_events),
            Route(f"{job}/result", self.result),
            Route(f"{job}/shown", self.shown),
            Route(f"{job}/record", self.record),
            Route(f"{job}/faces", self.faces),
            Route(f"{job}/faces/{{face}}", self.face),
            Route(f"{job}/save", self.save, methods=["POST"]),
            Route("/events", self.events),
            Route("/zip", self.zip),
        ]

    # ------------------------------------------------------------------------------------------------------ photos

    async def about(self, _request: Request) -> Response:
        """Tell what this server is and takes, and every option as data."""
        service = self._service
        limits = service.limits
        told = {
            "version": __version__,
            "options": await run_in_threadpool(choices.described, service.options),
            "at_hand": await run_in_threadpool(choices.models_at_hand),
            "presets": {name: choices.offered_of(preset) for name, preset in service.presets.items()},
            "limits": {"bytes": limits.upload, "pixels": limits.pixels, "waiting": limits.waiting_each},
            "saves": service.out is not None,
            "folder": None if service.out is None else service.out.name or str(service.out),
        }
        return JSONResponse(told, headers=PRIVATE)

    async def send(self, request: Request) -> Response:
        """Take a photo in, and let it be restored, which may take a while: 202, and where to ask."""
        upload, given = await self._received(request, look=True)
        try:
            job = await run_in_threadpool(self._service.submit, upload, given)
        except RestorerError:
            self._service.forget(upload)
            raise
        return self._accepted(job)

    async def again(self, request: Request) -> Response:
        """Let a photo that is here be restored once more, in another way."""
        upload = self._upload(request)
        given = await fields(request)
        instead, aside = (request.query_params.get(name, "") not in ("", "0", "false") for name in ("instead", "aside"))
        job = await run_in_threadpool(lambda: self._service.submit(upload, given, instead=instead, aside=aside))
        return self._accepted(job)

    async def restore(self, request: Request) -> Response:
        """Take a photo in and answer with its result: all in one call."""
        upload, given = await self._received(request, look=False)
        try:
            job = await run_in_threadpool(self._service.submit, upload, given)
            await self._over(job, request)
            if job.state == "failed" and job.record is not None and job.record.error is not None:
                body = {"error": job.record.error}
                return JSONResponse(body, 422, background=BackgroundTask(self._service.forget, upload))
            path = result_of(job)
        except BaseException:
            self._service.forget(upload)
            raise
        return file_answer(path, job.name, download=True, after=BackgroundTask(self._service.forget, upload))

    async def _over(self, job: Job, request: Request) -> None:
        """Wait until a job is over; when whoever asked has gone, it is given up.

        Raises:
            ClientDisconnect: nobody waits for it any more.
        """
        loop, over = asyncio.get_running_loop(), asyncio.Event()

        def heard(kind: str, facts: dict[str, Any]) -> None:
            if kind == "job" and facts["job"] == job.identity and job.is_over:
                loop.call_soon_threadsafe(over.set)

        end = self._service.exchange.listen(job.client, heard)
        try:
            while not job.is_over:
                try:
                    await asyncio.wait_for(over.wait(), 0.5)
                except asyncio.TimeoutError:
                    if await request.is_disconnected():
                        raise ClientDisconnect from None
        finally:
            end()

    async def photos(self, request: Request) -> Response:
        """List the photos that whoever asks has sent, each with its latest job."""
        client = request.state.client
        latest = {job.upload: job.as_dict() for job in self._service.jobs(client) if not job.aside}
        told = [{**each.as_dict(), "job": latest.get(each)} for each in self._service.album.of(client)]
        return JSONResponse({"photos": told}, headers=PRIVATE)

    async def photo(self, request: Request) -> Response:
        """Tell what is known of a photo."""
        return JSONResponse(self._upload(request).as_dict(), headers=PRIVATE)

    async def remove(self, request: Request) -> Response:
        """Remove a photo with all that was made of it."""
        await run_in_threadpool(self._service.forget, self._upload(request))
        return Response(status_code=204)

    async def file(self, request: Request) -> Response:
        """Answer with a photo as a browser shows it."""
        upload = self._upload(request)
        if upload.format in looking.SHOWN:
            return file_answer(upload.path, upload.name, TYPES.get(upload.format or "", "application/octet-stream"))
        path = upload.path.parent / "shown.png"
        await run_in_threadpool(self._write_shown, upload, lambda: self._service.album.opened(upload), path)
        return file_answer(path, "shown.png")

    async def thumbnail(self, request: Request) -> Response:
        """Answer with a photo's small picture."""
        upload = self._upload(request)
        if not upload.thumbnail.exists():
            raise NotReadyError("The photo has not been looked at yet.", "Ask again in a moment.")
        return file_answer(upload.thumbnail, "thumbnail.webp")

    async def mask(self, request: Request) -> Response:
        """Answer with the drawing of what is damaged in a photo."""
        upload = self._upload(request)
        if upload.mask is None:
            raise UnknownThingError("Nobody has drawn what is damaged in this photo.", "Send a drawing with PUT.")
        return file_answer(upload.mask, upload.mask.name, "image/png", download="download" in request.query_params)

    async def draw(self, request: Request) -> Response:
        """Take in a drawing of what is damaged in a photo; its jobs from now on fill that."""
        upload = self._upload(request)
        drawing = await request.body()
        await run_in_threadpool(self._service.draw, upload, drawing)
        return JSONResponse(upload.as_dict(), headers=PRIVATE)

    async def wipe(self, request: Request) -> Response:
        """Forget what was drawn."""
        await run_in_threadpool(self._service.draw, self._upload(request), None)
        return Response(status_code=204)

    # --------------------------------------------------------------------------------------------------- what is sent

    async def _received(self, request: Request, *, look: bool) -> tuple[Upload, dict[str, Any]]:
        """Return the photo of a request, taken in, and its options.

        Raises:
            BadRequestError: it is no form, or holds no photo.
        """
        if not request.headers.get("content-type", "").startswith("multipart/form-data"):
            raise BadRequestError("The request is no form with a photo in it.", "Send it with curl -F photo=@a.jpg.")
        async with request.form(max_files=2, max_fields=MOST_FIELDS) as form:
            photo, mask = form.get("photo"), form.get("mask")
            if not isinstance(photo, UploadFile):
                raise BadRequestError("The form has no file of the name 'photo'.", "Send it with -F photo=@a.jpg.")
            given = {name: value for name, value in form.items() if isinstance(value, str)}
            stream: BinaryIO = photo.file
            upload = await run_in_threadpool(
                lambda: self._service.receive(stream, photo.filename, request.state.client, look=look)
            )
            if isinstance(mask, UploadFile):
                try:
                    await run_in_threadpool(self._service.draw, upload, await mask.read())
                except RestorerError:
                    self._service.forget(upload)
                    raise
        return upload, given

    def _accepted(self, job: Job) -> Response:
        place = f"/jobs/{job.identity}"
        links = {name: f"{place}/{name}" for name in ("events", "result", "record", "faces")}
        body = {**job.as_dict(), "links": {"self": place, **links, "photo": f"/photos/{job.upload.identity}"}}
        return JSONResponse(body, 202, {**PRIVATE, "Location": place})

    def _upload(self, request: Request) -> Upload:
        return self._service.album.get(request.path_params["photo"])
