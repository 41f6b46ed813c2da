"""Which architectures there are, and the one way from a weights.toml table to a network.

`restorer.models` builds the one registry of the package by walking its modules; tests copy it and add to the copy.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from restorer.errors import CheckpointLayoutError, InvalidTableError, MissingPackageError, UsageError
from restorer.models.base import Architecture, LoadedNetwork, UpscalerArchitecture
from restorer.models.searching import SearchArchitecture

if TYPE_CHECKING:
    import torch
    from torch import nn

    from restorer.models.base import StateDict
    from restorer.weights import Table

A = TypeVar("A", bound=Architecture)
_log = logging.getLogger(__name__)
_LARGEST_ARGUMENT = 4096
"""What an argument that a file tells of itself may be at most, where the file does not hold as many numbers."""


class Registry(Mapping[str, Architecture]):
    """Architectures by name.

    Args:
        architectures: what it holds from the beginning.
    """

    def __init__(self, architectures: Iterable[Architecture] = ()) -> None:
        self._architectures: dict[str, Architecture] = {}
        for architecture in architectures:
            self.add(architecture)

    def __getitem__(self, name: str) -> Architecture:
        return self._architectures[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._architectures)

    def __len__(self) -> int:
        return len(self._architectures)

    def __repr__(self) -> str:
        return f"Registry({', '.join(self)})"

    def add(self, architecture: Architecture) -> None:
        """Add an architecture; a name that is taken raises ValueError and leaves the registry as it was."""
        if architecture.name in self._architectures:
            raise ValueError(f"An architecture named {architecture.name!r} is registered already.")
        self._architectures[architecture.name] = architecture

    def copy(self) -> Registry:
        """Return a registry of its own with the same architectures."""
        return Registry(self.values())

    def enlarges_nothing(self, table: Table) -> bool:
        """Whether a table's network gives pictures of the size that it takes: one that cleans."""
        architecture = self.get(table.architecture)
        return isinstance(architecture, UpscalerArchitecture) and 1 in architecture.factors(self.arguments(table))

    def architecture_of(self, table: Table) -> Architecture:
        """Return the architecture that a table names; raises `InvalidTableError` when there is none of that name."""
        if table.architecture not in self:
            raise InvalidTableError(
                table.name,
                f"The table {table.name!r} names the architecture {table.architecture!r}, which is not known.",
                f"Use one of: {', '.join(sorted(self))}.",
            )
        return self[table.architecture]

    def of_role(self, kind: type[A], table: Table, option: str | None = None) -> A:
        """Return the architecture of a table, which must be of a kind such as `FaceArchitecture`.

        Args:
            kind: the class that stands for the role.
            table: the table.
            option: what named it, "--detector NAME", for the error.

        Raises:
            UsageError: it is for something else.
            InvalidTableError: the table names no architecture that is known.
        """
        found = self.architecture_of(table)
        if not isinstance(found, kind):
            role, article = kind.role, "an" if found.role[0] in "aeiou" else "a"
            raise UsageError(
                f"{f'{option}: ' if option else ''}{table.name} is {article} {found.role}, not a {role}.",
                f"`restore models list` shows the names whose role is {role}.",
            )
        return found

    def arguments(self, table: Table) -> dict[str, Any]:
        """Return all arguments of a table's network, as `load` takes them, without loading anything.

        What the table leaves out is told by the file where it is here and its header says shapes (safetensors); the
        official values stand for it elsewhere.
        """
        from restorer.weights import peek

        architecture = self.architecture_of(table)
        if isinstance(architecture, SearchArchitecture):
            prior = prior_of(table)
            told = architecture.of_prior(self.architecture_of(prior), self.arguments(prior))
            return {**architecture.defaults, **told, **table.arguments}
        found: Mapping[str, Any] = {}
        seen = peek(table)
        if seen is not None:
            own, shapes = seen
            found = own.arguments if own is not None and own.architecture == architecture.name else {}
            try:
                found = found or architecture.infer(shapes)
            except (KeyError, IndexError, ValueError, TypeError) as error:  # `load` says what does not fit
                _log.debug("%s tells no arguments: %s", table.name, error)
        return {**architecture.defaults, **found, **table.arguments}

    def load(self, table: Table, path: Path, device: str | torch.device = "cpu") -> LoadedNetwork:
        """Build the network of a table from its verified file and return it in eval mode, without gradients.

        Args:
            table: the weights.toml table.
            path: its verified file.
            device: where the network goes.

        Raises:
            UnsafeCheckpointError: the file holds more than tensors and plain values.
            InvalidTableError: the table sets an argument that the architecture does not have.
            CheckpointLayoutError: keys or shapes are not the architecture's. Checked before any tensor is copied.
        """
        import torch

        from restorer.networks.skip_init import SkipInit
        from restorer.weights import about, aligned, load_state_dict

        architecture = self.architecture_of(table)
        check_arguments(table.name, architecture, table.arguments)
        if isinstance(architecture, SearchArchitecture):
            raise UsageError(f"{table.name} is a search, not a network.", f"Load its prior: {prior_of(table).name}.")
        state = load_state_dict(path, table.name)
        own = about(path)
        if architecture.read_whole:
            network, _, arguments = fit(architecture, state, table.arguments, table.name, path)
            network.requires_grad_(False)
            return LoadedNetwork(network.to(device).eval(), table, architecture, arguments, path)
        if own is not None and own.architecture == architecture.name:  # translated when it was written
            arguments = {**architecture.defaults, **own.arguments, **table.arguments}
            with SkipInit(), torch.device("meta"):
                network = _built(table.name, path, architecture, arguments, state)
            _check_layout(table.name, path, architecture, state, network)
        else:
            network, state, arguments = fit(architecture, state, table.arguments, table.name, path)
        # Checkpoints are stored in half precision at times; networks hold float32 and are cast where they run.
        state = {key: aligned(value.float() if value.is_floating_point() else value) for key, value in state.items()}
        network.load_state_dict(state, assign=True)
        network.requires_grad_(False)
        return LoadedNetwork(network.to(device).eval(), table, architecture, arguments, path)

    def recognise(
        self, state: StateDict, given: Mapping[str, Any], path: Path
    ) -> tuple[Architecture, StateDict, dict[str, Any]]:
        """Return the one architecture that a checkpoint fits, and the tensors and arguments that `fit` returns for it.

        Where several fit, it is the one that uses most of the checkpoint.

        Raises:
            CheckpointLayoutError: it fits none, or two equally well; the architectures are named.
        """
        best: list[tuple[Architecture, StateDict, dict[str, Any]]] = []
        most, more = 0, ""
        # Those that are read whole cost the import of a large library: only when no other knows the file.
        for name, architecture in sorted(self.items(), key=lambda item: item[1].read_whole):
            if set(given) - set(architecture.defaults) or isinstance(architecture, SearchArchitecture):
                continue
            if architecture.read_whole and best:
                break
            try:
                _, translated, arguments = fit(architecture, state, given, path.name, path)
            except CheckpointLayoutError as error:
                _log.debug("%s is no %s: %s", path, name, error)
                continue
            except MissingPackageError as error:
                more = f" For an upscaler of another architecture: {error.remedy}"
                continue
            used = sum(value.numel() for value in translated.values())
            if used > most:
                best, most = [], used
            if used == most:
                best.append((architecture, translated, arguments))
        if len(best) == 1:
            return best[0]
        names = [architecture.name for architecture, _, _ in best] or sorted(self)
        raise CheckpointLayoutError(
            path.name,
            f"{path.name} fits {'several architectures' if best else 'none of the architectures that are known'}.",
            f"Name it with --architecture, one of: {', '.join(names)}.{more}",
        )


