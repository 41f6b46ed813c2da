"""Photos of the people in a photo: which files they are, the faces in them, and whose face another one is."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from restorer.errors import LicenseForbidsError, PhotoError, UsageError, WeightsError, WeightsUnavailableError
from restorer.photo import PICTURE_SUFFIXES, Photo, read_photo
from restorer.storage.digest import sha256_of

if TYPE_CHECKING:
    import numpy as np

    from restorer.faces.likeness import Likeness
    from restorer.faces.people import Person, Portrait
    from restorer.models.base import CropSpec, Detector
    from restorer.options import Options

TOGETHER = "reference"
"""What the person is called whose photos were named one by one."""
REMEMBERED = 4096
"""Photos whose faces are remembered in this process; those that were looked at first go."""
ALIGNED = 256
"""Side in pixels of the crop that a reference's face is embedded from."""

_FACES: OrderedDict[tuple[str, str, bool], tuple[Portrait, ...]] = OrderedDict()
_GUARD = threading.Lock()


def files_of(paths: Sequence[str]) -> dict[str, list[Path]]:
    """Return the photos of each person by name: each folder is a person, files named one by one are one together.

    Args:
        paths: photos and folders, which are looked through to the bottom.

    Raises:
        UsageError: there is no such file or folder, or a folder without photos.
    """
    found: dict[str, list[Path]] = {}
    for given in paths:
        path = Path(given).expanduser()
        if path.is_dir():
            photos = [each for each in sorted(path.rglob("*")) if _is_photo(each, path)]
            if not photos:
                raise UsageError(f"--reference {given}: there is no photo in that folder.", "Name another one.")
            found.setdefault(_free(path.resolve().name or str(path), found), []).extend(photos)
        elif path.is_file():
            found.setdefault(TOGETHER, []).append(path)
        else:
            raise UsageError(f"--reference {given}: there is no such file or folder.", "Check its name.")
    return {name: list(dict.fromkeys(photos)) for name, photos in found.items()}


def _is_photo(path: Path, top: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(top).parts)
    return not hidden and path.suffix.lower() in PICTURE_SUFFIXES and path.is_file()


def _free(name: str, taken: dict[str, list[Path]]) -> str:
    """Return the name of a folder, numbered where another folder has it."""
    number = 1
    while (free := name if number == 1 else f"{name} {number}") in taken:
        number += 1
    return free


@dataclass(frozen=True)
class References:
    """The photos of a run's people, before anything is looked for in them.

    Attributes:
        files: by person.
        hashes: sha256 of each file.
    """

    files: dict[str, list[Path]]
    hashes: dict[Path, str]

    @classmethod
    def of(cls, paths: Sequence[str]) -> References:
        """Return what options name.

        Raises:
            UsageError: there is no such file or folder, no photo in it, or it cannot be read.
        """
        files = files_of(paths)
        try:
            hashes = {path: sha256_of(path) for photos in files.values() for path in photos}
        except OSError as error:
            message = f"The reference {error.filename} cannot be read: {error.strerror or error}."
            raise UsageError(message, "Check its permissions, or leave it out.") from error
        return cls(files, hashes)

    def fingerprint(self) -> list[list[str]]:
        """Return what tells these references from others: the content of each person's photos, whatever their names."""
        return sorted(sorted({self.hashes[path] for path in photos}) for photos in self.files.values())

    def words(self) -> str:
        """Return how many there are: "5 photos of grandma, 2 of grandpa"."""
        parts = [f"{len(photos)} {'photos' if len(photos) > 1 else 'photo'} of {n}" for n, photos in self.files.items()]
        return ", ".join(parts)


class People:
    """The people of a run.

    Args:
        persons: with their portraits.
        likeness: what compares faces; None where no recogniser is at hand.
        lines: what is to be said of the references, each once a run.
        absent: why no recogniser is at hand, in a line; None where one is.
    """

    def __init__(
        self, persons: Sequence[Person], likeness: Likeness | None, lines: Sequence[str], absent: str | None
    ) -> None:
        self.persons, self.likeness, self.lines, self.absent = tuple(persons), likeness, tuple(lines), absent
        self._crops: dict[tuple[str, int], tuple[np.ndarray, np.ndarray]] = {}
        self._guard = threading.Lock()

    def portrait(self, portrait: Portrait, spec: CropSpec) -> tuple[np.ndarray, np.ndarray]:
        """Return the face of a portrait as a model takes it, (s, s, 3) in [0, 1], and its points (5, 2).

        Raises:
            PhotoError: the photo cannot be read any more.
        """
        key = portrait.sha256, spec.input_size
        with self._guard:
            if key not in self._crops:
                self._crops[key] = aligned(read_photo(portrait.path), portrait.landmarks, spec)
            return self._crops[key]


class Means(Protocol):
    """What `people_of` needs of a run's components."""

    options: Options
    given: Any

    def detector(self) -> Detector: ...
    def recogniser(self) -> Likeness: ...
    def detector_table(self) -> Any: ...
    def likeness_hash(self) -> str | None: ...
    def warn_once(self, line: str | None) -> None: ...


