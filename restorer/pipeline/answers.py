"""A face that is searched for in a prior: what the search is told, and what it tells the record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from restorer.pipeline.events import Stepped

if TYPE_CHECKING:
    import numpy as np
    import torch

    from restorer.faces.people import Match
    from restorer.faces.placement import Placement
    from restorer.inversion.course import Found, Glimpse
    from restorer.inversion.searcher import FaceSearcher
    from restorer.pipeline.canvas import Detection, Work

SEEDS = 1 << 63
"""Seeds are counted on from the one that was given, and begin again at 0 here."""
IMAGINED = (
    "{name} shows an imagined person: one of many faces that agree with the photo, and no evidence of who was there."
)


Seen = tuple["Match | None", "np.ndarray", "np.ndarray"]
"""Whose face it is (None = nothing was compared), its crop (s, s, 3) in [0, 1], its landmarks (5, 2) as shares of the
crop's side."""


def search(
    searcher: FaceSearcher, work: Work, face: Detection, placement: Placement, seen: Seen, done: int, total: int
) -> list[torch.Tensor]:
    """Return the answers for one face, each (1, 3, s, s) in [-1, 1]; fewer than were asked for after an interrupt.

    Several are in the order of their likeness to the person's references, or else to the photo, where something
    compares faces, and otherwise in the order of their seeds.

    Args:
        searcher: what searches.
        work: the photo; its record is written into.
        face: the face.
        placement: where it is.
        seen: what likeness is measured by.
        done: how many faces were searched for before, for those who watch.
        total: how many there are.
    """
    import torch

    from restorer.inversion.searcher import AT_ONCE, Wish

    options, record = work.options, work.record
    task = options.task or searcher.tasks[0]
    side = searcher.side(1 / placement.pixel(1), task)
    spec = replace(searcher.crop, input_size=side)
    pixels = work.photo.pixels if work.source is None else work.source
    crop = placement.crop(work.painted(pixels, 0.5), spec)  # what is in a hole must not shine out at its edge
    crop = crop if work.colours is None else work.colours.seen(crop)
    picture = torch.from_numpy(crop).permute(2, 0, 1).contiguous()
    hole = work.hole
    begin = options.seed or 0
    wish = Wish(
        picture,
        task,
        seeds=[(begin + number) % SEEDS for number in range(options.variants)],
        hole=None if hole is None else torch.from_numpy(placement.crop(hole, spec)[..., 0].copy()),
        steps=options.steps,
        time_limit=options.time_limit,
        batch=options.batch_size or AT_ONCE,
    )
    work.components.notify_once(IMAGINED.format(name=searcher.name))
    with record.timed("restore"):
        found = searcher.search(wish, _teller(work, done, total))
    record.task, record.prior = task, searcher.prior_name
    ranks = _ranked(work, found, seen)
    order = sorted(range(len(found)), key=lambda which: -ranks[which][1]) if ranks else list(range(len(found)))
    answers = [(wish.seeds[which], found[which], ranks[which] if ranks else (None, None)) for which in order]
    _write_down(work, face, searcher.name, answers)
    return [each.picture[None] for _, each, _ in answers]


def _ranked(work: Work, found: Sequence[Found], seen: Seen) -> list[tuple[str, float]]:
    """Return of each answer what it was compared with, and how near it is; nothing where nothing is compared."""
    from restorer.faces.crops import to_picture

    match, crop, points = seen
    if len(found) < 2:
        return []
    known = work.components.people()
    compares = work.components.compares_already() if known is None else known.likeness
    if compares is None:
        return []
    with work.record.timed("likeness"):
        pictures = [to_picture(each.picture, monochrome=work.stays_grey) for each in found]
        embeddings = [compares.embedding(picture, points) for picture in pictures]
        if match is not None and match.person is not None:
            return [("references", match.again(each)) for each in embeddings]
        own = compares.embedding(crop, points)
    return [("photo", float(each @ own)) for each in embeddings]


def _teller(work: Work, done: int, total: int) -> Any:
    """Return what tells those who watch the photo how a search goes."""

    def tell(glimpse: Glimpse) -> None:
        steps = max(glimpse.steps, 1)
        words = f"step {glimpse.step} of {glimpse.steps}, {min(glimpse.errors):.1f} levels from the photo"
        work.tell(Stepped(done * steps + glimpse.step, total * steps, words, glimpse.picture))

    return tell


def _write_down(
    work: Work, face: Detection, name: str, answers: Sequence[tuple[int, Found, tuple[str | None, float | None]]]
) -> None:
    """Write into the record how well each answer agrees with the photo, and warn of what does not.

    Args:
        work: the photo.
        face: whose answers they are.
        name: of what searched.
        answers: the seed of each, what was found, and what it was compared with, with how near it is.
    """
    record, number = work.record, work.number_of(face.entry)
    for which, (seed, each, (by, near)) in enumerate(answers, 1):
        face.entry.answers.append(
            {
                "seed": seed,
                "error": round(each.error, 3),
                "allowed": None if each.allowed is None else round(each.allowed, 3),
                "met": each.met,
                "loss": round(each.loss, 6),
                "step": each.step,
                "steps": each.steps,
                "stopped": each.stopped,
                "by": by,
                "nearness": None if near is None else round(near, 4),
            }
        )
        what = f"Face {number}" + (f", answer {which}" if len(answers) > 1 else "")
        if each.met is False:
            record.warn(
                f"{what}: {name} found none that agrees with the photo: it is {each.error:.1f} levels off where "
                f"{each.allowed:.1f} are allowed. More --steps or another --seed may find one."
            )
        if each.stopped is not None:
            why = "was interrupted" if each.stopped == "interrupt" else "reached its time limit"
            record.warn(f"{what}: the search {why} after {each.steps} steps; this is the best until then.")
    if any(each.stopped == "interrupt" for _, each, _ in answers):
        record.interrupted = True
