"""`restore try`: one face, restored by several models and strengths, on one contact sheet to choose from."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from restorer import weights
from restorer.errors import PhotoError
from restorer.faces import align, crops
from restorer.formatting import command_line, duration
from restorer.models import REGISTRY
from restorer.models.base import Face, FaceArchitecture
from restorer.models.searching import SearchArchitecture
from restorer.models.templates import FACEXLIB
from restorer.options import Options, declared
from restorer.photo import Photo
from restorer.pipeline import choice as choices
from restorer.pipeline.restorer import Restorer
from restorer.weights import Table

if TYPE_CHECKING:
    from restorer.faces.likeness import Likeness
    from restorer.pipeline.components import Components

AROUND = 2.0
"""How much of the photo is restored with a face, in sides of its box around it: all that its crop may show."""
SHOWN = 1.7
"""Side of what a tile shows, in sides of the face's box."""
TILE, GAP, HEAD, FOOT = 380, 26, 76, 138
"""Pixels: side of a tile, room between tiles, above them, and below each for its words."""
FACE_STEPS = ("align", "restore", "mask", "paste")
_INK, _GREY = "#111111", "#555555"


@dataclass(frozen=True)
class Way:
    """One way to restore a face.

    Attributes:
        model: a table's name, or a file.
        strength: how much of the restored face is blended in.
        fidelity: None = the model's own, or it has none.
    """

    model: str
    strength: float
    fidelity: float | None = None

    def __str__(self) -> str:
        told = "" if self.fidelity is None else f", fidelity {self.fidelity:g}"
        return f"{self.model}{told}, strength {self.strength:g}"


@dataclass(frozen=True)
class Tried:
    """What one way made of a face.

    Attributes:
        face: its number in the photo.
        way: how.
        picture: (TILE, TILE, 3) uint8 of the face in the result; None where it could not be restored.
        likeness: how like the face of the photo it is, 0 to 1; None where nothing compares them.
        seconds: that the face took, of the network and of putting it back.
        command: what to type for the whole photo.
        problem: why it could not be restored.
    """

    face: int
    way: Way
    picture: np.ndarray | None
    likeness: float | None
    seconds: float
    command: str
    problem: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        alike = None if self.likeness is None else round(self.likeness, 4)
        told = {"face": self.face, "model": self.way.model, "strength": self.way.strength}
        told |= {"fidelity": self.way.fidelity, "likeness": alike, "seconds": round(self.seconds, 4)}
        return {**told, "command": self.command, "problem": self.problem}


# ------------------------------------------------------------------------------------------------------------- ways


def at_hand() -> list[str]:
    """Return the face restorers that are on this machine and find faces in any photo; searches are left out: slow."""
    names = []
    for name, table in weights.tables().items():
        architecture = REGISTRY.get(table.architecture)
        if not isinstance(architecture, FaceArchitecture) or isinstance(architecture, SearchArchitecture):
            continue
        if not table.tasks and choices.crop_of(table).template is not None and is_here(table):
            names.append(name)
    return names


def is_here(table: Table) -> bool:
    """Whether a table's weights are on this machine."""
    return table.builtin or weights.cached(table) is not None


def likeness_at_hand(components: Components) -> Likeness | None:
    """Return what compares faces where its weights are on this machine; None where they are not."""
    tables = weights.tables()
    return components.likeness() if is_here(tables[choices.recogniser(tables)]) else None


def ways(models: Sequence[str], strengths: Sequence[float], fidelities: Sequence[float] = ()) -> list[Way]:
    """Return all combinations; a model without fidelity gets none.

    Raises:
        UnknownTableError: there is no model of that name.
    """
    found = []
    for model in models:
        has = "fidelity" in choices.controls(weights.resolve(model))
        for fidelity in fidelities if has and fidelities else (None,):
            found += [Way(model, strength, fidelity) for strength in strengths]
    return found


# ----------------------------------------------------------------------------------------------------------- making


