"""What is written down about one photo: the record of `--json`, of the journal and of `Result.record`."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from restorer.errors import PhotoError, RestorerError, UnreadablePhotoError, worded

_log = logging.getLogger(__name__)

NEEDS_NOTHING = "needs nothing"
"""The reason of a face that is good as it is; restoring it would only take detail away."""
NOTHING_TO_DO = "nothing to do"
"""The reason of a photo that came out as it went in."""


@dataclass(repr=False)
class FaceRecord:
    """One detected face, in pixels of the upright input photo.

    Attributes:
        box: x0, y0, x1, y1.
        landmarks: left eye, right eye, nose, left and right mouth corner, as seen in the picture.
        score: the detector's, 0 to 1.
        wanted: whether it was to be restored; not part of the JSON form.
        restored: whether the result shows its restored version.
        reason: why it was left alone or failed; None when it was restored.
        answers: of a search, how well each answer agrees with the photo: its seed, its error and the allowed one in
            levels of 255, whether it was met, the loss, the step that found it, how many were taken, what stopped it;
            and where they were compared, "by" what ("references" or "photo") and the "nearness" that they are
            ordered by, both None elsewhere.
        likeness: how like the face in the photo its restored version is, 0 to 1; None where they were not compared.
        fidelity: where several fidelities were tried, the one that was taken ("chosen"), what they were compared with
            ("by": "references", "photo", or "pixels" where no recogniser is at hand), and of each of the "tried" its
            "value", "nearness" (of pixels the negative distance in levels of 255) and "detail"; None elsewhere.
        reference: of a face that was compared with photos of people: whose it is (None = nobody's), the nearest photo,
            how near it was to that person before and after, -1 to 1, and whether it moved away from them; None where
            nothing was compared.
        adjusted: of a face that was restored in its own way, by --adjust: its "model", "strength" and "fidelity" as
            far as they were said; None for all others.
        pointed: of a face that the user pointed at, how it was found and is aligned, in words; None for all others.
        detector: of such a face, which detector saw its landmarks at a closer look; None for all others.
    """

    box: tuple[float, float, float, float]
    landmarks: tuple[tuple[float, float], ...]
    score: float
    wanted: bool = False
    restored: bool = False
    reason: str | None = None
    likeness: float | None = None
    fidelity: dict[str, Any] | None = None
    reference: dict[str, Any] | None = None
    answers: list[dict[str, Any]] = field(default_factory=list)
    pointed: str | None = None
    detector: str | None = None
    adjusted: dict[str, Any] | None = None

    def __repr__(self) -> str:
        box = ", ".join(f"{value:.0f}" for value in self.box)
        return f"FaceRecord({box}; score {self.score:.2f}; {'restored' if self.restored else self.reason})"

    def as_dict(self) -> dict[str, Any]:
        """Return the face as it stands in the record."""
        return {
            "box": [round(value, 2) for value in self.box],
            "landmarks": [[round(x, 2), round(y, 2)] for x, y in self.landmarks],
            "score": round(self.score, 4),
            "restored": self.restored,
            "reason": self.reason,
            "likeness": None if self.likeness is None else round(self.likeness, 4),
            "fidelity": None if self.fidelity is None else dict(self.fidelity),
            "reference": None if self.reference is None else dict(self.reference),
            "answers": [dict(answer) for answer in self.answers],
            "pointed": self.pointed,
            "detector": self.detector,
            "adjusted": None if self.adjusted is None else dict(self.adjusted),
        }


def nearness(reference: Mapping[str, Any]) -> str:
    """Return in words how near a face is to the references: "0.61 near grandma, 0.58 before"."""
    if reference["person"] is None:
        return f"nobody of the references ({reference['before']:.2f} near)"
    return f"{reference['after']:.2f} near {reference['person']}, {reference['before']:.2f} before"


def moved_away(record: Record) -> list[int]:
    """Return the numbers of the faces that moved away from their references."""
    faces = enumerate(record.faces, 1)
    return [number for number, face in faces if face.reference is not None and face.reference["moved_away"]]


DONE_EARLIER = (
    *("model", "detector", "clean", "background", "mask", "mask_name", "components", "scale"),
    *(
        "input_size",
        "output_size",
        "device",
        "engine",
        "networks",
        "precision",
        "faces",
        "repair",
        "tone",
        "colorize",
        "change",
    ),
)
"""Fields that the record of a photo which was found to be done has from the run that did it."""


@dataclass(repr=False)
class Record:
    """All that is said about one photo; `as_dict` gives the JSON form, whose values `record["model"]` gives too.

    Attributes:
        input: the photo's file as it was named, "-" for what has no name.
        output: the result's file; None as long as it is not written.
        status: "ok", "failed" or "skipped".
        model: the face restorer.
        detector: what found the faces; None where nothing looked for them.
        clean: what cleaned the photo first; None where nothing did.
        background: what enlarged the rest.
        mask: what decided how much of a face is pasted, by its former name.
        mask_name: the same, as a table or "landmarks".
        components: of each part that took part its "name", the first digits of its weights' "sha256" (None where there
            are no weights), and whether it was "named" by the user or chosen.
        scale: how many times larger the result is; None as long as nobody knows: with `--long-side` and its like each
            photo has its own.
        change: how far the result lies from the photo, in levels of 255, in the part of about a tenth of its width
            where that is most; None where they are of different shapes.
        input_size: (width, height) of the upright photo.
        output_size: (width, height) of the result.
        device: where networks ran, as torch names it.
        engine: what ran the face restorer's network, or where none ran, would have.
        networks: of each network that took part, by its table, what ran it and how: its "engine" and "precision", for
            torch the "device" and how "convolutions" are computed, in how many "layers", for others the "version", the
            "unit", how far it lay from torch when the two were compared; and where torch took the place of another, the
            "reason".
        precision: "fp32", "bf16" or "fp16".
        seconds: by stage.
        faces: every face that was found.
        warnings: what did not go as one may expect.
        error: kind, message and remedy of what the photo failed by; None where it did not.
        reason: why it was skipped, or not tried again.
        failed_before: whether it failed in an earlier run and was not tried again: that failure is no news.
        page: which page of its file the photo is, from 1, where pages were asked for.
        licenses: by the names of the weights that did the work, those licences that limit what the result is used for.
        retryable: whether a failure does not lie in the photo, so that any run tries it again; not in the JSON form.
        task: what faces were given, where that was more than being restored.
        prior: what was searched for them.
        variants: of several answers, the files behind the first.
        interrupted: whether the user ended a search, whose best so far is written before the run ends; not in the JSON
            form.
        earlier: what an earlier run left of its record, for a photo that is done already: the JSON form then has its
            figures and faces.
        print: of a scan that was split, the "number" of this print from 1, "of" how many, and its "corners" in pixels
            of the scan, from the upper left one clockwise.
        repair: what was mended in the print: whether anything was "done"; the waves of its "screen", with their period
            in pixels, angle in degrees and strength in levels of 255; which "finder" said where it is damaged, or
            "mask"; what filled it ("filler": a model or "splines"); the share that is "damaged"; of `auto` the "floor",
            a share below which nothing is filled, the "smallest" short side, in pixels, and, where it is reached, the
            share that is "confirmed" at half the size, which has to reach it as well; the file of the "mask" that
            was saved. None = nobody asked.
        tone: what was measured of the photo's tones: where the darkest and brightest places of each channel lie, the
            contrast that is left, whether the photo is of one tone, and the part of it inside a plain border that this
            was measured in; whether anything was "done", and then the "levels" that did it. None = nobody asked.
        colorize: whether colours were guessed ("done"), "by" which model and how strong ("strength"), that they are
            "guesses", or the "reason" why there are none. None = nobody asked.
        cause: what several photos fail by for the same reason; not in the JSON form.
        number: which photo of a run it is, from 0, where they end in another order than they stand in; None = the next
            one; not in the JSON form.
    """

    input: str
    output: str | None = None
    status: str = "ok"
    model: str = "none"
    detector: str | None = None
    clean: str | None = None
    background: str | None = None
    mask: str | None = None
    mask_name: str | None = None
    components: dict[str, dict[str, Any]] = field(default_factory=dict)
    scale: float | None = None
    change: float | None = None
    input_size: tuple[int, int] | None = None
    output_size: tuple[int, int] | None = None
    device: str | None = None
    engine: str | None = None
    networks: dict[str, dict[str, Any]] = field(default_factory=dict)
    precision: str | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    faces: list[FaceRecord] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    licenses: dict[str, str] = field(default_factory=dict)
    error: dict[str, str | None] | None = None
    reason: str | None = None
    failed_before: bool = False
    earlier: Mapping[str, Any] | None = None
    retryable: bool = False
    task: str | None = None
    prior: str | None = None
    variants: list[str] = field(default_factory=list)
    interrupted: bool = False
    page: int | None = None
    print: dict[str, Any] | None = None
    repair: dict[str, Any] | None = None
    tone: dict[str, Any] | None = None
    colorize: dict[str, Any] | None = None
    cause: str | None = None
    number: int | None = None

    @contextmanager
    def capturing(self, source: Path | str | None = None) -> Iterator[None]:
        """Turn an error that concerns this photo alone into its failure, whatever raised it.

        Args:
            source: the photo, for messages; None = bytes.

        Raises:
            RestorerError: one that ends a run (`RestorerError.ends_run`): no other photo would fare better.
            BrokenPipeError: whoever reads what is written has gone.
        """
        try:
            yield
        except RestorerError as error:
            if error.ends_run:
                raise
            self.fail(error)
        except BrokenPipeError:  # whoever reads our output has gone, which is no fault of the photo
            raise
        except Exception as error:  # noqa: BLE001 - whatever a library raises; the reason goes into the record
            named = source if source is not None else "The photo"
            _log.debug("%s", named, exc_info=True)
            if self.input_size is None and isinstance(error, OSError):  # it vanished, or cannot be opened
                reason = f"{named} cannot be read: {error.strerror or error}."
                self.fail(UnreadablePhotoError(source, reason, "Check the file and its folder."))
            else:
                reason = f"{named} could not be restored: {type(error).__name__}: {error}."
                self.fail(PhotoError(source, reason, "Run it alone with -v, which shows where this happened."))

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time spent inside to a stage."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - begin

    def warn(self, *lines: str | None) -> None:
        """Add warnings that are not there yet."""
        told = dict.fromkeys(worded(line) for line in lines if line)
        self.warnings.extend(line for line in told if line not in self.warnings)

    def fail(self, error: RestorerError) -> None:
        """Mark the photo as failed, and by what."""
        self.status = "failed"
        self.output = None
        self.retryable = error.retryable
        self.cause = error.cause
        self.error = {"kind": error.kind, "message": error.message, "remedy": error.remedy}

    def __repr__(self) -> str:
        restored = sum(face.restored for face in self.faces)
        done = f"{restored} of {len(self.faces)} faces by {self.model}" if self.error is None else self.error["kind"]
        warned = f", {len(self.warnings)} warnings" if self.warnings else ""
        return f"Record({self.input!r}, {self.status}: {done}{warned})"

    def __getitem__(self, name: str) -> Any:
        """Return a value by the name that it has in the JSON form."""
        return self.as_dict()[name]

    def keys(self) -> Iterable[str]:
        """Return the names of the JSON form, so that `dict(record)` is that form."""
        return self.as_dict().keys()

    def as_dict(self) -> dict[str, Any]:
        """Return plain values in the order of the documentation."""
        told = self._own()
        if self.earlier is not None:
            told |= {name: self.earlier[name] for name in DONE_EARLIER if self.earlier.get(name) is not None}
            told["earlier"] = {name: self.earlier.get(name) for name in ("seconds", "time", "warnings")}
        return told

    def _own(self) -> dict[str, Any]:
        return {
            "input": self.input,
            "output": self.output,
            "status": self.status,
            "model": self.model,
            "detector": self.detector,
            "clean": self.clean,
            "background": self.background,
            "mask": self.mask,
            "mask_name": self.mask_name,
            "components": self.components,
            "scale": self.scale,
            "input_size": list(self.input_size) if self.input_size else None,
            "output_size": list(self.output_size) if self.output_size else None,
            "device": self.device,
            "engine": self.engine,
            "networks": self.networks,
            "precision": self.precision,
            "change": None if self.change is None else round(self.change, 2),
            "seconds": {stage: round(seconds, 4) for stage, seconds in self.seconds.items()},
            "faces": [face.as_dict() for face in self.faces],
            "warnings": list(self.warnings),
            "licenses": dict(self.licenses),
            "page": self.page,
            "print": self.print,
            "repair": self.repair,
            "tone": self.tone,
            "colorize": self.colorize,
            "error": self.error,
            "reason": self.reason,
            "failed_before": self.failed_before,
            "task": self.task,
            "prior": self.prior,
            "variants": list(self.variants),
            "earlier": None,
        }