def check_arguments(table_name: str, architecture: Architecture, arguments: Mapping[str, Any]) -> None:
    """Raise `InvalidTableError` when an argument is none of the architecture's."""
    unknown = sorted(set(arguments) - set(architecture.defaults))
    if unknown:
        raise InvalidTableError(
            table_name,
            f"The table {table_name!r} sets {', '.join(unknown)}, which {architecture.name!r} does not know.",
            f"Its arguments are: {', '.join(architecture.defaults) or 'none'}.",
        )


def fit(
    architecture: Architecture, state: StateDict, given: Mapping[str, Any], table_name: str, path: Path
) -> tuple[nn.Module, StateDict, dict[str, Any]]:
    """Translate an upstream state dict for an architecture, and check it against its network.

    Args:
        architecture: what the checkpoint is taken for.
        state: its tensors by upstream names.
        given: arguments that go before what the shapes tell and before the defaults.
        table_name: for the errors.
        path: for the errors.

    Returns:
        The network on torch's meta device, the tensors under its names, all its arguments. The network of an
        architecture that reads checkpoints whole has its weights.

    Raises:
        CheckpointLayoutError: it is no checkpoint of this architecture.
    """
    import torch

    from restorer.networks.skip_init import SkipInit

    shapes = {key: tuple(value.shape) for key, value in state.items()}
    try:
        if architecture.read_whole:
            network, told = architecture.read(state)
            return network, state, {**architecture.defaults, **given, **told}
        arguments = {**architecture.defaults, **architecture.infer(shapes), **given}
        with SkipInit():
            translated = architecture.convert(dict(state), arguments)
        with SkipInit(), torch.device("meta"):
            network = architecture.build(arguments)
    except (KeyError, IndexError, ValueError, TypeError) as error:
        reason = f"{error!s} is missing" if isinstance(error, LookupError) else str(error)
        raise CheckpointLayoutError(
            table_name,
            f"{path.name} is no checkpoint of {architecture.name!r}: {reason}.",
            f"Check the file, or the architecture of the table {table_name!r}.",
        ) from error
    _check_layout(table_name, path, architecture, translated, network)
    return network, translated, arguments


