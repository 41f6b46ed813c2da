"""The detector, face restorer, mask and upscaler of a run: loaded when they are first needed, or given by the caller.

What "auto" chooses and cannot have, the models that are built in replace, and say so; what is named outright is never
replaced. A photo without faces costs no face network.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from restorer import weights
from restorer.engine.choice import TORCH
from restorer.engine.device import Device
from restorer.engine.pool import POOL, Pool, preparing
from restorer.errors import WeightsUnavailableError
from restorer.models import REGISTRY
from restorer.models.base import Detector, FaceRestorer
from restorer.pipeline import adjusted, fallbacks, running, searches
from restorer.pipeline import choice as choices
from restorer.pipeline.choice import AUTO, LANDMARKS, NONE
from restorer.pipeline.decisions import Given, Mask, Notify, alone
from restorer.pipeline.fallbacks import Replacement
from restorer.pipeline.mending import Mending
from restorer.upscaling import RESAMPLERS
from restorer.upscaling.lanczos import Background

if TYPE_CHECKING:
    from torch import nn
    from typing_extensions import Self

    from restorer.engine.network import Network
    from restorer.imaging.sampling import Sampling
    from restorer.inversion.searcher import FaceSearcher
    from restorer.options import Options
    from restorer.weights import Table


_log = logging.getLogger(__name__)


class Components(Mending):
    """What one set of options works with.

    Args:
        options: the choices of the run.
        notify: tells the user one line (what "auto" chose); None = it is logged.
        on_download: hears each step of a download; None = its size is logged.
        given: objects in place of what the options name.
        pool: where networks are kept.
        warn: tells a line that even a quiet run says; None = as `notify`, and without that it is logged as a warning.

    Raises:
        UsageError: a name is of another role, or a model lacks what the options ask of it.
        UnknownTableError: no weights.toml has a table of that name.
    """

    def __init__(
        self,
        options: Options,
        notify: Notify | None = None,
        *,
        on_download: weights.OnProgress | None = None,
        given: Given | None = None,
        pool: Pool = POOL,
        warn: Notify | None = None,
    ) -> None:
        super().__init__(options, notify, given, warn)
        self._on_download = on_download
        self._pool = pool
        self._networks: dict[tuple[str, str], Network] = {}
        self._detector = self.given.detector
        self._face_model = self.given.face_model
        self._mask = self.given.mask
        self._mask_warning: str | None = None
        self._backgrounds: dict[str, Background] = {}

    def _like(self, options: Options) -> Self:
        more = {"given": self._given_for(options), "pool": self._pool, "warn": self._warn}
        return type(self)(options, self._notify, on_download=self._on_download, **more)  # type: ignore[arg-type]

    @property
    def device_in_use(self) -> Device | None:
        """The device of the run, where it has been chosen by now."""
        return self._device

    @property
    def sampling(self) -> Sampling:
        """What samples aligned crops and what is pasted, and where: on a CUDA device there, else on the processor."""
        return running.sampling_on(self._device)

    @property
    def loaded(self) -> bool:
        """Whether the face restorer is there: loaded, or given."""
        return self._face_model is not None

    @property
    def is_search(self) -> bool:
        """Whether faces are searched for in a prior."""
        if self.given.face_model is not None or self.options.model in (AUTO, NONE):
            return False
        return searches.is_search(self.model_table())

    def notes(self) -> Counter[str]:
        """Return how often networks had to do otherwise so far: smaller batches or tiles, the CPU in place of a GPU."""
        with self._lock:
            parts = [*self._networks.values(), *self._backgrounds.values()]
            others = list(self._of_faces.values())
        found: Counter[str] = sum((other.notes() for other in others), Counter())
        for part in parts:
            found.update(getattr(part, "notes", {}))
        return found

    @alone
    def fallbacks(self) -> list[str]:
        """Return a line for each choice of "auto" that a built-in model replaces, decided by now.

        Raises:
            WeightsError: the model was named, or a likeness asked for, and its weights cannot be had. They are not done
                without, not even where no face would need them: that is said before the work.
        """
        if self.options.min_likeness is not None:
            self.likeness()
        self.people()
        if self.faces_wanted and self._decides():
            self.choice()
        if self._fallbacks and self.given.face_model is None and self.options.model not in (AUTO, NONE):
            weights.fetch(weights.resolve(self.options.model), offline=self.options.offline)
        for each in adjusted.all_options(self.options, self.tables):
            self.adjusted(each).fallbacks()
        return list(self._fallbacks)

    @alone
    def network(self, table: Table, device: Device | None = None) -> Network:
        """Return the network of a table, fetched, verified and on the device of the run, or on another one."""
        key = table.name, table.wanted_hash  # two files of one's own may have one name
        if key not in self._networks:
            if self.options.device != AUTO:
                self.device  # noqa: B018 - one that is not there is an error before any download
            # Before torch is loaded, which takes seconds: missing weights are said at once.
            path = weights.fetch(table, offline=self.options.offline, on_progress=self._on_download)
            # What is computed on a device of its own is compared with what other machines compute.
            engine = TORCH if device is not None else running.engine_of(self, table)
            self.notify_once(preparing(engine, table, path))
            self._networks[key] = self._pool.get(
                table,
                device or self.device,
                engine=engine,
                offline=self.options.offline,
                on_progress=self._on_download,
            )
        return self._networks[key]

    def facts(self, names: Collection[str]) -> dict[str, dict[str, Any]]:
        """Return what runs networks of these names, and how, of those that are loaded."""
        with self._lock:
            parts, others = list(self._networks.values()), list(self._of_faces.values())
        found = {network.name: dict(network.facts) for network in parts if network.name in names}
        for other in others:
            found = {**other.facts(names), **found}
        return found

    @alone
    def detector(self) -> Detector:
        """Return the detector; raises WeightsError when its weights cannot be had."""
        if self._detector is None:
            from restorer.faces.detect import FaceDetector

            if self.options.detector != AUTO:
                network = self.network(weights.resolve(self.options.detector))
            else:
                network = self._auto_network("detector")
            options = self.options
            self._detector = FaceDetector(network, min_score=options.min_score, min_face=options.min_face)
        return self._detector

    @alone
    def face_model(self) -> FaceRestorer:
        """Return the face restorer; raises WeightsError when its weights cannot be had."""
        if self._face_model is None:
            from restorer.faces.restoring import NetworkFaceRestorer

            options = self.options
            if self.is_search:
                self._face_model = self._searcher()
                return self._face_model
            network = self._auto_network("model") if options.model == AUTO else self.network(self.model_table())
            self._face_model = NetworkFaceRestorer(network, fidelity=options.fidelity, seed=options.seed)
        return self._face_model

    def _searcher(self) -> FaceSearcher:
        """Return what searches the prior; its networks are its own, for they give gradients, which others do not."""
        from restorer.engine.device import apply_threads
        from restorer.inversion.searcher import load_searcher

        def load(table: Table) -> nn.Module:
            path = weights.fetch(table, offline=self.options.offline, on_progress=self._on_download)
            return REGISTRY.load(table, path, self.device.name).network

        apply_threads()
        table = self.model_table()
        searcher = load_searcher(table, load, REGISTRY.arguments(table))
        searcher.task, searcher.steps = self.options.task, self.options.steps or searcher.steps
        return searcher

    def _auto_network(self, field: Literal["model", "detector"]) -> Network:
        """Return the network that "auto" chose; the built-in one where a host did not have the file after all."""
        choice, tables = self.choice(), self._available.tables
        name = str(getattr(choice, field) or choices.builtin(self.usable, "face detector"))
        try:
            return self.network(tables[name])
        except WeightsUnavailableError as error:
            if tables[name].builtin:
                raise
            taken = choices.builtin(self.usable, REGISTRY.architecture_of(tables[name]).role)
            self._not_given(name, taken, error)
            if field == "model":
                self._choice = replace(choice, model=taken, mask=choices.mask_of(self.usable, taken))
            else:
                self._choice = replace(choice, detector=taken)
            return self.network(tables[taken])

    def _not_given(self, name: str, taken: str, error: WeightsUnavailableError) -> None:
        """Take in that no host had what "auto" chose, although some answered; refused where the options say so."""
        self._fall_back([Replacement(name, taken, weights.Absence("source", error.message.rstrip(".")))])
        self.say_fallbacks()

    def say_fallbacks(self) -> None:
        """Say what built-in models took the place of, once a run."""
        for line in self._fallbacks:
            self.warn_once(line)

    @alone
    def mask(self) -> tuple[Mask, str | None]:
        """Return the mask, and a line where it is not the wanted one: without a parser it is drawn from landmarks."""
        if self._mask is None:
            from restorer.faces.mask import LandmarkMask, ParserMask

            if self.mask_name == LANDMARKS:
                self._mask = LandmarkMask()
                return self._mask, None
            try:
                self._mask = ParserMask(self.network(self._available.tables[self.mask_name]))
            except WeightsUnavailableError as error:
                absence = weights.Absence("source", error.message.rstrip("."))
                instead = Replacement(self.mask_name, "an outline drawn from the landmarks", absence)
                if not self.options.fallback:
                    raise fallbacks.no_fallback([instead]) from error
                for reason in fallbacks.fallback_reasons([instead]):
                    _log.info("%s", reason)
                self._mask = LandmarkMask()
                pull = f"`restore models pull {self.mask_name}`"
                self._mask_warning = (
                    f"Faces were pasted by outlines drawn from their landmarks; {pull} gets better ones."
                )
        return self._mask, self._mask_warning

    @alone
    def background(self, size: tuple[int, int]) -> tuple[Background, str | None]:
        """Return the upscaler for a photo of this size, and a line that says why where "auto" chose it."""
        if self.given.background is not None:
            return self.given.background, None
        name, why = self._background_choice(size)
        self.say_fallbacks()
        try:
            return self._upscaler(name), why
        except WeightsUnavailableError as error:
            if self.options.background != AUTO:
                raise
            taken, why = choices.builtin_background(self._available, size, self.device.kind)
            self._not_given(name, taken, error)
            return self._upscaler(taken), why

    def _upscaler(self, name: str) -> Background:
        if name not in self._backgrounds:
            if name in RESAMPLERS:
                self._backgrounds[name] = RESAMPLERS[name]()
            else:
                from restorer.upscaling.faithful import FaithfulUpscaler
                from restorer.upscaling.tiles import NetworkUpscaler

                network = self.network(self.background_table(name))
                upscaler = NetworkUpscaler(network, self.options.tile)
                self._backgrounds[name] = upscaler if self.options.always else FaithfulUpscaler(upscaler)
        return self._backgrounds[name]
