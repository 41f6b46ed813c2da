"""How much a server takes on, so that whoever asks for too much hears so and nobody else suffers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of a server.

    Attributes:
        upload: bytes of one photo's file.
        pixels: of a photo, and of its result.
        photos: that are kept at the same time, of all clients.
        waiting: jobs that wait or are worked on, of all clients.
        waiting_each: of them, those of one client.
        disk: bytes of uploads and results.
        memory: bytes of what is remembered to be quick: photos, networks' answers, enlarged pictures.
        idle: seconds after which a photo that nobody has asked for goes, with its results.
        away: seconds after which the jobs that wait are given up where the page that asked for them was closed.
        grace: seconds that the work in hand is given when the server ends.
    """

    upload: int = 256 * 2**20
    pixels: int = 200_000_000
    photos: int = 1000
    waiting: int = 400
    waiting_each: int = 200
    disk: int = 16 * 2**30
    memory: int = 2**30
    idle: float = 6 * 3600.0
    away: float = 30.0
    grace: float = 10.0
