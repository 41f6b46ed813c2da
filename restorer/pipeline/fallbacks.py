"""What is said where "auto" cannot have what it would take: pure functions from what is missing to lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from restorer.errors import WeightsUnavailableError
from restorer.weights import Absence


@dataclass(frozen=True)
class Replacement:
    """What "auto" would take (`wanted`), the built-in table that takes its place (`taken`), and why."""

    wanted: str
    taken: str
    absence: Absence


def fallback_line(replaced: Sequence[Replacement]) -> str:
    """Return the one line about what built-in models took the place of; the reasons are `fallback_reasons`."""
    kinds = {each.absence.kind for each in replaced}
    if kinds == {"offline"}:
        why = "Offline, as asked for"
    elif "network" in kinds:
        why = "No network"
    else:
        why = f"{' and '.join(each.wanted for each in replaced)} cannot be had (-v says why)"
    return f"{why}: using the small built-in models; `restore models pull` gets better ones."


def fallback_reasons(replaced: Sequence[Replacement]) -> list[str]:
    """Return a line for each replacement: what was wanted, why it cannot be had, and what takes its place."""
    return [f"{each.wanted}: {each.absence.reason}; {each.taken} takes its place." for each in replaced]


def no_fallback(replaced: Sequence[Replacement]) -> WeightsUnavailableError:
    """Return the error of a run that must not fall back: what cannot be had, and why."""
    names = [each.wanted for each in replaced]
    reasons = "; ".join(dict.fromkeys(each.absence.reason for each in replaced))
    return WeightsUnavailableError(
        names[0],
        f"{' and '.join(names)} cannot be had ({reasons}), and --no-fallback forbids the built-in models.",
        f"Type `restore models pull {' '.join(names)}` when there is a network, or leave --no-fallback out.",
        attempts=[(each.wanted, each.absence.reason) for each in replaced],
    )


def barred_line(lacking: Sequence[tuple[str, str | None]]) -> str:
    """Return why faces stay as they are: (role, the table that would do, or None where there is none) of each lack."""
    names = [name for _role, name in lacking if name is not None]
    if len(names) < len(lacking):
        roles = " and no ".join(role for role, name in lacking if name is None)
        return f"Faces stay as they are: there is no {roles} whose licence allows commercial use."
    pull = " ".join(names)
    return (
        f"Faces stay as they are: of the weights that allow commercial use, {' and '.join(names)} cannot be had; "
        f"`restore models pull {pull}` gets {'it' if len(names) == 1 else 'them'} where there is a network."
    )
