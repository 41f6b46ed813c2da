"""What a server says no to, each with the status that HTTP has for it, and with what to do instead.

They stand here, and not with the errors of photos, because only who speaks HTTP ever hears them.
"""

from __future__ import annotations

from typing import ClassVar

from restorer.errors import PhotoError, RestorerError, UsageError, WeightsError


class RefusalError(RestorerError):
    """Base of what a server refuses.

    Attributes:
        status: of HTTP.
        seconds: after which asking again may help; None = never.
    """

    status: ClassVar[int] = 400
    seconds: int | None = None


class BadRequestError(RefusalError):
    """Raised when a request is not as the interface says."""


class TokenRequiredError(RefusalError):
    """Raised when a request has no token, or a wrong one."""

    status = 401


class ForeignRequestError(RefusalError):
    """Raised when a request comes from another site, or was sent to a name that is not this server's."""

    status = 403


class UnknownThingError(RefusalError):
    """Raised when there is no photo or job of that number, or no longer."""

    status = 404


class NotReadyError(RefusalError):
    """Raised when a result is asked for that is not there yet, or never will be."""

    status = 409


class TooLargeError(RefusalError):
    """Raised when a file, or its picture, or the picture it would become, is beyond what the server takes."""

    status = 413


class BusyError(RefusalError):
    """Raised when as much is waiting as may wait; `seconds` says when to ask again."""

    status = 429

    def __init__(self, message: str, remedy: str, seconds: int) -> None:
        super().__init__(message, remedy)
        self.seconds = seconds


class ServerError(RestorerError):
    """Raised when the server itself did something wrong; what it was stands in its output."""


def status_of(error: RestorerError) -> int:
    """Return the status of HTTP that says what an error is about."""
    if isinstance(error, RefusalError):
        return error.status
    if isinstance(error, (UsageError, PhotoError)):
        return 422  # understood, and not possible with this photo or with these options
    return 503 if isinstance(error, WeightsError) else 500
