"""WebP, lossy and lossless, and the first picture of an animation."""

from __future__ import annotations

from typing import Any

from restorer.imaging.libraries import np
from restorer.photo import decoding, riff
from restorer.photo.base import EncodeChoices, EncodeInput, Format
from restorer.photo.builder import PhotoBuilder, take_pillow_info
from restorer.photo.channels import channels_of, exif_with_resolution, pillow_image, saved
from restorer.photo.damage import is_blanked, look_at_it
from restorer.photo.model import Photo

_KNOWN = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP", b"EXIF", b"XMP "})


def _read_webp(data: bytes) -> Photo:
    builder = PhotoBuilder("WEBP")
    # The lossless kind begins with a VP8L chunk, at once or as the first frame of the extended layout.
    chunks = riff.chunks(data)
    builder.lossless = any(name == b"VP8L" for name, _, _ in chunks)
    if any(is_blanked(data, start, end) for name, start, end in chunks if name in (b"VP8 ", b"VP8L")):
        builder.warnings.append(look_at_it("WebP"))
    unknown = (name.decode("latin-1") for name, _, _ in chunks if name not in _KNOWN)
    builder.warn_of_unknown("WebP", (f"the chunk {name!r}" for name in unknown))
    builder.warn_of_rest(data[riff.end(data) :])
    with decoding.opened(data, "WEBP") as image:
        take_pillow_info(builder, image)
        decoded = decoding.from_pillow(image)
    return builder.photo(decoded)


def _find_xmp(data: Any) -> bytes | None:
    return next((bytes(data[start:end]) for name, start, end in riff.chunks(data) if name == b"XMP "), None)


def _encode_webp(given: EncodeInput, choices: EncodeChoices) -> bytes:
    channels = channels_of(given)
    if given.grey:  # WebP stores RGB only
        channels = np.dstack((given.pixels, given.alpha)) if given.alpha is not None else given.pixels
    options: dict[str, Any] = {"exif": exif_with_resolution(given), "xmp": given.xmp}
    options["icc_profile"] = given.icc_profile
    present = {name: value for name, value in options.items() if value is not None}
    quality = {"lossless": True, "exact": True, "quality": 60} if choices.lossless else {"quality": choices.quality}
    return saved(pillow_image(channels), "WEBP", method=4, **quality, **present)


FORMAT = Format(
    "WEBP",
    "WebP",
    (".webp",),
    recognise=lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP",
    read=_read_webp,
    size=decoding.size_by_pillow("WEBP"),
    find_xmp=_find_xmp,
    requests=("webp",),
    encode=_encode_webp,
    max_side=16_383,
    alpha=True,
    holds=frozenset({"icc", "exif", "xmp", "dpi"}),
    bytes_per_pixel=0.17,
    encoding_seconds=0.35,
)
