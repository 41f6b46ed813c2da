"""Which weights are here, are they what they should be, and which would a run have to fetch?"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from restorer import weights
from restorer.cli.diagnosis.base import Check, Examination, first_line
from restorer.errors import RestorerError
from restorer.storage.folders import hub_cache
from restorer.weights import fetching
from restorer.weights.progress import megabytes


class Weights(Examination):
    """Verifies the files that are here."""

    group = "Weights"

    def look(self) -> Iterator[Check]:
        """Yield what is here, what is not what it should be, and what a plain run would fetch."""
        try:
            tables = weights.tables()
        except RestorerError as error:
            yield self.found("weights.toml", "broken", error.message, error.remedy)
            return
        verified, wrong = [], []
        for table in tables.values():
            if weights.cached(table) is not None:
                verified.append(table.name)
            elif here := fetching.located(table):
                wrong.append(table.name)
                yield self.found(
                    table.name,
                    "broken",
                    f"{here[0][1]} is not the file that its table asks for; it is never loaded",
                    f"Type `restore models pull {table.name}` to download it again.",
                    {"path": str(here[0][1])},
                )
        facts = {"known": len(tables), "verified": verified, "wrong": wrong}
        names = f": {', '.join(verified)}" if verified else ""
        yield self.found("here", "ok", f"{len(verified)} of {len(tables)} are here and verified{names}", facts=facts)
        yield from self.defaults(verified)

    def default_names(self) -> list[str]:
        """Return the weights of a run that names none: face restorers below and from scale 8, detector, parser."""
        from restorer.pipeline.choice import wanted

        known = weights.tables()
        restorers = [wanted(known, "face restorer", scale) for scale in (2.0, 8.0)]
        return [*restorers, wanted(known, "face detector", 2.0), wanted(known, "face parser", 2.0)]

    def defaults(self, verified: list[str]) -> Iterator[Check]:
        """Say what a run without --model would have to download first."""
        try:
            names = self.default_names()
        except RestorerError as error:
            yield self.found("defaults", "broken", error.message, error.remedy)
            return
        except ImportError as error:  # said with the versions already
            yield self.found("defaults", "broken", first_line(error), "Repair the packages above first.")
            return
        tables = weights.tables()
        absent = [name for name in names if name not in verified]
        if not absent:
            yield self.found("defaults", "ok", f"all that a plain run uses: {', '.join(names)}")
            return
        size = sum(tables[name].size or tables[name].at_least or 0 for name in absent)
        listed = ", ".join(f"{name} ({megabytes(tables[name].size, tables[name].at_least)})" for name in absent)
        facts = {"missing": absent, "bytes": size}
        there = next(folder for folder in (hub_cache(), *hub_cache().parents) if folder.exists())
        if (free := shutil.disk_usage(there).free) < size:
            detail = f"not here: {listed}; only {megabytes(free)} are free for {megabytes(size)}"
            yield self.found("defaults", "broken", detail, "Free some space, or let HF_HOME name another disk.", facts)
            return
        detail = f"not here yet, downloaded when a run first uses them: {listed}"
        yield self.found("defaults", "note", detail, f"To have them now: restore models pull {' '.join(absent)}", facts)
