"""Motifs that repeat and letters are hardly faces; people are, however many and however alike."""

from __future__ import annotations

import cv2
import numpy as np

from restorer.faces.plausible import LETTERING, MOTIF, implausible
from restorer.models.base import Face
from restorer.models.templates import FACEXLIB
from tests.support.parts import face_at

PITCH = 60


def grid(count: int) -> list[tuple[float, float]]:
    return [(PITCH * (n % 10 + 0.5), PITCH * (n // 10 + 0.5)) for n in range(count)]


def found(count: int) -> list[Face]:
    return [face_at(centre, 16.0) for centre in grid(count)]


def flower(seed: int) -> np.ndarray:
    """Return a motif of soft spots, the same for the same seed."""
    rng = np.random.default_rng(seed)
    spots = cv2.resize(rng.uniform(60, 200, (9, 9)).astype(np.float32), (PITCH, PITCH), interpolation=cv2.INTER_CUBIC)
    return np.clip(spots, 0, 255)


def page(motifs: list[np.ndarray], noise: float = 3.0) -> np.ndarray:
    rows = -(-len(motifs) // 10)
    picture = np.full((rows * PITCH, 10 * PITCH), 128, np.float32)
    for number, motif in enumerate(motifs):
        x, y = PITCH * (number % 10), PITCH * (number // 10)
        picture[y : y + PITCH, x : x + PITCH] = motif
    picture += np.random.default_rng(9).standard_normal(picture.shape) * noise
    grey = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def test_a_pattern_of_equal_motifs_is_no_crowd() -> None:
    photo = page([flower(n % 3) for n in range(60)])
    assert implausible(photo, found(60), FACEXLIB) == [MOTIF] * 60


def test_a_crowd_is_one() -> None:
    photo = page([flower(n) for n in range(60)])
    assert implausible(photo, found(60), FACEXLIB) == [None] * 60


def test_a_sheet_of_passport_photographs_is_faces() -> None:
    photo = page([flower(1)] * 4)
    assert implausible(photo, found(4), FACEXLIB) == [None] * 4
    eight = page([flower(1)] * 2 + [flower(n) for n in range(5, 35)])
    assert implausible(eight, found(32), FACEXLIB) == [None] * 32


def letters(count: int) -> list[np.ndarray]:
    """Return bold letters, each in a size and place of its own, in ink on paper."""
    rng = np.random.default_rng(3)
    drawn = []
    for number in range(count):
        motif = np.full((PITCH, PITCH), 235, np.uint8)
        where = int(rng.integers(8, 16)), int(rng.integers(42, 50))
        letter = chr(ord("A") + number % 26)
        cv2.putText(motif, letter, where, cv2.FONT_HERSHEY_TRIPLEX, float(rng.uniform(1.0, 1.5)), 15, 3, cv2.LINE_AA)
        drawn.append(motif.astype(np.float32))
    return drawn


def test_letters_are_no_faces_and_the_portrait_beside_them_is_one() -> None:
    photo = page([*letters(30), *[flower(7)] * 20], noise=1.0)
    portrait = face_at((5 * PITCH, 4 * PITCH), 55.0)
    assert implausible(photo, [*found(30), portrait], FACEXLIB) == [LETTERING] * 30 + [None]
