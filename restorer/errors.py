"""Every error that this tool raises on purpose.

Each says what happened, to which file, why, and what to type next (`remedy`), and carries the facts as typed
attributes, so that nobody has to read a message to tell two errors apart. The command turns them into its exit code
and the record's `error` field; `kind` is the class name without "Error".
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self


class RestorerError(Exception):
    """Base of all errors of this package.

    Attributes:
        message: what happened, to what, and why; one or two sentences.
        remedy: what to type or do next; None where nothing can be done.
        exit_code: the exit code of the command when this error ends it.
        ends_run: whether no other photo would fare better, so that the run ends; otherwise the photo fails alone.
        retryable: whether it does not lie in the photo: a later run tries that photo again without being asked.
    """

    exit_code: int = 1
    ends_run: bool = False
    retryable: bool = False

    def __init__(self, message: str, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    @property
    def kind(self) -> str:
        """The class name without its last word, as it stands in records: `UnreadablePhoto`."""
        return type(self).__name__.removesuffix("Error")

    def __str__(self) -> str:
        return self.message

    def with_remedy(self, remedy: str | None) -> Self:
        """Return the same error, of the same class and with the same facts, with another remedy."""
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__, remedy=remedy)
        other.args = self.args
        other.__cause__, other.__suppress_context__ = self.__cause__, self.__suppress_context__
        return other.with_traceback(self.__traceback__)


class UsageError(RestorerError):
    """Raised when options or arguments do not make sense together; exit code 2."""

    exit_code = 2
    ends_run = True


class UnsuitableFormatError(UsageError):
    """Raised when one photo's result cannot be in the format that was asked for, or that its name tells."""

    ends_run = False


class UnknownOptionError(UsageError, TypeError):
    """Raised when `Restorer` is given an option that does not exist; `option` is its name."""

    def __init__(self, option: str, message: str, remedy: str | None = None) -> None:
        super().__init__(message, remedy)
        self.option = option


# ---------------------------------------------------------------------------------------------------------- photos


class PhotoError(RestorerError):
    """Base of errors that concern one photo; `path` names it (None for bytes)."""

    def __init__(self, path: Path | str | None, message: str, remedy: str | None = None) -> None:
        super().__init__(message, remedy)
        self.path = path


class UnreadablePhotoError(PhotoError):
    """Raised when a file is no picture, is empty, truncated or of an unknown kind."""


class MissingSupportError(PhotoError):
    """Raised when a picture needs a package that is not installed (pi-heif to read HEIC, pillow-heif to write it)."""

    retryable = True


class PhotoTooLargeError(PhotoError):
    """Raised before the work when the result's size is beyond what the output format can hold."""


class OutputExistsError(PhotoError):
    """Raised when the output is there already and was not made by the same input, options and model."""

    retryable = True


class UnwritableOutputError(PhotoError):
    """Raised when the output cannot be written: no permission, a full disk, a folder in its place."""

    retryable = True


class FaceNotRestoredError(PhotoError):
    """Raised when a face that was to be restored was not; `faces` holds their numbers, `reasons` one text each."""

    def __init__(
        self,
        path: Path | str | None,
        message: str,
        remedy: str | None = None,
        *,
        faces: Iterable[int] = (),
        reasons: Iterable[str] = (),
    ) -> None:
        super().__init__(path, message, remedy)
        self.faces = tuple(faces)
        self.reasons = tuple(reasons)


# --------------------------------------------------------------------------------------------------------- weights


class WeightsError(RestorerError):
    """Base of everything that goes wrong with weights; exit code 3. `table` names the weights.toml table."""

    exit_code = 3
    ends_run = True

    def __init__(self, table: str, message: str, remedy: str | None = None) -> None:
        super().__init__(message, remedy)
        self.table = table


class UnknownTableError(WeightsError):
    """Raised when no weights.toml has a table of that name; `suggestions` are the nearest names. Exit code 2."""

    exit_code = 2

    def __init__(self, table: str, message: str, remedy: str | None = None, *, suggestions: Iterable[str] = ()) -> None:
        super().__init__(table, message, remedy)
        self.suggestions = tuple(suggestions)


class InvalidTableError(WeightsError):
    """Raised when a weights.toml cannot be read, or a table lacks a field or holds a wrong one."""


class WeightsUnavailableError(WeightsError):
    """Raised when weights are neither cached nor reachable; `attempts` holds a (source, reason) for each source."""

    def __init__(
        self, table: str, message: str, remedy: str | None = None, *, attempts: Iterable[tuple[str, str]] = ()
    ) -> None:
        super().__init__(table, message, remedy)
        self.attempts = tuple(attempts)


class HashMismatchError(WeightsError):
    """Raised when a file's sha256 is not the table's; both are attributes."""

    def __init__(
        self, table: str, message: str, remedy: str | None = None, *, expected: str = "", actual: str = ""
    ) -> None:
        super().__init__(table, message, remedy)
        self.expected = expected
        self.actual = actual


class NotEnoughDiskError(WeightsError):
    """Raised before a download that the disk cannot hold; bytes needed and free."""

    def __init__(self, table: str, message: str, remedy: str | None = None, *, needed: int = 0, free: int = 0) -> None:
        super().__init__(table, message, remedy)
        self.needed = needed
        self.free = free


class UnsafeCheckpointError(WeightsError):
    """Raised when a checkpoint holds anything but tensors and plain values; nothing in it was executed."""


class CheckpointLayoutError(WeightsError):
    """Raised when keys or shapes are not those of the architecture; the first few are in the message."""


# --------------------------------------------------------------------------------------------------------- running


class DeviceUnavailableError(UsageError):
    """Raised when the device or precision asked for is not there."""


class MissingPackageError(RestorerError):
    """Raised when a command needs a package that is not installed, or cannot be; `package` names it."""

    ends_run = True

    def __init__(self, package: str, message: str, remedy: str | None = None) -> None:
        super().__init__(message, remedy)
        self.package = package


class OutOfMemoryError(RestorerError):
    """Raised when the memory of a device does not suffice, not even for one item; names device and network."""

    def __init__(self, device: str, network: str, reason: str) -> None:
        super().__init__(
            f"The memory of {device} does not suffice for {network}: {reason}",
            "Close other programs, or use a smaller --tile, --batch-size or --scale, or another --device.",
        )
        self.device = device
        self.network = network


class InterruptedRunError(RestorerError):
    """Raised when the user interrupts; exit code 130."""

    exit_code = 130
    ends_run = True