def people_of(components: Means, references: References) -> People:
    """Return the people of a run's references, and say what is doubtful about them.

    Raises:
        UsageError: no photo of a person shows a face.
        WeightsUnavailableError: nothing compares faces, and the options forbid to go without.
    """
    options, likeness, absent = components.options, None, None
    try:
        likeness = components.recogniser()
    except (WeightsUnavailableError, LicenseForbidsError) as error:
        if not options.fallback:
            raise
        absent = absence(error)
    detector, looked = components.detector(), ""
    if components.given.detector is None:
        table = getattr(getattr(detector, "network", None), "table", None) or components.detector_table()
        looked = f"{table.wanted_hash} {options.min_score} {options.min_face} {components.likeness_hash()}"
    found = meet(references, detector, likeness, looked, absent)
    for line in (*found.lines, absent):
        components.warn_once(line)
    return found


def meet(
    references: References, detector: Detector, likeness: Likeness | None, looked: str, absent: str | None = None
) -> People:
    """Return the people of reference photos, whose faces are found, aligned and embedded; once a process for each.

    Args:
        references: the photos.
        detector: finds faces.
        likeness: compares them; None where no recogniser is at hand.
        looked: what tells this detector and recogniser from others; "" = nothing is remembered.
        absent: why there is no recogniser.

    Raises:
        UsageError: no photo of a person shows a face.
    """
    from restorer.faces import people

    persons: list[Person] = []
    lines: list[str] = []
    for name, photos in references.files.items():
        found = {}
        for path in photos:
            try:
                found[path] = _faces(path, references.hashes[path], detector, likeness, looked)
            except PhotoError as error:
                lines.append(f"A reference was passed over: {error.message}")
        try:
            person, doubts = people.choose(found, name)
        except ValueError as error:
            raise UsageError(
                f"--reference: {error}.", "Give photos in which the face is seen well, at least 40 pixels wide."
            ) from error
        persons.append(person)
        lines += doubts
    return People(persons, likeness, lines, absent)


def _faces(path: Path, sha256: str, detector: Detector, likeness: Likeness | None, looked: str) -> tuple[Portrait, ...]:
    key = (sha256, looked, likeness is not None)
    with _GUARD:
        if looked and key in _FACES:
            return tuple(replace(each, path=path) for each in _FACES[key])
    found = _look(path, sha256, detector, likeness)
    if looked:
        with _GUARD:
            _FACES[key] = found
            while len(_FACES) > REMEMBERED:
                _FACES.popitem(last=False)
    return found


def _look(path: Path, sha256: str, detector: Detector, likeness: Likeness | None) -> tuple[Portrait, ...]:
    """Return the faces of a photo that can be aligned."""
    from restorer.faces import people
    from restorer.models.base import CropSpec
    from restorer.models.templates import FACEXLIB

    photo = read_photo(path)
    found = []
    for face in detector.detect(photo.pixels):
        try:
            crop, points = aligned(photo, face.landmarks, CropSpec(ALIGNED, ALIGNED, ALIGNED, FACEXLIB))
        except ValueError:  # hardly a face
            continue
        embedding = None if likeness is None else likeness.embedding(crop, points)
        size = max(face.box[2] - face.box[0], face.box[3] - face.box[1])
        found.append(people.Portrait(path, sha256, face.landmarks, size, embedding))
    return tuple(found)


def aligned(photo: Photo, landmarks: np.ndarray, spec: CropSpec) -> tuple[np.ndarray, np.ndarray]:
    """Return a face of a photo as a model takes it, in sRGB, and its landmarks as shares of the crop's side.

    Raises:
        ValueError: the landmarks allow no alignment.
    """
    from restorer.faces import align, crops

    assert spec.template is not None
    matrix = align.estimate(landmarks, spec.template, spec.align_size)
    if matrix is None:
        raise ValueError("the landmarks allow no alignment")
    crop = crops.crop_of(photo.pixels, matrix, spec)
    colours = _colours(photo)
    return (crop if colours is None else colours.seen(crop)), crops.relative(landmarks, matrix, spec.align_size)


def _colours(photo: Photo) -> Any:
    """Return what a photo's values mean; None for sRGB, and for a profile that cannot be used."""
    from restorer.imaging.icc import UnusableProfileError
    from restorer.imaging.profiles import colours_of
    from restorer.photo.color import profile_meant

    profile = profile_meant(photo)
    try:
        return None if profile is None else colours_of(profile)
    except UnusableProfileError:
        return None


def absence(error: WeightsError, what: str = "Nothing compares faces with their references") -> str:
    """Return the line about a recogniser that cannot be had, or may not be used, and what follows from that."""
    line = f"{what}: {error.message.rstrip('.')}."
    if isinstance(error, LicenseForbidsError):
        return line
    pull = f"`restore models pull {error.table} --accept-license`"
    return f"{line} {pull} gets what does (4 MB), if you accept its terms."
