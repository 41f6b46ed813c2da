"""What finds damage in prints, fills it, and guesses their colours: loaded when it is first needed."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from restorer.models import REGISTRY
from restorer.pipeline import printed
from restorer.pipeline.comparing import Comparing
from restorer.pipeline.decisions import Given, Notify, alone

if TYPE_CHECKING:
    from restorer.engine.device import Device
    from restorer.engine.network import Network
    from restorer.imaging.profiles import Colours
    from restorer.models.base import Role
    from restorer.options import Options
    from restorer.repairing.finding import Finder
    from restorer.repairing.network_filling import NetworkPainter
    from restorer.upscaling.colouring import Colourer
    from restorer.weights import Table


class Mending(Comparing):
    """What compares faces, and what a print is mended with; `restorer.pipeline.components.Components` is made of it."""

    def __init__(
        self, options: Options, notify: Notify | None = None, given: Given | None = None, warn: Notify | None = None
    ) -> None:
        super().__init__(options, notify, given, warn)
        self._finder: Finder | None = None
        self._colourer: Colourer | None = None

    @abstractmethod
    def network(self, table: Table, device: Device | None = None) -> Network:
        """Return the network of a table."""

    def finder_table(self) -> Table | None:
        """Return the table of what finds damage: the one that --repair names, else the first that is built in.

        None where neither is to be had.
        """
        return self._mender(printed.FINDER)

    @alone
    def finder(self) -> Finder | None:
        """Return what finds damage in a print; None where nothing can be had that does."""
        table = self.finder_table()
        if table is not None and self._finder is None:
            from restorer.repairing.finding import NetworkFinder

            self._finder = NetworkFinder(self.network(table))
        return self._finder

    def filler_table(self) -> Table | None:
        """Return the table of what fills damage: the one that --repair names, else the first that is built in.

        None where neither is to be had: no network does.
        """
        return self._mender(printed.FILLER)

    def _mender(self, role: Role) -> Table | None:
        """Return the table of a role that --repair names, else the first that is built in."""
        named = printed.repairers(self.options).get(role)
        if named is not None:
            return named
        tables = self._available.usable.values()
        return next((t for t in tables if t.builtin and REGISTRY.architecture_of(t).role == role), None)

    @alone
    def painter(self, colours: Colours | None) -> NetworkPainter | None:
        """Return the network that fills damage; None where none was named and none is built in.

        Args:
            colours: what the photo's values mean; None = sRGB.

        Raises:
            WeightsError: its weights cannot be had.
        """
        table = self.filler_table()
        if table is None:
            return None
        from restorer.repairing.network_filling import NetworkPainter

        return NetworkPainter(self.network(table), colours)

    def colourer_table(self) -> Table | None:
        """Return the table of what guesses colours; None where nothing does."""
        return printed.colourer(self.options, self._available.usable)

    def colourer_names(self) -> list[str]:
        """Return the names of all that could guess colours."""
        return [table.name for table in printed.colourers(self._available.usable)]

    @alone
    def colourer(self) -> Colourer | None:
        """Return what guesses the colours of black-and-white photos; None where "auto" has no weights for it.

        Raises:
            WeightsError: weights that were named cannot be had.
        """
        table = self.colourer_table()
        if table is not None and self._colourer is None:
            from restorer.upscaling.colouring import Colourer

            self._colourer = Colourer(self.network(table), self.options.color_strength)
        return self._colourer
