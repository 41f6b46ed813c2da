"""One photo on the page: the slider, the faces, what was done, and what went wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from markupsafe import Markup

from restorer.formatting import duration
from restorer.pipeline.stages import steps
from restorer.record import NEEDS_NOTHING, NOTHING_TO_DO, nearness
from restorer.report.previews import Picture, Preview, Sizes, around
from restorer.report.templates import render

LEAST_WIDTH = 480
"""CSS pixels that a slider is wide where there is room, however small the photo."""

STAGES = {"read": "reading", **{step.name: step.words for step in steps()}, "write": "writing"}
"""What the parts of a record's `seconds` are called; others go by their own name."""


@dataclass(frozen=True)
class Pictures:
    """What is there to show of a photo.

    Attributes:
        before: the photo, None where it cannot be read.
        after: the result, None where there is none.
        problem: why one of them is missing although it should be there.
        others: of several answers, those behind the first.
    """

    before: Picture | None = None
    after: Picture | None = None
    problem: str | None = None
    others: tuple[Picture, ...] = ()


def article(number: int, record: Mapping[str, Any], pictures: Pictures, sizes: Sizes) -> Markup:
    """Return the part of the page about one photo.

    Args:
        number: counts the photos of the page from 1; the part's address is `#photo-NUMBER`.
        record: as `Record.as_dict` gives it; fields that are missing are passed over.
        pictures: before and after.
        sizes: of the previews.
    """
    path = str(record.get("input") or "-")
    folder, name = str(PurePath(path).parent), PurePath(path).name or path
    before = pictures.before.whole(sizes) if pictures.before else None
    after = pictures.after.whole(sizes) if pictures.after else None
    faces = _faces(record, pictures, sizes)
    return render(
        "article.html",
        number=number,
        name=name,
        folder=folder if folder != "." else None,
        status=record.get("status", "ok"),
        status_words=status_words(record),
        why=record.get("why"),
        error=_error(record.get("error")),
        before=before,
        after=after,
        width=max(after.width, LEAST_WIDTH) if after else None,
        ratio=f"{after.width / after.height:.5f}" if after else None,
        problem=pictures.problem,
        answers=_answers(record, pictures, sizes),
        faces=faces,
        more_faces=len(record.get("faces") or ()) - len(faces),
        warnings=[*((record.get("earlier") or {}).get("warnings") or ()), *(record.get("warnings") or ())],
        facts=_facts(record),
        times=_times(record),
    )


def status_words(record: Mapping[str, Any]) -> str:
    """Return in a line what became of a photo."""
    status = record.get("status")
    if status == "failed":
        return "Failed"
    words = [f"Skipped: {record.get('reason') or 'nothing was to be done'}" if status == "skipped" else "Restored"]
    if status == "ok" and record.get("reason") == NOTHING_TO_DO:
        words = ["Nothing to do: it is as it was"]
    faces = record.get("faces") or ()
    restored = sum(bool(face.get("restored")) for face in faces)
    done = status == "ok" or record.get("earlier") is not None
    if done and record.get("model") not in (None, "none"):
        words.append(f"{restored} face{'' if restored == 1 else 's'} by {record['model']}")
        if fine := sum(face.get("reason") == NEEDS_NOTHING for face in faces):
            words.append(f"{fine} {'needs' if fine == 1 else 'need'} nothing")
        if left := len(faces) - restored - fine:
            words.append(f"{left} left as {'it was' if left == 1 else 'they were'}")
    if record.get("output_size"):
        words.append(f"{_size(record.get('input_size'))} → {_size(record['output_size'])} pixels")
    return "; ".join(words)


def _size(size: Any) -> str:
    return f"{size[0]:,} × {size[1]:,}" if size else "?"


