"""XMP packets set right, and given the note of what was done (ISO 16684-1; IPTC Photo Metadata 2023)."""

from __future__ import annotations

import hashlib
import json
import re
from xml.sax.saxutils import unescape

from restorer.photo import xmp_pixels
from restorer.photo.damage import DAMAGE
from restorer.photo.model import Note, compact_json
from restorer.photo.xmp_packet import EXIF, IPTC_EXTENSION, NOTE, RDF, TIFF, DamagedXmpError, Packet

__all__ = [
    "COMPOSITE_WITH_AI",
    "EXIF",
    "IPTC_EXTENSION",
    "NOTE",
    "RDF",
    "TIFF",
    "DamagedXmpError",
    "Packet",
    "clean",
    "finished",
    "merged",
    "note_of",
    "orientation",
    "split",
]

COMPOSITE_WITH_AI = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"

_XMP = "http://ns.adobe.com/xap/1.0/"
_XMP_NOTE = "http://ns.adobe.com/xmp/note/"
_GAIN_MAP = "http://ns.adobe.com/hdr-gain-map/1.0/"
_CAMERA = "http://ns.google.com/photos/1.0/camera/"
_CONTAINER = "http://ns.google.com/photos/1.0/container/"
_FACE_REGIONS = ("http://www.metadataworkinggroup.com/schemas/regions/", "http://ns.microsoft.com/photo/1.2/")


# ----------------------------------------------------------------------------------------------- what readers need


def clean(data: bytes, *, rotated: bool) -> tuple[bytes, list[str]]:
    """Set a packet's orientation to 1 and take out what is no longer true of the pixels alone.

    Args:
        data: the packet.
        rotated: whether the pixels were turned to stand upright.

    Returns:
        The packet (the same bytes where nothing had to change) and warnings.

    Raises:
        DamagedXmpError: it is no packet.
    """
    packet = Packet(data)
    warnings: list[str] = []
    changed = packet.replace(TIFF, "Orientation", "1")
    changed |= packet.remove(_XMP, "Thumbnails")
    if packet.remove(_GAIN_MAP):
        changed = True
        warnings.append("The photo carried an HDR gain map; only its standard picture was taken.")
    motion = [packet.remove(_CAMERA, name) for name in ("MotionPhoto", "MicroVideo")]
    if any(motion):
        changed = True
        warnings.append("The photo carried a short video; only its picture was taken.")
    for name in ("MotionPhotoVersion", "MotionPhotoPresentationTimestampUs", "MicroVideoVersion", "MicroVideoOffset"):
        changed |= packet.remove(_CAMERA, name)
    changed |= packet.remove(_CONTAINER)
    if rotated:
        turned, panorama = xmp_pixels.turn(packet)
        changed |= turned
        if panorama:
            warnings.append("What the XMP told of a panorama did not fit the photo turned upright; it was dropped.")
    if rotated and any(packet.has(namespace) for namespace in _FACE_REGIONS):
        warnings.append("The XMP marks faces or regions on the photo as it lay; they may not fit the upright one.")
    return (packet.tobytes() if changed else data), warnings


def without_resolution(data: bytes) -> bytes:
    """Return a packet that tells no resolution; raises `DamagedXmpError` where it is none."""
    packet = Packet(data)
    gone = [packet.remove(TIFF, name) for name in ("XResolution", "YResolution", "ResolutionUnit")]
    return packet.tobytes() if any(gone) else data


def orientation(data: bytes) -> int | None:
    """Return the orientation that a packet tells, 1 to 8, or None."""
    text = Packet(data).get(TIFF, "Orientation") or ""
    return int(text) if text.strip() in "12345678" and text.strip() else None


def merged(data: bytes, extension: bytes) -> bytes:
    """Return a packet together with its extended part (the JPEG's further segments) as one."""
    packet = Packet(data)
    packet.merge(Packet(extension))
    packet.remove(_XMP_NOTE, "HasExtendedXMP")
    return packet.tobytes()


# ----------------------------------------------------------------------------------------------- what writers need


