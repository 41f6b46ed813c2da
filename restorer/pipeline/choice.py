"""What "auto" means: a pure function of the options, the photo's size, the device, and what can be had.

Nothing here loads, fetches or asks; `restorer.pipeline.components` gathers what is known and acts on the choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from restorer.errors import UsageError
from restorer.models import REGISTRY
from restorer.models.base import CropSpec, FaceArchitecture, Role, UpscalerArchitecture
from restorer.options import Options
from restorer.upscaling.lanczos import Lanczos
from restorer.weights import Table

AUTO, NONE = "auto", "none"
LANDMARKS = "landmarks"
"""The mask that is drawn from a face's landmarks, in place of a face parser's."""
CPU_BUDGET = 1e13
"""Operations that an automatically chosen upscaler may cost on a CPU: below a minute on two cores."""


@dataclass(frozen=True)
class Available:
    """What can be had.

    Attributes:
        tables: of all weights.toml, by name.
        missing: why a table that "auto" may choose is neither here nor reachable, by its name; may be a mapping that
            asks when it is first read.
    """

    tables: Mapping[str, Table]
    missing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Choice:
    """What a run works with.

    Attributes:
        model: the face restorer's table; "none" where faces are not looked for.
        detector: the face detector's table; None where nothing is detected.
        mask: the face parser's table, or "landmarks".
        background: what enlarges the picture; None where no photo was given.
        fallbacks: lines about what a built-in model replaces, for the user and for each record.
        why: a line that says why "auto" took this background; for the user, once.
    """

    model: str
    detector: str | None
    mask: str
    background: str | None = None
    fallbacks: tuple[str, ...] = ()
    why: str | None = None


def choose(
    options: Options,
    available: Available,
    *,
    size: tuple[int, int] | None = None,
    device: str = "cpu",
) -> Choice:
    """Return what a run works with.

    Args:
        options: of the run; a name given outright is taken as it is, whether it can be had or not.
        available: what can be had.
        size: (width, height) of the photo, which decides about the background; None leaves that open.
        device: "cpu", "cuda" or "mps": what is quick enough depends on it.
    """
    replaced: list[tuple[str, str, str]] = []

    def take(role: Role, wanted: str) -> str:
        reason = available.missing.get(wanted)
        if reason is None:
            return wanted
        replaced.append((wanted, builtin(available.tables, role), reason))
        return builtin(available.tables, role)

    model, detector = options.model, options.detector
    if model == AUTO:
        model = take("face restorer", wanted(available.tables, "face restorer", options.scale))
    only_builtin = options.model != AUTO and is_builtin(available.tables, options.model)
    if model == NONE or options.aligned:
        found = None
    elif detector != AUTO:
        found = detector
    elif only_builtin:
        found = builtin(available.tables, "face detector")
    else:
        found = take("face detector", wanted(available.tables, "face detector", options.scale))
    background, why = (None, None) if size is None else _background(options, available, size, device, only_builtin)
    fallbacks = (_replacement(replaced),) if replaced else ()
    return Choice(model, found, mask_of(available.tables, model), background, fallbacks, why)


def candidates(tables: Mapping[str, Table], scale: float) -> list[str]:
    """Return the tables that "auto" may choose at a scale, whatever the device, and whose being there decides."""
    return [
        name
        for name, table in tables.items()
        if table.auto is not None and (_suits(table, scale) or REGISTRY.architecture_of(table).role == "upscaler")
    ]


def wanted(tables: Mapping[str, Table], role: Role, scale: float, device: str | None = None) -> str:
    """Return the table that "auto" takes for a role where it can be had.

    Raises:
        UsageError: no table is for that.
    """
    for name, table in tables.items():
        if table.auto is not None and _suits(table, scale, device) and (REGISTRY.architecture_of(table).role == role):
            return name
    raise UsageError(f"No table of weights.toml has 'auto' for the role {role}.", "Name one outright.")


def builtin(tables: Mapping[str, Table], role: Role) -> str:
    """Return the table of a role whose weights are part of the package; raises `UsageError` where there is none."""
    for name, table in tables.items():
        if table.builtin and REGISTRY.architecture_of(table).role == role:
            return name
    raise UsageError(f"No built-in model is a {role}.", "Name another one outright.")


def is_builtin(tables: Mapping[str, Table], model: str) -> bool:
    """Whether a face restorer is the built-in one, with which everything else is taken from the package too."""
    return model in tables and tables[model].builtin


def mask_of(tables: Mapping[str, Table], model: str) -> str:
    """Return which mask goes with a face restorer: its table's word, or the first face parser with `auto`."""
    if model in tables and tables[model].mask == LANDMARKS:
        return LANDMARKS
    return wanted(tables, "face parser", 1.0)


def recogniser(tables: Mapping[str, Table]) -> str:
    """Return the table that faces are compared by."""
    return wanted(tables, "face recogniser", 1.0)


def _suits(table: Table, scale: float, device: str | None = None) -> bool:
    """Whether a table's `auto` allows a scale, and a device where one is given."""
    rule = table.auto or {}
    kind = rule.get("device")
    return (
        rule.get("from_scale", 0) <= scale < rule.get("below_scale", float("inf"))
        and rule.get("above_scale", 0) < scale <= rule.get("up_to_scale", float("inf"))
        and (device is None or kind is None or kind == ("cpu" if device == "cpu" else "gpu"))
    )


