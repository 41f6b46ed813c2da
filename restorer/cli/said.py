"""What a run over photos says, in words: of one photo, of what is there already, and in the end."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from restorer.batch.outlook import LARGER, SIZES, Outlook
from restorer.cli.console import shown
from restorer.cli.request import PhotosRequest
from restorer.engine.choice import TORCH
from restorer.formatting import command_line, duration, ranges, time_range
from restorer.photo import PICTURE_SUFFIXES
from restorer.record import NEEDS_NOTHING, NOTHING_TO_DO, moved_away, nearness

if TYPE_CHECKING:
    from restorer.batch.discovery import Discovery, Job
    from restorer.batch.existing import Difference, Survey
    from restorer.batch.outlook import RunEstimate
    from restorer.batch.summary import Summary
    from restorer.record import Record

MOST_NAMED = 200
"""Failed photos that are named once more in the end; the others are counted."""
MOST_WAYS = 3
"""Ways in which results were made that are told; the others are counted."""
WORDS = {
    "UnreadablePhoto": "damaged, or no picture",
    "MissingSupport": "of a kind that needs another package",
    "PhotoTooLarge": "too large for its format",
    "OutputExists": "another file is in its place",
    "UnwritableOutput": "cannot be written",
    "FaceNotRestored": "a face could not be restored",
    "UnsuitableFormat": "cannot be in that format",
    "OutOfMemory": "too large for the memory",
    "StoreUnavailable": "its store does not answer",
    "ProcessKilled": "killed its process again and again",
}
"""What became of a photo by its error's kind."""


# ---------------------------------------------------------------------------------------------------------- one photo


def details(record: Record) -> str:
    """Return what stands behind the name of a result, about a photo that went well."""
    size = f"{record.output_size[0]} x {record.output_size[1]}" if record.output_size else ""
    if record.status == "skipped":
        what = "would be written" if record.reason == "dry run" else str(record.reason)
        return f"({', '.join(filter(None, [size, what]))})"
    restored = sum(face.restored for face in record.faces)
    fine = sum(face.reason == NEEDS_NOTHING for face in record.faces)
    left = len(record.faces) - restored - fine
    told = [size]
    if record.model != "none":
        told.append(f"{plural(restored, 'face')} by {record.model}")
        told[-1] += f", {fine} {'needs' if fine == 1 else 'need'} nothing" if fine else ""
        told[-1] += f", {left} left as they were" if left else ""
    if record.reason == NOTHING_TO_DO:
        told.append("nothing to do: it is as it was")
    told += [f"cleaned by {record.clean}"] if record.clean is not None else []
    told += [str(record.background), duration(record.seconds.get("total", 0.0))]
    return f"({'; '.join(told)})"


def closer_lines(record: Record) -> list[str]:
    """Return what is said of a photo with -v: the time of each stage, and each face."""
    stages = ", ".join(f"{stage} {duration(seconds)}" for stage, seconds in record.seconds.items())
    engine = "" if record.engine in (None, TORCH) else f", {record.engine}"
    lines = [f"  {stages}; {record.device}, {record.precision}{engine}"]
    for number, face in enumerate(record.faces, 1):
        alike = f", likeness {face.likeness:.2f}" if face.likeness is not None else ""
        alike += f", fidelity {face.fidelity['chosen']:g}" if face.fidelity is not None else ""
        alike += f", {nearness(face.reference)}" if face.reference is not None else ""
        what = f"restored{alike}" if face.restored else face.reason
        box = ", ".join(f"{value:.0f}" for value in face.box)
        lines.append(f"  face {number} at {box}, score {face.score:.2f}: {what}")
    return lines


def license_line(names: Sequence[str]) -> str:
    """Return the line about weights that did the work and that limit what the results may be used for."""
    *most, last = names
    named = f"{', '.join(most)} and {last}" if most else last
    return (
        f"Licence: {named} {'limit' if most else 'limits'} commercial use (`restore models show {last}` has the words);"
        " --license commercial takes no such weights."
    )


# ------------------------------------------------------------------------------------------------------ what to expect