class Trial:
    """Tries ways on faces of one photo.

    Args:
        photo: it.
        source: its file, as it is typed.
        options: of all tries; model, strength and fidelity are the ways'. Nothing is downloaded.
        likeness: compares faces; None = nothing does.
        boxes: faces that the user points at, as they are typed; what decides which faces there are, decides their
            numbers.
    """

    def __init__(
        self, photo: Photo, source: str, options: Options, likeness: Likeness | None, boxes: Sequence[str] = ()
    ) -> None:
        self._photo, self._source, self._boxes = photo, source, boxes
        self._options = replace(options, offline=True)
        self._likeness = likeness

    def run(self, faces: dict[int, Face], several: Sequence[Way], tell: Callable[[Tried], None]) -> list[Tried]:
        """Return what each way makes of each face, face by face.

        Args:
            faces: by their numbers in the photo.
            several: the ways.
            tell: hears of each as soon as it is done.

        Raises:
            UsageError: a way makes no sense, such as a model that needs aligned crops.
            WeightsError: weights are missing or not verified.
        """
        found: list[Tried] = []
        for number, face in faces.items():
            for way in several:
                found.append(self._tried(number, face, way))
                tell(found[-1])
        return found

    def original(self, face: Face) -> np.ndarray:
        """Return the tile of the photo as it is."""
        return tile(self._photo.pixels, face.box)

    def _tried(self, number: int, face: Face, way: Way) -> Tried:
        options = replace(
            self._options, model=way.model, strength=way.strength, fidelity=way.fidelity, min_face=None
        )  # the face was chosen: its size is no reason any more
        command = self._command(number, way)
        part, moved = cut(self._photo, face)
        try:
            result = Restorer(**options.values()).restore(part, faces=[moved])
        except PhotoError as error:
            return Tried(number, way, None, None, 0.0, command, error.message)
        scale = result.image.shape[1] / part.size[0]
        picture = tile(result.image, tuple(edge * scale for edge in moved.box))
        seconds = sum(result.record.seconds.get(step, 0.0) for step in FACE_STEPS)
        return Tried(number, way, picture, self._alike(part.pixels, result.image, moved, scale), seconds, command)

    def _alike(self, before: np.ndarray, after: np.ndarray, face: Face, scale: float) -> float | None:
        """Return how like the photo's face the result's is, as it was blended in."""
        if self._likeness is None:
            return None
        matrices = [align.estimate(face.landmarks * by, FACEXLIB, 512.0) for by in (1.0, scale)]
        if matrices[0] is None or matrices[1] is None:
            return None
        points = crops.relative(face.landmarks, matrices[0], 512)
        return self._likeness(align.extract(before, matrices[0], 512), align.extract(after, matrices[1], 512), points)

    def _command(self, number: int, way: Way) -> str:
        """Return the line that restores that face of the whole photo in that way."""
        words = ["restore", self._source, "--model", way.model]
        if way.fidelity is not None:
            words += ["--fidelity", f"{way.fidelity:g}"]
        if way.strength != Options.strength:
            words += ["--strength", f"{way.strength:g}"]
        words += ["--faces", str(number)]
        for box in self._boxes:
            words += ["--face", box]
        for name in ("scale", "background", "detector", "min_score", "min_face", "device", "engine", "precision"):
            option, value = declared(Options)[name], getattr(self._options, name)
            if value != option.default:
                words += [f"--{option.long}", f"{value:g}" if option.kind is float else str(value)]
        return command_line(words)


def cut(photo: Photo, face: Face) -> tuple[Photo, Face]:
    """Return the part of a photo around a face, as a photo, and the face in it."""
    x0, y0, x1, y1 = face.box
    room = AROUND * face.size
    left, top = max(int(x0 - room), 0), max(int(y0 - room), 0)
    rows = slice(top, min(int(np.ceil(y1 + room)), photo.size[1]))
    columns = slice(left, min(int(np.ceil(x1 + room)), photo.size[0]))
    alpha = None if photo.alpha is None else photo.alpha[rows, columns].copy()
    part = replace(photo, pixels=photo.pixels[rows, columns].copy(), alpha=alpha, warnings=[])
    moved = replace(
        face,
        box=(x0 - left, y0 - top, x1 - left, y1 - top),
        landmarks=face.landmarks - np.array([left, top], np.float32),
    )
    return part, moved