def _background(
    options: Options, available: Available, size: tuple[int, int], device: str, only_builtin: bool
) -> tuple[str, str | None]:
    """Return what enlarges a photo of this size, and a line that says why "auto" took it."""
    plain = Lanczos.name
    if options.background != AUTO:
        return options.background, None
    if options.scale <= 1:
        return plain, None
    if only_builtin:
        return builtin_background(available, size, device)
    name = wanted(available.tables, "upscaler", options.scale, device)
    if device == "cpu" and not quick_on_cpu(available.tables[name], size):
        return plain, (
            f"Background: {plain}; a network would take minutes for {size[0]} x {size[1]} pixels on a CPU. "
            f"--background {name} uses one all the same."
        )
    reason = available.missing.get(name)
    if reason is not None:
        because = f"{name} is neither on this machine nor reachable ({reason})."
        return builtin_background(available, size, device, because)
    if device == "cpu":
        return name, f"Background: {name}, the one that is quick on a CPU."
    return name, f"Background: {name}, on {device}."


def builtin_background(
    available: Available, size: tuple[int, int], device: str, because: str = ""
) -> tuple[str, str | None]:
    """Return the built-in upscaler, or Lanczos for a photo that it would take minutes for, and a line that says why.

    Args:
        available: what can be had.
        size: (width, height) of the photo.
        device: "cpu", "cuda" or "mps".
        because: why it takes the place of another one; empty where it does not.
    """
    name = builtin(available.tables, "upscaler")
    if device != "cpu" or quick_on_cpu(available.tables[name], size):
        return name, f"{because} The built-in model {name} enlarges the background." if because else None
    line = f"Background: {Lanczos.name}; a network would take minutes for {size[0]} x {size[1]} pixels."
    return Lanczos.name, f"{because} {line}".strip()


def quick_on_cpu(table: Table, size: tuple[int, int]) -> bool:
    """Whether an upscaler enlarges a photo of this size on a CPU within `CPU_BUDGET`."""
    architecture = REGISTRY.of_role(UpscalerArchitecture, table)
    return size[0] * size[1] * architecture.flops(REGISTRY.arguments(table)) <= CPU_BUDGET


def _replacement(replaced: Sequence[tuple[str, str, str]]) -> str:
    """Return the line about (wanted, built-in, reason) that the user reads once, and each record holds."""
    reasons = dict.fromkeys(reason for _, _, reason in replaced)
    wanted = " and ".join(name for name, _, _ in replaced)
    taken = " and ".join(name for _, name, _ in replaced)
    places = "model {} takes its place" if len(replaced) == 1 else "models {} take their place"
    return (
        f"Neither on this machine nor reachable: {wanted} ({'; '.join(reasons)}). The built-in {places.format(taken)}."
    )


# ------------------------------------------------------------------------------------------------ what makes no sense


def crop_of(table: Table) -> CropSpec:
    """Return what a face restorer's network takes and gives."""
    return REGISTRY.of_role(FaceArchitecture, table).crop(REGISTRY.arguments(table))


def check_model(options: Options, table: Table, tables: Mapping[str, Table]) -> None:
    """Refuse a face restorer that cannot do what the options ask of it.

    Raises:
        UsageError: it is something else, lacks a control that was given, or takes aligned crops only.
    """
    architecture = REGISTRY.of_role(FaceArchitecture, table, f"--model {options.model}")
    for control in ("fidelity", "seed"):
        if getattr(options, control) is not None and control not in architecture.controls:
            having = [name for name, each in tables.items() if control in controls(each)]
            raise UsageError(
                f"{table.name} has no {control} control.",
                f"Leave --{control} out" + (f", or use one of: {', '.join(having)}." if having else "."),
            )
    if not options.aligned and crop_of(table).template is None:
        raise UsageError(
            f"{table.name} restores aligned crops only; it has no way to find its subject in a photo.",
            "Give it aligned crops with --aligned, or choose another --model.",
        )


def check_no_faces(options: Options) -> None:
    """Refuse what needs a face restorer where there is none.

    Raises:
        UsageError: a fidelity or a likeness was asked for.
    """
    if options.fidelity is not None:
        raise UsageError("--fidelity needs a face restorer; --model none has none.")
    if options.min_likeness is not None:
        raise UsageError("--min-likeness compares restored faces; --model none restores none.", "Leave it out.")


def check_likeness(options: Options, model: str, crop: CropSpec) -> None:
    """Refuse `min_likeness` where no face of a person is restored that could be compared.

    Args:
        options: of the run.
        model: the face restorer's name.
        crop: what it takes and gives.

    Raises:
        UsageError: nothing could be compared.
    """
    if options.min_likeness is not None and crop.template is None:
        raise UsageError(
            f"--min-likeness compares the faces of people; {model} restores something else.", "Leave it out."
        )


def controls(table: Table) -> tuple[str, ...]:
    """Return the controls that a table's network has; none for what is no face restorer."""
    architecture = REGISTRY.architecture_of(table)
    return architecture.controls if isinstance(architecture, FaceArchitecture) else ()