def found_lines(found: Discovery, *, any_left: bool) -> list[str]:
    """Return what is said of what was passed over.

    Args:
        found: what was found.
        any_left: whether there are photos.
    """
    notes = list(found.warnings)
    if found.unsupported:
        notes.append(f"pictures of kinds that are not read were passed over: {counted(found.unsupported)}.")
    if found.misnamed:
        kinds = counted(found.misnamed)
        notes.append(f"pictures whose names end like other files were passed over unless named: {kinds}.")
    if found.unfollowed:
        links = ", ".join(map(str, found.unfollowed))
        notes.append(f"links that lead nowhere, or out to a folder around them, were not followed: {links}.")
    if found.own and any_left:
        notes.append(f"{plural(found.own, 'result')} of this tool passed over; one that is named is restored.")
    return notes


def expected_lines(expected: RunEstimate, jobs: Collection[Job]) -> list[str]:
    """Return how many photos there are, how long they take and how much disk, as markup."""
    there = f", {expected.there} of them from an earlier run" if expected.there else ""
    need = expected.megabytes * 1e6
    about = f"{time_range(expected.seconds, expected.spread)}, about {size_of(need)} on disk."
    lines = [f"{plural(len(jobs), 'photo')}{there}: {about}"]
    folder = next(iter(jobs)).folder.absolute()
    folder = next(place for place in (folder, *folder.parents) if place.is_dir())
    free = shutil.disk_usage(folder).free
    return [*lines, *([f"[yellow]Note:[/] only {size_of(free)} are free there."] if free < need else [])]


def dry_run_lines(outlook: Outlook, expected: RunEstimate) -> list[str]:
    """Return what a dry run tells of many photos at once: kinds, sizes, and what they would take."""
    ordered = sorted(outlook.kinds.items(), key=lambda pair: (-pair[1], pair[0]))
    names = [*(name for name, _ in SIZES), LARGER]
    told = [f"{name}: {outlook.sizes[name]:,}" for name in names if outlook.sizes[name]]
    return [
        f"Kinds: {', '.join(f'{kind} {count:,}' for kind, count in ordered)}.",
        *([f"Sizes: {'; '.join(told)}."] if told else []),
        f"To be done: {plural(outlook.work, 'photo')}, {outlook.megapixels:,.0f} megapixels of results, "
        f"{time_range(expected.seconds, expected.spread)}, about {size_of(expected.megabytes * 1e6)} on disk.",
    ]


# ---------------------------------------------------------------------------------------------- what is there already


def survey_lines(survey: Survey, request: PhotosRequest, typed: Sequence[str]) -> list[str]:
    """Return what is said before the work of results that this run does not make anew, with what to type instead.

    Args:
        survey: what is there.
        request: what was asked for.
        typed: the arguments of the command.
    """
    lines = []
    for different, count in list(survey.others.items())[:MOST_WAYS]:
        there = f"{count} results are there, made" if count > 1 else "1 result is there, made"
        lines.append(f"{there} with {different.made}; this run asks for {different.asked}. They are kept as they are.")
        if count == 1:
            lines[-1] = lines[-1].replace("They are kept as they are.", "It is kept as it is.")
    more = sum(list(survey.others.values())[MOST_WAYS:])
    if more:
        lines.append(f"{plural(more, 'result')} more were made in other ways.")
    if survey.others:
        beside = _command([*typed, *_beside(next(iter(survey.others)), request)])
        lines.append(f"  To make new ones beside them:  {beside}")
        lines.append(f"  To make them anew:             {_command([*typed, '--overwrite'])}")
    if survey.builtin:
        are = "is" if survey.builtin == 1 else "are"
        lines.append(f"{plural(survey.builtin, 'result')} {are} by built-in models, and better ones are here now.")
        if request.redo is None:
            lines.append(f"  To make them anew:  {_command([*typed, '--redo', 'built-in'])}")
    return lines


def _beside(different: Difference, request: PhotosRequest) -> list[str]:
    """Return the options with which other results get names of their own."""
    words = different.asked.replace("--", "").split()
    mark = "_new"
    for name, value in zip(words[::2], words[1::2], strict=False):
        if name == "scale":
            mark = f"_{value}x"
            break
        if name in ("model", "detector", "background", "strength", "fidelity"):
            mark = f"_{value}" if name == "model" else f"_{name}-{value}"
            break
    if request.out is not None and request.out.suffix.lower() in PICTURE_SUFFIXES and not request.out.is_dir():
        return ["-o", str(request.out.with_stem(request.out.stem + mark))]
    return ["--name", request.name + mark]


