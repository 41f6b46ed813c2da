"""What a dry run says of the means: which models would do the work, and what would be downloaded for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from restorer import weights
from restorer.cli.console import say
from restorer.photo.formats import listed
from restorer.pipeline import choice as choices
from restorer.pipeline import cleaning
from restorer.weights.progress import megabytes

if TYPE_CHECKING:
    from restorer.pipeline.components import Components

MOST = 1000
"""Sizes of photos that are looked at; what enlarges a photo depends on its size."""


def forecast(components: Components, sizes: Iterable[tuple[int, int]]) -> list[str]:
    """Return the lines about models and downloads.

    Args:
        components: of the run; nothing is loaded and nothing fetched for it.
        sizes: width and height of the photos.

    Raises:
        WeightsError: built-in models would take over, and the options forbid it.
    """
    backgrounds = dict.fromkeys(components.background_name(size) for size in list(dict.fromkeys(sizes))[:MOST])
    parts, names = [], list(backgrounds)
    if components.faces_wanted:
        mask, detector = components.mask_name, components.detector_name()
        parts.append(f"faces by {components.model}" + (f", found by {detector}" if detector else ""))
        names = [components.model, *([detector] if detector else []), mask, *names]
    if components.options.clean is not None:
        cleaner = cleaning.table_of(components.options)
        assert cleaner is not None
        parts.insert(0, f"cleaned first by {cleaner.name}")
        names = [cleaner.name, *names]
    if backgrounds:
        parts.append(
            f"{'everything else' if components.faces_wanted else 'everything'} by {listed(list(backgrounds), 'or')}"
        )
    if not parts:
        return []
    references = components.references
    if references is not None or components.options.min_likeness is not None:
        names.append(choices.recogniser(weights.tables()))
    lines = [f"Models: {'; '.join(parts)}."]
    if references is not None:
        lines.append(f"References: {references.words()}.")
    known = weights.tables()
    tables = [known[name] for name in dict.fromkeys(names) if name in known]
    away = [table for table in tables if table.sources and weights.cached(table) is None]
    if away:
        total = megabytes(sum(table.size or table.at_least or 0 for table in away))
        each = ", ".join(f"{table.name} ({megabytes(table.size, table.at_least)})" for table in away)
        lines.append(f"To be downloaded first, {total} in all: {each}.")
    return lines


def say_means(components: Components, sizes: Iterable[tuple[int, int]]) -> None:
    """Say which models would do the work on photos of these sizes, and what would be downloaded for it."""
    for line in forecast(components, sizes):
        say(line)
    components.say_fallbacks()
