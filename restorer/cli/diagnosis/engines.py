"""Which engine runs a model's networks quickest on this machine, measured side by side and compared."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from restorer.cli.diagnosis.base import Check, Examination, first_line
from restorer.errors import RestorerError, WeightsUnavailableError
from restorer.formatting import duration

if TYPE_CHECKING:
    import numpy as np
    import torch

    from restorer.engine.network import Network
    from restorer.weights import Table

ROUNDS = 7
"""Runs of each engine, in turns; one before does not count."""
SECONDS = 20.0
"""After so long no further round of a network begins, once there are three."""
QUICKER = 0.9
"""A share of torch's time from which on another engine is worth to be told."""
Clock = Callable[[], float]


class Engines(Examination):
    """Runs the networks of a model in each engine that is installed.

    Args:
        model: as `--model` takes it.
        offline: download nothing.
        clock: seconds, for tests.
    """

    group = "Engines"

    def __init__(self, model: str, offline: bool, clock: Clock = time.perf_counter) -> None:
        self._model, self._offline, self._clock = model, offline, clock

    def look(self) -> Iterator[Check]:
        """Yield each network with the seconds of each engine."""
        from restorer import weights
        from restorer.engine import hardware
        from restorer.engine.choice import UNITS
        from restorer.engine.device import configure_threads
        from restorer.options import Options
        from restorer.pipeline.choice import LANDMARKS
        from restorer.pipeline.components import Components

        here = hardware.versions()
        if not here:
            extras = " or ".join(f'"restorer[{name}]"' for name in UNITS)
            yield self.found("engines", "note", "torch alone is installed", f"To compare others: pip install {extras}")
            return
        configure_threads()
        try:
            components = Components(Options(model=self._model, offline=self._offline))
            tables = [components.model_table(), components.detector_table()]
            if components.mask_name != LANDMARKS:
                tables.append(weights.resolve(components.mask_name))
            for table in tables:
                try:
                    yield self.network(table, components.device)
                except WeightsUnavailableError as error:
                    yield self.found(table.name, "skipped", error.message, error.remedy)
        except RestorerError as error:
            yield self.found(self._model, "broken", error.message, error.remedy)

    def network(self, table: Table, device: Any) -> Check:
        """Measure one network."""
        from restorer import weights
        from restorer.engine import kept
        from restorer.engine.exported import unsuited
        from restorer.models import REGISTRY

        reason = unsuited(REGISTRY.architecture_of(table))
        if reason is not None:
            return self.found(table.name, "ok", f"torch: {reason}")
        path = weights.fetch(table, offline=self._offline)
        prepared = kept.prepare(table, path)
        if prepared.reason is not None:
            return self.found(table.name, "ok", f"torch: {prepared.reason}")
        running, refused = _loaded(table, device)
        example = prepared.example()
        seconds, found = self._in_turns(running, example, prepared.controls)
        return self._told(table.name, running, refused, seconds, found)

    def _in_turns(
        self, running: dict[str, Network], example: Sequence[np.ndarray], controls: Sequence[str]
    ) -> tuple[dict[str, list[float]], dict[str, list[np.ndarray]]]:
        """Return the seconds of each engine's runs, and what its last one made."""
        import torch

        picture = torch.from_numpy(example[0])
        more: dict[str, Any] = {name: float(value) for name, value in zip(controls, example[1:], strict=True)}
        seconds: dict[str, list[float]] = {name: [] for name in running}
        found: dict[str, list[np.ndarray]] = {}
        begin = self._clock()
        for number in range(ROUNDS + 1):
            if number > 3 and self._clock() - begin > SECONDS:
                break
            for name, network in running.items():
                start = self._clock()
                output = network(picture, **more)
                if number:
                    seconds[name].append(self._clock() - start)
                found[name] = _arrays(output)
        return seconds, found

    def _told(
        self,
        network: str,
        running: dict[str, Network],
        refused: dict[str, str],
        seconds: dict[str, list[float]],
        found: dict[str, list[np.ndarray]],
    ) -> Check:
        from restorer.models.exporter.difference import apart

        middle = {name: median(times) for name, times in seconds.items()}
        facts: dict[str, Any] = {}
        words = []
        for name, each in running.items():
            difference = apart(found[name], found["torch"])
            facts[name] = {
                "seconds": [round(value, 4) for value in seconds[name]], "median": round(middle[name], 4),
                "of_torch": round(middle[name] / middle["torch"], 3), "rms": difference.rms, **each.facts,
            }  # fmt: skip
            beside = "" if name == "torch" else f" ({facts[name]['of_torch']:.2f}; {difference.rms:.1e} apart)"
            words.append(f"{name} {each.precision} {duration(middle[name])}{beside}")
        words += [f"{name} not: {why}" for name, why in refused.items()]
        facts["refused"] = refused
        quickest = min(middle, key=lambda name: (middle[name], name))
        if quickest != "torch" and middle[quickest] <= QUICKER * middle["torch"]:
            return self.found(network, "note", "; ".join(words), f"Quicker here: --engine {quickest}", facts)
        return self.found(network, "ok", "; ".join(words), facts=facts)


def _loaded(table: Table, device: Any) -> tuple[dict[str, Network], dict[str, str]]:
    """Return a network in each engine on each of its units that computes right, and why others do not."""
    from restorer.engine import hardware
    from restorer.engine.choice import TORCH
    from restorer.engine.pool import POOL, engines

    running: dict[str, Network] = {TORCH: POOL.get(table, device, offline=True)}
    refused: dict[str, str] = {}
    for name in hardware.versions():
        try:
            for unit in engines()[name].units():  # type: ignore[attr-defined]
                network = POOL.get(table, device, engine=f"{name}:{unit}", offline=True)
                if network.facts["engine"] == TORCH:
                    refused[f"{name}:{unit}"] = network.facts["reason"].partition(": ")[2]
                else:
                    running[f"{name}:{unit}"] = network
        except RestorerError as error:  # what writes its files is missing
            refused[name] = f"{error.message} {error.remedy or ''}".strip()
        except Exception as error:  # noqa: BLE001 - a broken installation may raise anything; it is the finding
            refused[name] = first_line(error)
    return running, refused


def _arrays(output: torch.Tensor | tuple[torch.Tensor, ...]) -> list[np.ndarray]:
    return [each.numpy() for each in (output if isinstance(output, tuple) else (output,))]
