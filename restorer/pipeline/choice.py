"""What "auto" means: a pure function of the options, the photo's size, the device, and what can be had.

Nothing here loads, fetches or asks; `restorer.pipeline.components` gathers what is known and acts on the choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from restorer.errors import LicenseForbidsError, UsageError
from restorer.models import REGISTRY
from restorer.models.base import CropSpec, FaceArchitecture, Role, UpscalerArchitecture
from restorer.options import Options, declared, sizes
from restorer.pipeline import searches
from restorer.pipeline.fallbacks import Replacement, barred_line
from restorer.upscaling.lanczos import Lanczos
from restorer.weights import Absence, Table

AUTO, NONE = "auto", "none"
LANDMARKS = "landmarks"
"""The mask that is drawn from a face's landmarks, in place of a face parser's."""
ANY, COMMERCIAL = "any", "commercial"
"""What `license` asks for."""
CPU_BUDGET = 1e13
"""Operations that an automatically chosen upscaler may cost on a CPU: below a minute on two cores."""


@dataclass(frozen=True)
class Available:
    """What can be had.

    Attributes:
        tables: of all weights.toml, by name.
        missing: why a table that "auto" may choose is neither here nor reachable, by its name; may be a mapping that
            asks when it is first read.
        license: what the weights that "auto" takes must allow: "any" use, or "commercial".
    """

    tables: Mapping[str, Table]
    missing: Mapping[str, Absence] = field(default_factory=dict)
    license: str = ANY

    @cached_property
    def usable(self) -> Mapping[str, Table]:
        """The tables that "auto" may take under this licence."""
        if self.license != ANY:
            return {name: table for name, table in self.tables.items() if table.commercial}
        return {
            name: replace(table, auto=None) if (table.auto or {}).get("license", ANY) != ANY else table
            for name, table in self.tables.items()
        }


@dataclass(frozen=True)
class Choice:
    """What a run works with.

    Attributes:
        model: the face restorer's table; "none" where faces are not looked for.
        detector: the face detector's table; None where nothing is detected.
        mask: the face parser's table, or "landmarks".
        background: what enlarges the picture; None where no photo was given.
        replaced: what built-in models took the place of.
        why: a line that says why "auto" took this background; for the user, once.
        barred: a line that says why faces stay as they are, where no weights that the licence allows can be had; then
            the model is "none".
    """

    model: str
    detector: str | None
    mask: str
    background: str | None = None
    replaced: tuple[Replacement, ...] = ()
    why: str | None = None
    barred: str | None = None


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
    replaced: list[Replacement] = []
    lacking: list[tuple[Role, str | None]] = []
    usable = available.usable

    def take(role: Role) -> str | None:
        name = _first(usable, role, options.scale) if available.license != ANY else wanted(usable, role, options.scale)
        absence = available.missing.get(name) if name is not None else None
        if name is not None and absence is None:
            return name
        instead = _builtin(usable, role) if available.license != ANY else builtin(usable, role)
        if instead is None:
            lacking.append((role, name))
        elif name is not None and absence is not None:
            replaced.append(Replacement(name, instead, absence))
        return instead

    model, detector = options.model, options.detector
    if model == AUTO:
        model = take("face restorer") or NONE
    only_builtin = options.model != AUTO and is_builtin(available.tables, options.model)
    found: str | None
    if options.model == NONE or options.aligned:
        found = None
    elif detector != AUTO:
        found = detector
    elif only_builtin:
        found = builtin(usable, "face detector")
    else:
        found = take("face detector")
    if lacking:
        model, found = NONE, None
        replaced.clear()
    background, why = None, None
    if size is not None:
        background, why, instead = _background(options, available, size, device, only_builtin)
        replaced += [instead] if instead is not None else []
    barred = barred_line(lacking) if lacking else None
    return Choice(model, found, mask_of(usable, model), background, tuple(replaced), why, barred)


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
    found = _first(tables, role, scale, device)
    if found is None:
        raise UsageError(f"No table of weights.toml has 'auto' for the role {role}.", "Name one outright.")
    return found


def _first(tables: Mapping[str, Table], role: Role, scale: float, device: str | None = None) -> str | None:
    for name, table in tables.items():
        if table.auto is not None and _suits(table, scale, device) and (REGISTRY.architecture_of(table).role == role):
            return name
    return None


def plain_run(tables: Mapping[str, Table], device: str, scale: float = 2.0) -> list[str]:
    """Return the tables of a run that names none: face restorer, detector, parser and upscaler.

    Args:
        tables: of all weights.toml, by name.
        device: "cpu", "cuda" or "mps".
        scale: of the run.
    """
    roles: tuple[Role, ...] = "face restorer", "face detector", "face parser", "upscaler"
    return [wanted(tables, role, scale, device) for role in roles]


def builtin(tables: Mapping[str, Table], role: Role) -> str:
    """Return the table of a role whose weights are part of the package; raises `UsageError` where there is none."""
    found = _builtin(tables, role)
    if found is None:
        raise UsageError(f"No built-in model is a {role}.", "Name another one outright.")
    return found


def _builtin(tables: Mapping[str, Table], role: Role) -> str | None:
    found = (name for name, table in tables.items() if table.builtin and REGISTRY.architecture_of(table).role == role)
    return next(found, None)


def is_builtin(tables: Mapping[str, Table], model: str) -> bool:
    """Whether a face restorer is the built-in one, with which everything else is taken from the package too."""
    return model in tables and tables[model].builtin


def has_better_upscaler(available: Available) -> bool:
    """Whether an upscaler that is not built in, and that "auto" may choose, can be had."""
    return any(
        table.auto is not None and not table.builtin and name not in available.missing
        for name, table in available.tables.items()
        if REGISTRY.architecture_of(table).role == "upscaler"
    )


def mask_of(tables: Mapping[str, Table], model: str) -> str:
    """Return which mask goes with a face restorer: its table's word, or the first face parser with `auto`."""
    if model in tables and tables[model].mask == LANDMARKS:
        return LANDMARKS
    return _first(tables, "face parser", 1.0) or LANDMARKS


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
) -> tuple[str, str | None, Replacement | None]:
    """Return what enlarges a photo of this size, why "auto" took it, in a line, and what it takes the place of."""
    plain = Lanczos.name
    if options.background != AUTO:
        return options.background, None, None
    scale = sizes.scale_of(options, size)
    if scale <= 1:
        return plain, None, None
    if only_builtin:
        return *builtin_background(available, size, device), None
    name = _first(available.usable, "upscaler", scale, device)
    if name is None:
        return *builtin_background(available, size, device), None
    if device == "cpu" and not quick_on_cpu(available.tables[name], size):
        return (
            plain,
            (
                f"Background: {plain}; a network would take minutes for {size[0]} x {size[1]} pixels on a CPU. "
                f"--background {name} uses one all the same."
            ),
            None,
        )
    absence = available.missing.get(name)
    if absence is not None:
        taken, why = builtin_background(available, size, device)
        return taken, why, Replacement(name, taken, absence)
    if device == "cpu":
        return name, f"Background: {name}, the one that is quick on a CPU.", None
    return name, f"Background: {name}, on {device}.", None