def tile(pixels: np.ndarray, box: tuple[float, ...]) -> np.ndarray:
    """Return a face with what is around it, (TILE, TILE, 3) uint8; moved inwards at the edges of the picture."""
    eight = pixels if pixels.dtype == np.uint8 else np.rint(pixels / 257).astype(np.uint8)
    picture = Image.fromarray(eight)
    side = min(SHOWN * max(box[2] - box[0], box[3] - box[1]), picture.width, picture.height)
    left = min(max((box[0] + box[2] - side) / 2, 0), picture.width - side)
    top = min(max((box[1] + box[3] - side) / 2, 0), picture.height - side)
    area = (left, top, left + side, top + side)
    return np.asarray(picture.resize((TILE, TILE), Image.Resampling.LANCZOS, box=area))


# ------------------------------------------------------------------------------------------------------------ sheet


def sheet(title: str, originals: dict[int, np.ndarray], tried: Sequence[Tried]) -> np.ndarray:
    """Return the contact sheet (h, w, 3) uint8: a row for each face, model and fidelity, the photo first.

    Args:
        title: what stands above, such as the photo's name.
        originals: tiles of the photo as it is, by the numbers of the faces.
        tried: what was made of them.
    """
    rows = list(_rows(tried))
    columns = 1 + max(len(row) for row in rows)
    wide = GAP + columns * (TILE + GAP)
    page = Image.new("RGB", (wide, HEAD + len(rows) * (TILE + FOOT) + GAP), "white")
    draw = ImageDraw.Draw(page)
    draw.text((GAP, 22), title, fill=_INK, font=_font(30))
    for number, row in enumerate(rows):
        top = HEAD + number * (TILE + FOOT)
        face = row[0].face
        page.paste(Image.fromarray(originals[face]), (GAP, top))
        _words(draw, GAP, top + TILE, f"the photo{f', face {face}' if len(originals) > 1 else ''}", "as it is", "")
        for column, each in enumerate(row, 1):
            left = GAP + column * (TILE + GAP)
            if each.picture is None:
                draw.rectangle((left, top, left + TILE - 1, top + TILE - 1), outline=_GREY)
                _wrapped(draw, left + 14, top + 14, each.problem or "", 18, 40, 8)
            else:
                page.paste(Image.fromarray(each.picture), (left, top))
            _words(draw, left, top + TILE, str(each.way), _figures(each), each.command)
    return np.asarray(page)


def _rows(tried: Sequence[Tried]) -> Iterator[list[Tried]]:
    """Yield what was tried, one list for each face, model and fidelity."""
    found: dict[tuple[int, str, float | None], list[Tried]] = {}
    for each in tried:
        found.setdefault((each.face, each.way.model, each.way.fidelity), []).append(each)
    yield from found.values()


def _figures(tried: Tried) -> str:
    alike = "" if tried.likeness is None else f"likeness {tried.likeness:.2f}, "
    return "" if tried.picture is None else f"{alike}{duration(tried.seconds)}"


def _words(draw: ImageDraw.ImageDraw, left: int, top: int, name: str, figures: str, command: str) -> None:
    draw.text((left, top + 8), name, fill=_INK, font=_font(20))
    draw.text((left, top + 34), figures, fill=_GREY, font=_font(18))
    _wrapped(draw, left, top + 62, command, 14, 52, 3)


def _wrapped(draw: ImageDraw.ImageDraw, left: int, top: int, text: str, size: int, width: int, most: int) -> None:
    """Write a text in lines of so many letters; what does not fit ends in dots."""
    for number, line in enumerate(textwrap.wrap(text, width, max_lines=most, placeholder=" ...")):
        draw.text((left, top + number * (size + 5)), line, fill=_INK, font=_font(size))


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