def _error(error: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return {"message": error.get("message"), "remedy": error.get("remedy")} if error else None


# ------------------------------------------------------------------------------------------------------------- faces


@dataclass(frozen=True)
class CloseUp:
    """One face before and after, with its number, and its size, score and why it was left alone in words."""

    number: int
    before: Preview
    after: Preview | None
    words: str


def _faces(record: Mapping[str, Any], pictures: Pictures, sizes: Sizes) -> list[CloseUp]:
    """Return close-ups of as many faces as are shown, those that were restored first."""
    faces = list(enumerate(record.get("faces") or (), 1))
    if pictures.before is None:
        return []
    faces.sort(key=lambda each: not each[1].get("restored"))
    return [_closeup(number, face, pictures.before, pictures.after, sizes) for number, face in faces[: sizes.faces]]


def _closeup(number: int, face: Mapping[str, Any], before: Picture, after: Picture | None, sizes: Sizes) -> CloseUp:
    box = around(tuple(face["box"]), before.size)
    restored = after.part(box, sizes) if after is not None and face.get("restored") else None
    pixels = max(face["box"][2] - face["box"][0], face["box"][3] - face["box"][1])
    words = [f"{pixels:.0f} pixels", f"score {face.get('score', 0):.2f}"]
    if not face.get("restored"):
        words.append(face.get("reason") or "not restored")
    elif face.get("likeness") is not None:
        words.append(f"likeness {face['likeness']:.2f}")
    if face.get("restored") and face.get("fidelity") is not None:
        words.append(f"fidelity {face['fidelity']['chosen']:g}")
    if face.get("restored") and face.get("reference") is not None:
        words.append(nearness(face["reference"]))
    return CloseUp(number, before.part(box, sizes), restored, ", ".join(words))


# ----------------------------------------------------------------------------------------------------------- answers


@dataclass(frozen=True)
class Answer:
    """One of several answers: the whole picture, and how well its faces agree with the photo in words."""

    number: int
    picture: Preview
    words: str


def _answers(record: Mapping[str, Any], pictures: Pictures, sizes: Sizes) -> list[Answer]:
    """Return the answers of a search side by side; nothing where there is but one."""
    if pictures.after is None or not pictures.others:
        return []
    shown = (pictures.after, *pictures.others)
    small = Sizes(max(2 * sizes.face, 1), sizes.face, sizes.faces, sizes.quality)
    return [Answer(i + 1, each.whole(small), _agreement(record, i)) for i, each in enumerate(shown)]


def _agreement(record: Mapping[str, Any], which: int) -> str:
    """Return how well one of several answers agrees with the photo, face by face."""
    words = []
    for number, face in enumerate(record.get("faces") or (), 1):
        answers = face.get("answers") or ()
        if which < len(answers):
            found = answers[which]
            beyond = f", {found['allowed']:.1f} allowed" if found.get("met") is False else ""
            words.append(f"face {number}: seed {found['seed']}, {found['error']:.1f} levels from the photo{beyond}")
    return "; ".join(words)


# ----------------------------------------------------------------------------------------------------- what was done


def _facts(record: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return by whom and on what it was done, as titles and values."""
    facts = {
        "Result": record.get("output"),
        "Faces restored by": record.get("model"),
        "Task": record.get("task"),
        "Searched in": record.get("prior"),
        "Other answers": ", ".join(record.get("variants") or ()),
        "Faces found by": record.get("detector"),
        "Everything else by": record.get("background"),
        "Faces outlined by": record.get("mask_name") or record.get("mask"),
        "Limits of use": "; ".join(f"{name}: {words}" for name, words in (record.get("licenses") or {}).items()),
        "Scale": f"{record['scale']:g}" if record.get("scale") else None,
        "Computed on": " in ".join(filter(None, [record.get("device"), record.get("precision")])),
        "Computed by": record.get("engine"),
    }
    return [(title, value) for title, value in facts.items() if value]


def _times(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return how long it took, as titles and durations."""
    seconds = dict((record.get("earlier") or record).get("seconds") or {})
    total = seconds.pop("total", None)
    rows = [("Time", duration(total))] if total is not None else []
    return rows + [(f"of it {STAGES.get(stage, stage)}", duration(value)) for stage, value in seconds.items()]
