"""Every error that this tool raises on purpose.

Each says what happened, to which file, why, and what to type next (`remedy`), and carries the facts as typed
attributes, so that nobody has to read a message to tell two errors apart. The command turns them into its exit code
and the record's `error` field; `kind` is the class name without "Error".

Messages are written with options as they are typed, `--min-face 40`. Whoever calls from Python reads `min_face=40`
instead: `worded` is the one place where that is changed, `command_words` what the command works within.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

# ------------------------------------------------------------------------------------------------------ whose words

SWITCHES: set[str] = {"overwrite"}
"""Options that are True or False, as Python names them; `restorer.options` adds its own."""
VALUES: set[str] = {"png", "jpg", "webp", "tiff", "bmp", "heic", "tiny"}
"""Words that are values of options; `restorer.options` adds its own."""

NAMES: dict[str, str] = {}
"""Python's names of options that are typed by another one; `restorer.options` adds them."""

_OPTION = re.compile(r"(?<![\w-])--(?P<name>[a-z][a-z0-9-]*[a-z0-9])(?:[ =](?P<value>[^\s;()]*[^\s;:(),.]))?")
_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d+)?(?:e[-+]?\d+)?|inf|nan)")
_VERBS = frozenset(["asks", "compares", "goes", "has", "is", "must", "needs", "prints", "reads", "shows"])
_CONTROL = re.compile("[\\x00-\\x09\\x0b-\\x1f\\x7f-\\x9f\\u2028-\\u202e\\u2066-\\u2069\\ud800-\\udfff]")
_OF_THE_COMMAND = (
    (re.compile(r"another -o or --name|another -o\b"), "another name"),
    (re.compile(r" (?:to |with )-o or --name| with -o(?! \S*[A-Z.])"), ""),
    (re.compile(r"Run it alone with -v, which shows"), 'Let the logger "restorer" show DEBUG, which tells'),
    (re.compile(r"\btrue or false\b"), "True or False"),
)
"""What only the command has, and what stands in its place."""


class _Speaker:
    """Counts who is at work within the command's words; they hold for the whole process, whose threads share them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0

    def add(self, number: int) -> None:
        with self._lock:
            self._users += number

    @property
    def is_command(self) -> bool:
        return self._users > 0


_speaker = _Speaker()


@contextmanager
def command_words() -> Iterator[None]:
    """Let errors and warnings name options as they are typed, not as Python has them, while this is entered."""
    _speaker.add(1)
    try:
        yield
    finally:
        _speaker.add(-1)


def harmless(text: str) -> str:
    """Return a text that a file's name or a decoder stands in, with control codes and turns of the writing escaped."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def worded(text: str) -> str:
    """Return a text about options in the words of whoever reads it, the command's or Python's, and harmless.

    Args:
        text: in the command's words; what stands in backticks is to be typed into a shell, and stays as it is.
    """
    text = harmless(text)
    if _speaker.is_command:
        return text
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else _in_python(part) for part in parts)


def _in_python(text: str) -> str:
    for pattern, instead in _OF_THE_COMMAND:
        text = pattern.sub(instead, text)
    text = _OPTION.sub(_assignment, text)
    return re.sub(r"(=[\w.\"-]+) (?=[a-z_]+=)", r"\1, ", text)


def _assignment(found: re.Match[str]) -> str:
    """Return an option as Python has it, with the value that stood behind it where it was one."""
    name, value = found["name"].replace("-", "_"), found["value"]
    name = NAMES.get(name, name)
    positive = name.removeprefix("no_")
    if positive in SWITCHES and value not in _VERBS:
        return f"{positive}={name == positive}" + (f" {value}" if value else "")
    if not value:
        return name
    if _NUMBER.fullmatch(value):
        return f"{name}={value}"
    if value in VALUES or re.search(r"[\d/\\]|\w-\w", value):
        return f'{name}="{value}"'
    return f"{name} {value}"


# ------------------------------------------------------------------------------------------------------------- base


