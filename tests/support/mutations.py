"""Real small files of every format, and bytes of them changed: what a bad disk, a bad program or a bad person makes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pillow_heif
from PIL import Image

from restorer.photo.color import srgb_profile
from tests.support.photo_files import XMP, exif_block, full, png, saved, scene, written

FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "HEIC", "AVIF", "GIF", "BMP")
SUFFIXES = dict(zip(FORMATS, (".jpg", ".png", ".tif", ".webp", ".heic", ".avif", ".gif", ".bmp"), strict=True))
_SPREAD = np.array([0, 1, 2, 3, 4, 127, 128, 254, 255], np.uint8)  # values at which counts and signs turn


def samples(format: str) -> list[bytes]:
    """Return sound files of a format, with and without metadata, of several depths and codings."""
    picture, clear = Image.fromarray(scene()), Image.fromarray(np.dstack([scene(), scene()[..., 0]]))
    everything = {"exif": b"Exif\0\0" + exif_block(6, thumbnail=True), "xmp": XMP, "icc_profile": srgb_profile()}
    if format == "JPEG":
        codings: tuple[dict[str, Any], ...] = ({}, {"progressive": True}, {"restart_marker_rows": 1})
        return [written(full(), "JPEG")[0], *(saved(picture, "JPEG", **coding) for coding in codings)]
    if format == "PNG":
        deep = png(scene(deep=True), 2, (b"tEXt", b"Author\0Emil"), (b"eXIf", exif_block(6)))
        return [written(full(), "PNG")[0], deep, saved(picture.quantize(16), "PNG"), saved(clear, "PNG")]
    if format == "TIFF":
        deep = bytes(cv2.imencode(".tiff", scene(deep=True))[1])
        methods = ("raw", "tiff_lzw", "jpeg", "zstd")
        return [written(full(), "TIFF")[0], deep, *(saved(picture, "TIFF", compression=name) for name in methods)]
    if format == "WEBP":
        return [saved(picture, "WEBP", **everything), saved(clear, "WEBP", lossless=True), saved(picture, "WEBP")]
    if format == "HEIC":
        stream = io.BytesIO()
        pillow_heif.from_pillow(picture).save(stream, **everything)
        return [stream.getvalue(), written(full(), "HEIF")[0]]
    if format == "AVIF":
        return [saved(picture, "AVIF", **everything), saved(clear, "AVIF")]
    if format == "GIF":
        frames = [Image.new("P", (48, 32), colour) for colour in (1, 2)]
        return [
            saved(picture.quantize(64), "GIF", comment=b"Anna"),
            saved(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        ]
    return [
        saved(picture, "BMP", dpi=(300, 300)),
        saved(picture.quantize(16), "BMP"),
        saved(picture.convert("1"), "BMP"),
    ]


def mutated(format: str, count: int, seed: int = 0) -> Iterator[bytes]:
    """Yield files with changes of one of six kinds: single bytes, runs, zeros, cuts, insertions, pieces exchanged.

    Half of them hit the first kilobyte, where headers and metadata are.
    """
    rng = np.random.default_rng((seed, FORMATS.index(format)))
    sources = samples(format)
    for number in range(count):
        data = bytearray(sources[number % len(sources)])
        end = len(data) if number % 2 else min(len(data), 1024)
        at = int(rng.integers(end))
        kind = int(rng.integers(6))
        if kind == 0:
            for place in rng.integers(0, end, int(rng.integers(1, 5))):
                data[place] = int(rng.choice(_SPREAD) if rng.integers(2) else rng.integers(256))
        elif kind == 1:
            piece = rng.integers(0, 256, int(rng.integers(1, 40)), np.uint8).tobytes()
            data[at : at + len(piece)] = piece
        elif kind == 2:
            size = int(rng.integers(1, 300))
            data[at : at + size] = bytes(len(data[at : at + size]))
        elif kind == 3:
            del data[at:]
        elif kind == 4:
            data[at:at] = rng.integers(0, 256, int(rng.integers(1, 20)), np.uint8).tobytes()
        else:
            other, size = int(rng.integers(end)), int(rng.integers(1, 60))
            data[at : at + size] = data[other : other + size]
        yield bytes(data)