def prior_of(table: Table) -> Table:
    """Return the table of the prior that a search's table names.

    Raises:
        InvalidTableError: it names none.
        UnknownTableError: there is no such prior.
    """
    from restorer.weights import resolve

    if not table.prior:
        raise InvalidTableError(
            table.name, f"The table {table.name!r} is a search and names no prior.", 'Add a line: prior = "tiny-prior"'
        )
    return resolve(table.prior)


def unused(architecture: Architecture, state: StateDict, arguments: Mapping[str, Any]) -> dict[str, int]:
    """Return the branches of a checkpoint that its translation drops, with how many values each holds.

    A branch is the common beginning of keys, such as `discriminator`. It counts as dropped when its translation by
    itself gives nothing.
    """
    dropped: dict[str, int] = {}
    waiting = _branches(list(state), 1)
    while waiting:
        branch, keys = waiting.popitem()
        try:
            if architecture.convert({key: state[key] for key in keys}, arguments):
                deeper = _branches(keys, branch.count(".") + 2)
                if len(deeper) > 1 or branch not in deeper:
                    waiting |= deeper
                continue
        except (KeyError, IndexError) as error:
            _log.debug("%s cannot be translated by itself: %s", branch, error)
            continue
        dropped[branch] = sum(state[key].numel() for key in keys)
    return dict(sorted(dropped.items()))


def _branches(keys: Iterable[str], depth: int) -> dict[str, list[str]]:
    """Return keys by their first `depth` words; the last and numbers are none: `convs.3.weight` is below `convs`."""
    result: dict[str, list[str]] = {}
    for key in keys:
        words = [part for part in key.split(".")[:-1] if not part.isdigit()] or [key]
        result.setdefault(".".join(words[:depth]), []).append(key)
    return result


def _built(
    table_name: str, path: Path, architecture: Architecture, arguments: Mapping[str, Any], state: StateDict
) -> nn.Module:
    """Return a network by the arguments that a file tells of itself: they may be damaged, or made to harm."""
    most = max(_LARGEST_ARGUMENT, sum(value.numel() for value in state.values()))
    lists = (value if isinstance(value, list) else [value] for value in arguments.values())
    try:
        for value in chain.from_iterable(lists):
            if isinstance(value, (int, float)) and abs(value) > most:  # layers without end, of nothing that is there
                raise ValueError(f"{value:g} is too much")
        return architecture.build(dict(arguments))
    except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError, RuntimeError, AssertionError) as error:
        raise CheckpointLayoutError(
            table_name,
            f"{path.name} tells arguments of which no network of the architecture {architecture.name!r} can be made: "
            f"{error}.",
            "Fetch or make the file again; this one is damaged.",
        ) from error


def _check_layout(
    table_name: str, path: Path, architecture: Architecture, state: StateDict, network: nn.Module
) -> None:
    """Compare keys and shapes with the network's own, before a tensor reaches it."""
    wanted = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in state.items()}
    problems = [f"{key} is missing" for key in wanted if key not in found]
    problems += [f"{key} is unknown" for key in found if key not in wanted]
    problems += [
        f"{key} has shape {list(found[key])}, not {list(shape)}"
        for key, shape in wanted.items()
        if key in found and found[key] != shape
    ]
    if problems:
        more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise CheckpointLayoutError(
            table_name,
            f"{path.name} does not fit the architecture {architecture.name!r}: {'; '.join(problems[:3])}{more}.",
            f"Check the file, or the architecture and arguments of the table {table_name!r}.",
        )