def _command(arguments: Sequence[str]) -> str:
    """Return a command as it is typed."""
    return command_line(["restore", *arguments])


# ---------------------------------------------------------------------------------------------------------- the end


def summary_lines(summary: Summary, count: int) -> list[str]:
    """Return what is said in the end, as markup.

    Args:
        summary: how the run ended.
        count: photos of the run.
    """
    if summary.done == count > 0:
        return [f"{plural(count, 'photo')}, all done already."]
    if summary.kept == count > 0:
        return [f"{plural(count, 'photo')}, all kept as they are."]
    ok, failed = summary.count("ok"), summary.count("failed")
    if summary.tried:
        parts = [f"{plural(summary.tried, 'photo')} would be restored"]
    else:
        fine = f", {summary.fine} needed nothing" if summary.fine else ""
        parts = [f"{plural(ok, 'photo')} restored ({plural(summary.faces, 'face')}{fine})"]
    parts += [f"{summary.done} done already"] if summary.done else []
    parts += [f"{summary.kept} kept as they are"] if summary.kept else []
    other = summary.count("skipped") - summary.tried - summary.done - summary.kept
    parts += [f"{other} skipped"] if other else []
    if failed:
        parts.append(f"[bold red]{failed} failed[/]{_of_earlier(summary)}")
    left = count - summary.count()
    parts += [f"{left} not reached"] if left else []
    return [f"{', '.join(parts)}, in {duration(summary.seconds)}.", *moved_lines(summary), *failure_lines(summary)]


def _of_earlier(summary: Summary) -> str:
    """Return how many failures are no news."""
    failed = summary.count("failed")
    if not summary.known:
        return ""
    new = failed - summary.known
    if not new:
        return " (in an earlier run; none is new)" if failed == 1 else " (all in an earlier run; none is new)"
    return f" ({new} new, {summary.known} in an earlier run)"


def moved_lines(summary: Summary) -> list[str]:
    """Return the photos with faces that moved away from photos of the same person."""
    lines = [
        f"  {shown(record.input)}: face {ranges(numbers)} moved away from the references"
        for record in summary.moved[:MOST_NAMED]
        if (numbers := moved_away(record))
    ]
    left = len(summary.moved) - len(lines)
    return lines + ([f"  and {left} more photos with faces that moved away"] if left else [])


def failure_lines(summary: Summary) -> list[str]:
    """Return the photos that failed, new ones first, each with a few words; those of one cause are counted."""
    lines: list[str] = []
    causes = Counter(record.cause for record in summary.failed if record.cause)
    ordered = sorted(summary.failed, key=lambda record: record.failed_before)
    named = [record for record in ordered if record.cause is None or causes[record.cause] == 1]
    for record in named[:MOST_NAMED]:
        kind = record.error["kind"] if record.error else ""
        before = ", in an earlier run" if record.failed_before else ""
        lines.append(f"  {shown(record.input)}: {WORDS.get(str(kind), 'could not be restored')}{before}")
    lines += [f"  {count} photos: {shown(cause)}" for cause, count in causes.items() if count > 1]
    left = summary.count("failed") - len(named[:MOST_NAMED]) - sum(count for count in causes.values() if count > 1)
    lines += [f"  and {left} more"] if left else []
    if summary.known:
        lines.append("  --retry-failed tries again what failed in an earlier run.")
    return lines


# -------------------------------------------------------------------------------------------------------------- words


def counted(kinds: Counter[str]) -> str:
    """Return kinds with how many there are of each: ".cr2 (2), .psd (1)"."""
    return ", ".join(f"{suffix} ({count})" for suffix, count in sorted(kinds.items()))


def plural(count: int, word: str) -> str:
    """Return a number of things: "1 photo", "1,000 photos"."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def size_of(count: float) -> str:
    """Return a number of bytes as people say it: "640 kB", "85 MB", "1.2 GB"."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}" if count < 100 * factor else f"{count / factor:,.0f} {unit}"
    return f"{count / 1e3:.0f} kB"