def builtin_background(available: Available, size: tuple[int, int], device: str) -> tuple[str, str | None]:
    """Return the built-in upscaler; for a photo that it would take minutes for, Lanczos and a line that says why.

    Args:
        available: what can be had.
        size: (width, height) of the photo.
        device: "cpu", "cuda" or "mps".
    """
    name = _builtin(available.usable, "upscaler")
    if name is None:
        return Lanczos.name, f"Background: {Lanczos.name}; no network that may be used is built in."
    if device != "cpu" or quick_on_cpu(available.tables[name], size):
        return name, None
    return Lanczos.name, f"Background: {Lanczos.name}; a network would take minutes for {size[0]} x {size[1]} pixels."


def quick_on_cpu(table: Table, size: tuple[int, int]) -> bool:
    """Whether an upscaler enlarges a photo of this size on a CPU within `CPU_BUDGET`."""
    architecture = REGISTRY.of_role(UpscalerArchitecture, table)
    return size[0] * size[1] * architecture.flops(REGISTRY.arguments(table)) <= CPU_BUDGET


# ------------------------------------------------------------------------------------------------ what makes no sense


def crop_of(table: Table) -> CropSpec:
    """Return what a face restorer's network takes and gives."""
    return REGISTRY.of_role(FaceArchitecture, table).crop(REGISTRY.arguments(table))


def check_model(options: Options, table: Table, tables: Mapping[str, Table]) -> None:
    """Refuse a face restorer that cannot do what the options ask of it.

    Raises:
        UsageError: it is something else, lacks a control that was given, or takes aligned crops only.
    """
    searches.check(options, table, tables)
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
    searches.check_none(options)
    for name in ("face", "adjust"):
        if getattr(options, name):
            raise UsageError(f"--{name} names a face; --model none restores none.", "Leave it out.")
    if options.fidelity is not None:
        raise UsageError("--fidelity needs a face restorer; --model none has none.")
    for name in ("min_likeness", "reference"):
        if getattr(options, name) != declared(Options)[name].default:
            flag = name.replace("_", "-")
            raise UsageError(f"--{flag} compares restored faces; --model none restores none.", "Leave it out.")


def check_likeness(options: Options, model: str, crop: CropSpec) -> None:
    """Refuse `min_likeness` and `reference` where no face of a person is restored that could be compared.

    Args:
        options: of the run.
        model: the face restorer's name.
        crop: what it takes and gives.

    Raises:
        UsageError: nothing could be compared.
    """
    for name in ("min_likeness", "reference"):
        if crop.template is None and getattr(options, name) != declared(Options)[name].default:
            flag = name.replace("_", "-")
            raise UsageError(
                f"--{flag} compares the faces of people; {model} restores something else.", "Leave it out."
            )


def check_license(
    options: Options, table: Table, role: Role, tables: Mapping[str, Table], asked: str | None = None
) -> None:
    """Refuse weights that were named and do not allow what `license` asks for.

    Args:
        options: of the run.
        table: of the weights.
        role: what they do.
        tables: all there are.
        asked: the option that needs them, where they were not named themselves.

    Raises:
        LicenseForbidsError: they forbid it, or nobody has said that they allow it; the others of their role are named.
    """
    if options.license == ANY or table.commercial:
        return
    others = [name for name, each in tables.items() if each.commercial and REGISTRY.architecture_of(each).role == role]
    said = f": {table.license}" if table.license else ""
    what = (
        "may not be used commercially without more" if table.commercial is False else "says nothing of commercial use"
    )
    instead = f"Leave {asked} out" if asked else f"Use {' or '.join([*others, 'auto'])}"
    raise LicenseForbidsError(
        table.name,
        f"{table.name} {what}{said}.",
        f"{instead}, or leave --license out. If you hold the rights to weights of your own, "
        "write commercial = true into their table of weights.toml.",
    )


def is_face_restorer(table: Table) -> bool:
    """Return whether a table is one of a face restorer."""
    return isinstance(REGISTRY.architecture_of(table), FaceArchitecture)


def controls(table: Table) -> tuple[str, ...]:
    """Return the controls that a table's network has; none for what is no face restorer."""
    architecture = REGISTRY.architecture_of(table)
    return architecture.controls if isinstance(architecture, FaceArchitecture) else ()
