"""What compares the faces of a run, with their own photo and with photos of the same person."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from restorer import weights
from restorer.engine.device import Device
from restorer.errors import LicenseForbidsError, WeightsUnavailableError
from restorer.pipeline import choice as choices
from restorer.pipeline import references
from restorer.pipeline.decisions import Decisions, Given, Notify, alone

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self

    from restorer.engine.network import Network
    from restorer.faces.likeness import Likeness
    from restorer.models.base import Detector
    from restorer.options import Options
    from restorer.pipeline.references import People
    from restorer.weights import OnProgress, Table


class Comparing(Decisions):
    """Decisions, and what compares faces; see `restorer.pipeline.components.Components`, which it is a part of."""

    _on_download: OnProgress | None

    def __init__(
        self, options: Options, notify: Notify | None = None, given: Given | None = None, warn: Notify | None = None
    ) -> None:
        super().__init__(options, notify, given, warn)
        self._likeness: Likeness | None = None
        self._people: People | None = None
        self._of_faces: dict[Options, Self] = {}

    @property
    def tables(self) -> Mapping[str, Table]:
        """All tables of weights."""
        return self._available.tables

    @alone
    def adjusted(self, options: Options) -> Self:
        """Return what works with the options of a single face; networks, and what was said, are shared.

        Args:
            options: as `restorer.pipeline.adjusted.options_of` gives them.
        """
        if options not in self._of_faces:
            made = self._of_faces[options] = self._like(options)
            made.told = self.told
        return self._of_faces[options]

    @abstractmethod
    def _like(self, options: Options) -> Self:
        """Return what works with other options, and is like this in all else."""

    @abstractmethod
    def network(self, table: Table, device: Device | None = None) -> Network:
        """Return the network of a table."""

    @abstractmethod
    def detector(self) -> Detector:
        """Return what finds faces."""

    @alone
    def likeness(self) -> Likeness:
        """Return what compares faces, always on the CPU; raises WeightsError when its weights cannot be had."""
        try:
            return self.recogniser()
        except WeightsUnavailableError as error:
            raise error.with_remedy(f"{error.remedy} Or leave --min-likeness out.") from error

    @alone
    def recogniser(self) -> Likeness:
        """Return what compares faces, on the CPU; raises WeightsError where its weights may not be used, or had."""
        if self._likeness is None:
            tables = self._available.tables
            table = tables[choices.recogniser(tables)]
            choices.check_license(self.options, table, "face recogniser", tables)
            weights.fetch(table, offline=self.options.offline, on_progress=self._on_download)
            from restorer.faces.likeness import Likeness

            self._likeness = Likeness(self.network(table, Device("cpu", "fp32")))
        return self._likeness

    @alone
    def compares(self) -> Likeness | None:
        """Return what compares faces, None where it cannot be had, which is said; for what can do without."""
        try:
            return self.recogniser()
        except (WeightsUnavailableError, LicenseForbidsError) as error:
            if not self.options.fallback:
                raise
            self.warn_once(references.absence(error, "Fidelities are compared by their pixels alone"))
            return None

    def recogniser_is_here(self) -> bool:
        """Whether what compares faces is on this machine and may be used; nothing is fetched or loaded to tell."""
        tables = self._available.tables
        name = choices.recogniser(tables)
        return name in self.usable and weights.cached(tables[name]) is not None

    def compares_already(self) -> Likeness | None:
        """Return what compares faces where it is on this machine; None where it is not. Nothing is fetched."""
        return self.recogniser() if self.recogniser_is_here() else None

    @alone
    def people(self) -> People | None:
        """Return the people of the reference photos, None where there are none; raises as `references.people_of`."""
        if self._people is None and self.references is not None and self.faces_wanted:
            self._people = references.people_of(self, self.references)
        return self._people
