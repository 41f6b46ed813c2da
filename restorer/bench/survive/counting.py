"""What a campaign counts: cases by kind and outcome, the worst time and memory, and the losses, which must be none."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MOST_KEPT = 50
"""Losses that are kept in words; all are counted."""


@dataclass
class Tally:
    """How the cases of a part, or of a slice of it, ended.

    Attributes:
        part: what was tried.
        outcomes: how many cases ended how, by "kind: outcome".
        seconds: the longest that one case took, and which.
        mib: the most memory that one case took beyond what the process had before it, and which; 0 where not measured.
        losses: how many cases ended as none may.
        words: what was lost, by case, of the first ones.
        notes: what else was counted, by name.
    """

    part: str
    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: tuple[float, str] = (0.0, "")
    mib: tuple[float, str] = (0.0, "")
    losses: int = 0
    words: list[str] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)

    @property
    def cases(self) -> int:
        """How many cases were tried."""
        return self.outcomes.total()

    def add(self, kind: str, outcome: str, case: str = "", seconds: float = 0.0, mib: float = 0.0) -> None:
        """Count a case."""
        self.outcomes[f"{kind}: {outcome}"] += 1
        if seconds > self.seconds[0]:
            self.seconds = seconds, case or kind
        if mib > self.mib[0]:
            self.mib = mib, case or kind

    def lose(self, kind: str, case: str, words: str) -> None:
        """Count a loss, which is a case too."""
        self.add(kind, "LOST")
        self.losses += 1
        if len(self.words) < MOST_KEPT:
            self.words.append(f"{case}: {words}")

    def take(self, other: Tally) -> None:
        """Add what another run, or another slice, has counted."""
        self.outcomes += other.outcomes
        self.seconds, self.mib = max(self.seconds, other.seconds), max(self.mib, other.mib)
        self.losses += other.losses
        self.words = (self.words + other.words)[:MOST_KEPT]
        self.notes += other.notes

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return {
            "part": self.part, "cases": self.cases, "outcomes": dict(sorted(self.outcomes.items())),
            "worst_seconds": list(self.seconds), "worst_mib": list(self.mib), "losses": self.losses,
            "words": self.words, "notes": dict(self.notes),
        }  # fmt: skip

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Tally:
        """Return what `as_dict` has told."""
        seconds, mib = told["worst_seconds"], told["worst_mib"]
        return cls(
            str(told["part"]), Counter(told["outcomes"]), (float(seconds[0]), str(seconds[1])),
            (float(mib[0]), str(mib[1])), int(told["losses"]), list(told["words"]), Counter(told["notes"]),
        )  # fmt: skip


@dataclass
class Report:
    """What a run, or several with other seeds, have counted.

    Attributes:
        tallies: by part.
        seeds: of the runs that are in it; a seed that is in it already adds nothing new.
        hours: that all runs took.
    """

    tallies: dict[str, Tally] = field(default_factory=dict)
    seeds: dict[str, list[int]] = field(default_factory=dict)
    hours: float = 0.0

    def add(self, tally: Tally, seed: int) -> None:
        """Take in a part that was tried with a seed."""
        self.tallies.setdefault(tally.part, Tally(tally.part)).take(tally)
        self.seeds.setdefault(tally.part, []).append(seed)

    def take(self, other: Report) -> list[str]:
        """Add another run; return what was left out, since the same seed is in it already."""
        left_out = []
        for part, tally in other.tallies.items():
            if set(other.seeds[part]) & set(self.seeds.get(part, [])):
                left_out.append(f"{part} with the seed {', '.join(map(str, other.seeds[part]))}")
                continue
            self.tallies.setdefault(part, Tally(part)).take(tally)
            self.seeds.setdefault(part, []).extend(other.seeds[part])
        self.hours += other.hours if len(left_out) < len(other.tallies) else 0.0
        return left_out

    @property
    def losses(self) -> int:
        """How many cases ended as none may."""
        return sum(tally.losses for tally in self.tallies.values())

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        told = [{**tally.as_dict(), "seeds": self.seeds[part]} for part, tally in self.tallies.items()]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"hours": round(self.hours, 4), "parts": told}, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Report:
        """Read what `save` has written."""
        told = json.loads(path.read_text(encoding="utf-8"))
        tallies = {part["part"]: Tally.from_dict(part) for part in told["parts"]}
        return cls(tallies, {part["part"]: list(part["seeds"]) for part in told["parts"]}, float(told["hours"]))

    def table(self) -> str:
        """Return the table, in Markdown."""
        rows = [("part", "cases", "how they ended", "longest", "most memory", "losses")]
        for tally in self.tallies.values():
            seconds = f"{tally.seconds[0]:.1f} s ({tally.seconds[1]})" if tally.seconds[0] else ""
            mib = f"{tally.mib[0]:,.0f} MiB ({tally.mib[1]})" if tally.mib[0] else ""
            rows.append((tally.part, f"{tally.cases:,}", _ended(tally.outcomes), seconds, mib, str(tally.losses)))
        total = sum(tally.cases for tally in self.tallies.values())
        rows.append(("all", f"{total:,}", "", "", "", str(self.losses)))
        return _markdown(rows)

    def detail(self) -> str:
        """Return every kind of case with its outcomes, the other measures, and the losses in words."""
        rows = [("part", "what was tried", "cases", "how they ended")]
        for tally in self.tallies.values():
            kinds = dict.fromkeys(name.split(": ")[0] for name in sorted(tally.outcomes))
            for kind in kinds:
                own = Counter({n.split(": ", 1)[1]: c for n, c in tally.outcomes.items() if n.split(": ")[0] == kind})
                ended = ", ".join(f"{outcome} {count:,}" for outcome, count in own.most_common())
                rows.append((tally.part, kind, f"{own.total():,}", ended))
        lines = [_markdown(rows), ""]
        for tally in self.tallies.values():
            lines += [f"{tally.part}: {name}: {value}" for name, value in tally.notes.items()]
            lines += [f"{tally.part} LOST: {words}" for words in tally.words]
        return "\n".join(lines)


def _ended(outcomes: Mapping[str, int]) -> str:
    """Return outcomes of all kinds together, the most frequent first."""
    total: Counter[str] = Counter()
    for name, count in outcomes.items():
        total[name.split(": ", 1)[1]] += count
    return ", ".join(f"{outcome} {count:,}" for outcome, count in total.most_common())


def _markdown(rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in rows]
    lines.insert(1, "|" + "---|" * lines[0].count(" | ") + "---|")
    return "\n".join(lines)