class RestorerError(Exception):
    """Base of all errors of this package.

    Attributes:
        message: what happened, to what, and why; one or two sentences.
        remedy: what to type or do next; None where nothing can be done.
        exit_code: the exit code of the command when this error ends it.
        ends_run: whether no other photo would fare better, so that the run ends; otherwise the photo fails alone.
        retryable: whether it does not lie in the photo: a later run tries that photo again without being asked.
        cause: what other photos of a run fail by as well, in words that are the same for all; None = it is this one's.
    """

    exit_code: int = 1
    ends_run: bool = False
    retryable: bool = False
    cause: str | None = None

    def __init__(self, message: str, remedy: str | None = None) -> None:
        self.message = worded(message)
        self.remedy = None if remedy is None else worded(remedy)
        super().__init__(self.message)

    @property
    def kind(self) -> str:
        """The class name without its last word, as it stands in records: `UnreadablePhoto`."""
        return type(self).__name__.removesuffix("Error")

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        """Let it go to another process as it is, whatever its class is made with."""
        return _rebuilt, (type(self), self.args, self.__dict__)

    def with_remedy(self, remedy: str | None) -> Self:
        """Return the same error, of the same class and with the same facts, with another remedy."""
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__, remedy=None if remedy is None else worded(remedy))
        other.args = self.args
        other.__cause__, other.__suppress_context__ = self.__cause__, self.__suppress_context__
        return other.with_traceback(self.__traceback__)


def _rebuilt(kind: type[RestorerError], args: tuple[Any, ...], facts: dict[str, Any]) -> RestorerError:
    """Return an error that came from another process."""
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(facts)
    return error


class UsageError(RestorerError):
    """Raised when options or arguments do not make sense together; exit code 2."""

    exit_code = 2
    ends_run = True


class UnsuitableFormatError(UsageError):
    """Raised when one photo's result cannot be in the format that was asked for, or that its name tells."""

    ends_run = False


class OptionError(UsageError):
    """Base of errors about one option; `option` is its name, as Python has it."""

    def __init__(self, option: str, message: str, remedy: str | None = None) -> None:
        super().__init__(message, remedy)
        self.option = option


class UnknownOptionError(OptionError, TypeError):
    """Raised when `Restorer` is given an option that does not exist; the remedy suggests the nearest."""


class OptionTypeError(OptionError, TypeError):
    """Raised when an option's value is of another type; the remedy says how to write it."""


class OptionValueError(OptionError, ValueError):
    """Raised when an option's value is out of its range, or none of its words."""


class UnsuitablePhotoError(UsageError, TypeError):
    """Raised when what was given as a photo is none: an object of another type, an array of other shape or numbers."""

    ends_run = False


# ---------------------------------------------------------------------------------------------------------- photos


class PhotoError(RestorerError):
    """Base of errors that concern one photo; `path` names it (None for bytes)."""

    def __init__(self, path: Path | str | None, message: str, remedy: str | None = None) -> None:
        named = str(path).replace("\n", "\\n")  # one line, which the next cannot be taken for another message
        super().__init__(message.replace(str(path), named), remedy)
        self.path = path


class UnreadablePhotoError(PhotoError):
    """Raised when a file is no picture, is empty, truncated or of an unknown kind."""


class MissingSupportError(PhotoError):
    """Raised when a picture needs a package that is not installed (pi-heif to read HEIC, pillow-heif to write it)."""

    retryable = True


class PhotoTooLargeError(PhotoError):
    """Raised before the work when the result's size is beyond what the output format can hold."""


class NotEnoughMemoryError(PhotoError):
    """Raised before a photo is read that does not fit into this machine's memory, or when it does not while it is."""

    retryable = True


class OutputExistsError(PhotoError):
    """Raised when the output is there already and was not made by the same input, options and model."""

    retryable = True


class UnwritableOutputError(PhotoError):
    """Raised when the output cannot be written: no permission, a full disk, a folder in its place."""

    retryable = True


class StoreUnavailableError(PhotoError):
    """Raised when an object store does not answer, or refuses, however often it is asked."""

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


class ProcessKilledError(PhotoError):
    """Raised when a photo brought down the processes that restored it: by its memory, or by a crash in a library."""


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


class LicenseForbidsError(WeightsError):
    """Raised when weights that were named may not be used for what `license` asks for."""


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


class ClusterError(RestorerError):
    """Raised when a cluster cannot be joined, has no room for a worker, or is lost while it works."""

    ends_run = True


class ExportError(RestorerError):
    """Raised when a network cannot be written in another format, or does something else there; nothing is kept."""

    ends_run = True


class OutOfMemoryError(RestorerError):
    """Raised when the memory of a device does not suffice, not even for one item; names device and network."""

    retryable = True

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