def finished(data: bytes | None, before: xmp_pixels.Size, after: xmp_pixels.Size, note: Note | None) -> bytes | None:
    """Return the packet with all that it counts in pixels set anew, and with the note in place of an older one.

    None when there was no packet and there is no note.

    Args:
        data: the packet of the photo.
        before: width and height of the photo.
        after: width and height of the result.
        note: what was done; None = no note is added.

    Raises:
        DamagedXmpError: `data` is no packet.
    """
    if data is None and note is None:
        return None
    packet = Packet(data)
    changed = xmp_pixels.resize(packet, before, after)
    if note is None and not changed:
        return data
    if note is not None:
        packet.remove(NOTE)
        packet.remove(IPTC_EXTENSION, "DigitalSourceType")
        packet.add(
            {"restorer": NOTE, "Iptc4xmpExt": IPTC_EXTENSION},
            {
                "Iptc4xmpExt:DigitalSourceType": COMPOSITE_WITH_AI,
                "restorer:tool": note.tool,
                "restorer:version": note.version,
                "restorer:model": note.model,
                "restorer:fingerprint": note.fingerprint,
                "restorer:options": note.options_json(),
                **{f"restorer:{name}": text for name, text in _more(note).items() if text},
            },
        )
    return packet.tobytes()


def _more(note: Note) -> dict[str, str]:
    """Return what a note holds beside its first five texts; what is empty is left out."""
    return {
        "license": note.license,
        "components": compact_json(note.components) if note.components else "",
        "faces": compact_json(list(note.faces)) if note.faces else "",
        "input": note.input,
        "settings": note.settings,
        "colours": note.colours,
    }


_TEXTS = (
    *("tool", "version", "model", "fingerprint", "options", "license", "components", "faces", "input", "settings"),
    "colours",
)


_WRITTEN = re.compile(rb"<restorer:(\w+)>([^<]*)</restorer:\1>")
_DECLARED = f'xmlns:restorer="{NOTE}"'.encode()
_SIGNS = {"&quot;": '"', "&apos;": "'"}


def _as_written(data: bytes) -> dict[str, str] | None:
    """Return the texts of a note that stands there as this tool writes it; None where a tree must be made to tell.

    Ten thousand finished photos are known again by their notes, and a tree of each would take most of that time.
    """
    if data.count(_DECLARED) != 1 or b"restorer:fingerprint>" not in data or b"<!" in data or b"&#" in data:
        return None
    if data.count(b"<restorer:") != data.count(b"</restorer:") or not data.isascii():
        begin = data.find(b"<restorer:")
        if begin < 0 or not data[begin : data.rfind(b"</restorer:")].isascii():
            return None
    written = ((name.decode(), text.decode("ascii")) for name, text in _WRITTEN.findall(data))
    found = {name: unescape(text, _SIGNS) if "&" in text else text for name, text in written}
    return {name: found.get(name, "") for name in _TEXTS}


def _texts(packet: Packet) -> dict[str, str]:
    return {name: packet.get(NOTE, name) or "" for name in _TEXTS}


def note_of(data: bytes) -> Note | None:
    """Return the note inside a packet, or None when there is none of ours or the packet is damaged."""
    if NOTE.encode() not in data and b"\0" not in data:  # not ours, and no UTF-16: a tree of it takes longer
        return None
    try:
        texts = _as_written(data) or _texts(Packet(data))
        options, components = json.loads(texts["options"] or "{}"), json.loads(texts["components"] or "{}")
        faces = json.loads(texts["faces"] or "[]")
    except DAMAGE:  # damaged XML or JSON: not what this tool wrote
        return None
    whole = isinstance(options, dict) and isinstance(components, dict) and isinstance(faces, list)
    if not texts["fingerprint"] or not whole:
        return None
    named = {name: part for name, part in components.items() if isinstance(part, dict)}
    found = tuple(face for face in faces if isinstance(face, dict))
    tool, version, model, fingerprint = (texts[name] for name in _TEXTS[:4])
    more = {name: texts[name] for name in ("license", "input", "settings", "colours")}
    return Note(tool, version, model, fingerprint, options, components=named, faces=found, **more)


def split(data: bytes, limit: int) -> tuple[bytes, bytes | None]:
    """Divide a packet that is larger than `limit` bytes into a main and an extended part (XMP part 3, 1.1.3.1).

    Returns:
        The main packet and the extended one, None when all fits. The main one may still be too large, when what is left
        in it cannot be moved.
    """
    if len(data) <= limit:
        return data, None
    main, extension = Packet(data), Packet()
    room = 200  # for the property that names the extension
    while (excess := len(main.tobytes()) - (limit - room)) > 0 and main.move_largest(extension, excess):
        pass
    part = extension.text().encode("utf-8", "replace")
    digest = hashlib.md5(part, usedforsecurity=False).hexdigest().upper()
    main.add({"xmpNote": _XMP_NOTE}, {"xmpNote:HasExtendedXMP": digest})
    return main.tobytes(), part
