"""One photo on the page: the slider, the faces, what was done, and what went wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from restorer.formatting import duration
from restorer.report.markup import Html, element
from restorer.report.previews import Picture, Preview, Sizes, around

LEAST_WIDTH = 480
"""CSS pixels that a slider is wide where there is room, however small the photo."""

STAGES = {
    "read": "reading", "detect": "looking for faces", "background": "enlarging the picture", "align": "aligning faces",
    "restore": "restoring faces", "mask": "outlining faces", "likeness": "comparing faces", "paste": "pasting faces",
    "write": "writing",
}  # fmt: skip
"""What the stages of a record's `seconds` are called; others go by their own name."""


@dataclass(frozen=True)
class Pictures:
    """What is there to show of a photo.

    Attributes:
        before: the photo, None where it cannot be read.
        after: the result, None where there is none.
        problem: why one of them is missing although it should be there.
    """

    before: Picture | None = None
    after: Picture | None = None
    problem: str | None = None


def article(number: int, record: Mapping[str, Any], pictures: Pictures, sizes: Sizes) -> Html:
    """Return the part of the page about one photo.

    Args:
        number: counts the photos of the page from 1; the part's address is `#photo-NUMBER`.
        record: as `Record.as_dict` gives it; fields that are missing are passed over.
        pictures: before and after.
        sizes: of the previews.
    """
    path = str(record.get("input") or "-")
    folder, name = PurePath(path).parent, PurePath(path).name or path
    return element(
        "article",
        element("h2", element("bdi", name), id=f"name-{number}"),
        element("p", "in ", element("bdi", str(folder)), class_="hint") if str(folder) != "." else None,
        element("p", status_words(record), class_=f"status {record.get('status', 'ok')}"),
        _error(record.get("error")),
        _compare(name, pictures, sizes),
        element("p", pictures.problem, class_="hint") if pictures.problem else None,
        _faces(record, pictures, sizes),
        _warnings(record.get("warnings") or ()),
        _details(record),
        class_="photo",
        id=f"photo-{number}",
        aria_labelledby=f"name-{number}",
    )


def status_words(record: Mapping[str, Any]) -> str:
    """Return in a line what became of a photo."""
    status = record.get("status")
    if status == "failed":
        return "Failed"
    words = [f"Skipped: {record.get('reason') or 'nothing was to be done'}" if status == "skipped" else "Restored"]
    faces = record.get("faces") or ()
    restored = sum(bool(face.get("restored")) for face in faces)
    if status == "ok" and record.get("model") not in (None, "none"):
        words.append(f"{restored} face{'' if restored == 1 else 's'} by {record['model']}")
        if left := len(faces) - restored:
            words.append(f"{left} left as {'it was' if left == 1 else 'they were'}")
    if record.get("output_size"):
        words.append(f"{_size(record.get('input_size'))} → {_size(record['output_size'])} pixels")
    return "; ".join(words)


def _size(size: Any) -> str:
    return f"{size[0]:,} × {size[1]:,}" if size else "?"


def _error(error: Mapping[str, Any] | None) -> Html | None:
    if not error:
        return None
    remedy = element("p", error.get("remedy"), class_="remedy") if error.get("remedy") else None
    return element("div", element("p", error.get("message")), remedy, class_="problem")


# ---------------------------------------------------------------------------------------------------------- pictures


def _compare(name: str, pictures: Pictures, sizes: Sizes) -> Html | None:
    """Return the slider, or the one picture that there is."""
    before = pictures.before.whole(sizes) if pictures.before else None
    after = pictures.after.whole(sizes) if pictures.after else None
    if before is None or after is None:
        only = before or after
        if only is None:
            return None
        which = "as it was" if after is None else "restored"
        return element("figure", _image(only, f"{name}, {which}"), class_="single")
    return element(
        "div",
        _side("before", "Before", before, f"{name}, as it was"),
        _side("after", "After", after, f"{name}, restored"),
        element("div", element("span", class_="knob"), class_="line"),
        element(
            "input", type="range", min=0, max=100, value=50, step="any", autocomplete="off",
            aria_label=f"How much of {name} is shown as it was", aria_valuetext="Before 50 %, after 50 %",
        ),
        class_="compare",
        style=f"--width: {max(after.width, LEAST_WIDTH)}; --ratio: {after.width / after.height:.5f}",
    )  # fmt: skip


