"""What a recipe of faces with papers reads: rows that may be learnt from, photographs beside them, masks of damage."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePath

import numpy as np

from restorer.errors import UsageError
from restorer.imaging.sheets import Picture
from restorer.training.datasets import SUFFIXES, read_picture, read_square
from restorer.training.packing import below, pack
from restorer.training.people import Rules, chosen, read_manifest
from restorer.training.recipe import Recipe, Values
from restorer.training.squares import Shown
from restorer.training.traits import traits, weight
from restorer.training.wear.damage import Mask, read_masks
from restorer.training.wear.mixture import Mixture


class Album:
    """The pictures of a recipe.

    Args:
        recipe: gives the seed, and the folder to which its paths are relative.
        data: its data table.
        folder: the faces and their manifest.

    Attributes:
        rows: those to learn from.
        choosing: those by which a result may be chosen.

    Raises:
        UsageError: no row may be learnt from, or a folder that the recipe names holds nothing.
    """

    def __init__(self, recipe: Recipe, data: Values, folder: Path) -> None:
        self._recipe = recipe
        self._data = data
        self._folder = folder
        rules = Rules.of(data)
        known = read_manifest(folder)
        self.rows = chosen(known, rules, "training")
        self.choosing = chosen(known, rules, "choosing")
        if not self.rows:
            raise UsageError(
                f"No row of {folder} may be learnt from.", "Loosen data.grades, data.without or data.inferred."
            )
        self._mask_files = self._files("masks", "*.png")
        self._photo_files = self._beside()

    def masks(self) -> list[Mask]:
        """Return the masks of damage."""
        return read_masks(self._mask_files)

    def pack(self, out: Path, weights: Sequence[str]) -> int:
        """Write all that the recipe reads into a new folder, `weights` (paths in the recipe) too; return the bytes."""
        data, rows = self._data, [*self.rows, *self.choosing]
        inputs = {data["folder"]: below(self._folder, [row.file for row in rows])}
        for name, files in (("photos", self._photo_files), ("masks", self._mask_files)):
            if files:
                inputs[data[name]] = below(self._recipe.path(data[name]), files)
        for named in weights:
            inputs[named] = {PurePath(): self._recipe.path(named)}
        return pack(self._recipe, inputs, out, {data["folder"]: rows})

    def shown(self, size: int, often: Mapping[str, float]) -> Shown:
        """Return the faces to learn from at a size, with how often each is drawn.

        Args:
            size: their side in pixels.
            often: the factors of `traits.weight`.
        """
        rows = self.rows
        with ThreadPoolExecutor(min(os.cpu_count() or 1, 16)) as pool:
            pictures = np.stack(list(pool.map(lambda row: read_square(row.file, size), rows)))
            seen = list(pool.map(traits, pictures))
        # Several pictures of a person share one person's weight.
        count = Counter(row.person for row in rows)
        weights = [weight(found, often) / count[row.person] ** 0.5 for found, row in zip(seen, rows, strict=True)]
        return Shown(pictures, np.array([row.native for row in rows]), np.array(weights))

    def _files(self, name: str, pattern: str) -> list[Path]:
        """Return the files of a folder that the recipe names, none where it names none.

        Raises:
            UsageError: it names one that is not there, or holds none.
        """
        given = self._data[name]
        if not given:
            return []
        files = sorted(self._recipe.path(given).rglob(pattern))
        if not files:
            raise UsageError(
                f"There are no files {pattern} in {self._recipe.path(given)}.",
                f'Correct data.{name}, or set it to "" to do without.',
            )
        return files

    def _beside(self) -> list[Path]:
        """Return the photographs that are shown beside faces: those whose names begin as the recipe says."""
        data = self._data
        if not data["photo_share"]:
            return []
        wanted = tuple(data["photo_names"]) or ("",)
        return [
            path
            for path in self._files("photos", "*")
            if path.suffix.lower() in SUFFIXES and path.name.startswith(wanted)
        ]

    def photos(self, size: int) -> list[Picture]:
        """Return those of the photographs that are large enough to cut squares of a face's size from."""
        pictures = []
        for path in self._photo_files:
            picture = read_picture(path)
            if min(picture.shape[:2]) >= size:
                pictures.append(picture)
        return pictures

    def kept(self, size: int, mixture: Mixture) -> tuple[list[Picture], list[Picture]]:
        """Return degraded and clean pictures of up to eight persons that are kept for choosing."""
        pairs, rows = [], self.choosing
        for index, row in enumerate(rows[:: max(len(rows) // 8, 1)][:8]):
            pairs.append(mixture(read_square(row.file, size), np.random.default_rng([self._recipe.seed, index])))
        return [pair.picture for pair in pairs], [pair.clean for pair in pairs]
