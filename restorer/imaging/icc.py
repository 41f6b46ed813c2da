"""ICC profiles: what LittleCMS says of colours by them, in 16 bits, and profiles made by hand.

Pillow hands LittleCMS 8 bits, and takes 8 bits back, for all but grey. So it is asked for grey: three output profiles
made here each take one axis of the connection space (X, Y or Z) as a grey of 16 bits; for shadows, as a brighter one.
"""

from __future__ import annotations

import io
import struct
from functools import lru_cache

from restorer.imaging.libraries import Image, ImageCms, np

WHITE = (0.9642, 1.0, 0.8249)
"""D50, the white of the connection space."""
_TIMES = (1, 16, 256)  # the connection space is asked for in 16 bits; of dark colours, in this many times finer steps
_FULL = 1 + 32767 / 32768  # what the largest of its numbers stands for
_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}


class UnusableProfileError(ValueError):
    """Raised with the reason why a profile says nothing that could be used."""


def measured(profile: bytes, samples: np.ndarray) -> np.ndarray:
    """Return the colours of samples as LittleCMS computes them from a profile: XYZ under D50, white 1, float64 (n, 3).

    Args:
        profile: an ICC profile for RGB, grey or CMYK, read with its relative colorimetric intent.
        samples: uint8 (n, channels).

    Raises:
        UnusableProfileError: LittleCMS cannot use it.
    """
    mode = _MODES[profile[16:20].decode("latin-1").strip()]
    picture = Image.frombytes(mode, (len(samples), 1), np.ascontiguousarray(samples).tobytes())
    found = np.empty((len(samples), 3))
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        for axis in range(3):
            for times in _TIMES:
                transform = ImageCms.buildTransform(
                    source,
                    ImageCms.ImageCmsProfile(io.BytesIO(_axis_profile(axis, times))),
                    mode,
                    "I;16",
                    renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
                    flags=ImageCms.Flags.NOOPTIMIZE | ImageCms.Flags.NOCACHE,
                )
                shown = ImageCms.applyTransform(picture, transform)
                assert shown is not None  # only an in-place conversion returns None
                grey = np.asarray(shown).reshape(-1)
                finer = grey < (65535 if times > 1 else 65536)  # beyond the largest number there is no finer one
                found[finer, axis] = grey[finer] * (_FULL / 65535 / times)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        raise UnusableProfileError(str(error)) from error
    return found


@lru_cache(maxsize=3 * len(_TIMES))
def _axis_profile(axis: int, times: int) -> bytes:
    """Return an output profile for grey (ICC.1:2001-04) whose grey is one of X, Y and Z, so many times as bright."""
    lut = b"mft2" + bytes(4) + bytes([3, 1, 2, 0])  # three axes go in, one comes out, two nodes an axis
    lut += struct.pack(">9i", *(65536 * times * (i % 4 == 0) for i in range(9))) + struct.pack(">HH", 2, 2)
    lut += 3 * struct.pack(">2H", 0, 65535)
    lut += struct.pack(">8H", *(65535 * (node >> (2 - axis) & 1) for node in range(8)))
    lut += struct.pack(">2H", 0, 65535)
    return icc_profile("prtr", "GRAY", {b"desc": description("one axis"), b"wtpt": xyz_tag(WHITE), b"B2A0": lut})


def icc_profile(kind: str, space: str, blocks: dict[bytes, bytes], *, connection: str = "XYZ") -> bytes:
    """Return an ICC profile of version 2.4 with these tags; the same ones give the same bytes."""
    head = bytearray(128)
    head[8:12], head[12:24] = b"\2\x40\0\0", f"{kind:4}{space:4}{connection:4}".encode()
    head[24:36] = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)
    head[36:40], head[68:80] = b"acsp", xyz_tag(WHITE)[8:]
    blocks = {**blocks, b"cprt": b"text" + bytes(4) + b"No copyright, use freely\0"}
    table, body, at = [struct.pack(">I", len(blocks))], [], 128 + 4 + 12 * len(blocks)
    for tag, block in blocks.items():
        table.append(tag + struct.pack(">II", at, len(block)))
        body.append(block + bytes(-len(block) % 4))
        at += len(body[-1])
    head[0:4] = struct.pack(">I", at)
    return bytes(head) + b"".join(table + body)


def description(name: str) -> bytes:
    """Return the tag of a profile's name."""
    text = name.encode("ascii") + b"\0"
    return b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(78)


def xyz_tag(values: tuple[float, ...]) -> bytes:
    """Return a tag of X, Y and Z."""
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in values))