def _side(kind: str, title: str, preview: Preview, description: str) -> Html:
    return element("div", _image(preview, description), element("span", title, class_="tag"), class_=f"side {kind}")


def _image(preview: Preview, description: str) -> Html:
    return element(
        "img", src=preview.uri, alt=description, width=preview.width, height=preview.height,
        loading="lazy", decoding="async",
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------------------- faces


def _faces(record: Mapping[str, Any], pictures: Pictures, sizes: Sizes) -> Html | None:
    """Return close-ups of the faces, those that were restored first, and the rest in words."""
    faces = list(enumerate(record.get("faces") or (), 1))
    if not faces or pictures.before is None:
        return None
    faces.sort(key=lambda each: not each[1].get("restored"))
    shown, rest = faces[: sizes.faces], faces[sizes.faces :]
    closeups = [_closeup(each, face, pictures, sizes) for each, face in shown]
    more = f"And {len(rest)} more face{'' if len(rest) == 1 else 's'}." if rest else None
    return element(
        "div",
        element("h3", "Faces"),
        element("ul", closeups, class_="faces"),
        element("p", more, class_="hint") if more else None,
    )


def _closeup(number: int, face: Mapping[str, Any], pictures: Pictures, sizes: Sizes) -> Html:
    """Return one face before and after, with its number, size, score, and why it was left alone."""
    assert pictures.before is not None
    box = around(tuple(face["box"]), pictures.before.size)
    images = [_image(pictures.before.part(box, sizes), f"Face {number} as it was")]
    if pictures.after is not None and face.get("restored"):
        images.append(_image(pictures.after.part(box, sizes), f"Face {number} restored"))
    pixels = max(face["box"][2] - face["box"][0], face["box"][3] - face["box"][1])
    words = [f"{pixels:.0f} pixels", f"score {face.get('score', 0):.2f}"]
    if not face.get("restored"):
        words.append(face.get("reason") or "not restored")
    elif face.get("likeness") is not None:
        words.append(f"likeness {face['likeness']:.2f}")
    caption = element("figcaption", element("strong", f"Face {number}"), " ", ", ".join(words))
    return element("li", element("figure", element("div", images, class_="pair"), caption))


# ------------------------------------------------------------------------------------------------------------- words


def _warnings(warnings: Any) -> Html | None:
    if not warnings:
        return None
    return element("ul", [element("li", line) for line in warnings], class_="warnings", aria_label="Notes")


def _details(record: Mapping[str, Any]) -> Html:
    """Return what was done and how long it took, folded away."""
    where = " in ".join(filter(None, [record.get("device"), record.get("precision")]))
    facts = {
        "Result": record.get("output"),
        "Faces restored by": record.get("model"),
        "Faces found by": record.get("detector"),
        "Everything else by": record.get("background"),
        "Faces outlined by": record.get("mask"),
        "Scale": f"{record['scale']:g}" if record.get("scale") else None,
        "Computed on": where,
    }
    rows = [(title, element("bdi", value)) for title, value in facts.items() if value]
    seconds = dict(record.get("seconds") or {})
    total = seconds.pop("total", None)
    if total is not None:
        rows.append(("Time", Html(duration(total))))
    rows += [(f"of it {STAGES.get(stage, stage)}", Html(duration(value))) for stage, value in seconds.items()]
    pairs = (element("div", element("dt", title), element("dd", value)) for title, value in rows)
    return element("details", element("summary", "What was done"), element("dl", pairs))
