"""What XMP counts in pixels: dimensions, panoramas, marked regions, the sensor; set right when the pixels change.

What is told as a share of the picture (MWG regions, Camera Raw's crop) stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from xml.dom import minidom

from restorer.photo.xmp_packet import EXIF, RDF, TIFF, Packet, attributes

Size = tuple[int, int]
"""Width and height in pixels."""

_PANORAMA = "http://ns.google.com/photos/1.0/panorama/"
_DEPTH = "http://ns.google.com/photos/1.0/depthmap/"
_DRONE = "http://www.dji.com/drone-dji/1.0/"
_CAMERA_RAW = "http://ns.adobe.com/camera-raw-settings/1.0/"
_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_DIMENSIONS = "http://ns.adobe.com/xap/1.0/sType/Dimensions#"
_AREA = "http://ns.adobe.com/xmp/sType/Area#"

_ACROSS, _DOWN, _BOTH = "across", "down", "both"
_PLAIN = {
    **{(_PANORAMA, f"{name}{part}"): axis
       for name in ("FullPano", "CroppedAreaImage")
       for part, axis in (("WidthPixels", _ACROSS), ("HeightPixels", _DOWN))},
    (_PANORAMA, "CroppedAreaLeftPixels"): _ACROSS,
    (_PANORAMA, "CroppedAreaTopPixels"): _DOWN,
    (_PANORAMA, "LargestValidInteriorRectLeft"): _ACROSS,
    (_PANORAMA, "LargestValidInteriorRectTop"): _DOWN,
    (_PANORAMA, "LargestValidInteriorRectWidth"): _ACROSS,
    (_PANORAMA, "LargestValidInteriorRectHeight"): _DOWN,
    (_DEPTH, "ImageWidth"): _ACROSS,
    (_DEPTH, "ImageHeight"): _DOWN,
    (_DRONE, "CalibratedFocalLength"): _BOTH,
    (_DRONE, "CalibratedOpticalCenterX"): _ACROSS,
    (_DRONE, "CalibratedOpticalCenterY"): _DOWN,
    (EXIF, "FocalPlaneXResolution"): _ACROSS,
    (EXIF, "FocalPlaneYResolution"): _DOWN,
}  # fmt: skip
# Members of a structure, which count pixels only where a sibling says so: (unit's name, its words for pixels).
_IN_PIXELS = {
    (_DIMENSIONS, "w"): _ACROSS, (_DIMENSIONS, "h"): _DOWN,
    (_AREA, "x"): _ACROSS, (_AREA, "y"): _DOWN, (_AREA, "w"): _ACROSS, (_AREA, "h"): _DOWN, (_AREA, "d"): _BOTH,
    (_IPTC, "rbX"): _ACROSS, (_IPTC, "rbY"): _DOWN, (_IPTC, "rbW"): _ACROSS, (_IPTC, "rbH"): _DOWN,
    (_IPTC, "rbRx"): _ACROSS,
    (_CAMERA_RAW, "CropWidth"): _ACROSS, (_CAMERA_RAW, "CropHeight"): _DOWN,
}  # fmt: skip
_UNITS = {(_DIMENSIONS, "unit"), (_AREA, "unit"), (_IPTC, "rbUnit"), (_CAMERA_RAW, "CropUnits")}
_PIXEL_WORDS = frozenset({"pixel", "pixels", "0"})  # Camera Raw counts its units, from 0 for pixels
_NUMBER = re.compile(r"\s*(-?\d+)(?:\.(\d+)|/(\d+))?\s*")


def resize(packet: Packet, before: Size, after: Size) -> bool:
    """Set what the packet counts in pixels to a picture enlarged or reduced; return whether anything changed."""
    across, down = Fraction(after[0], before[0]), Fraction(after[1], before[1])
    factors = {_ACROSS: across, _DOWN: down, _BOTH: (across + down) / 2}
    changed = False
    for namespace, name, value in (
        (TIFF, "ImageWidth", after[0]),
        (TIFF, "ImageLength", after[1]),
        (EXIF, "PixelXDimension", after[0]),
        (EXIF, "PixelYDimension", after[1]),
    ):
        changed |= packet.replace(namespace, name, str(value))
    if before == after:
        return changed
    return changed | _resize_below(packet.rdf, factors, in_pixels=False)


def _resize_below(element: minidom.Element, factors: dict[str, Fraction], *, in_pixels: bool) -> bool:
    """Set an element's properties and members, and all below it; units count for the structures inside theirs too."""
    in_pixels = _counts_pixels(element, in_pixels)
    changed = False
    if (element.namespaceURI or "", element.localName) in ((EXIF, "SubjectArea"), (EXIF, "SubjectLocation")):
        changed |= _resize_list(element, (factors[_ACROSS], factors[_DOWN]) * 2)
    for name, axis in (*_PLAIN.items(), *(_IN_PIXELS.items() if in_pixels else ())):
        changed |= _change(element, name, partial(scaled, factor=factors[axis]))
    for child in _children(element):
        changed |= _resize_below(child, factors, in_pixels=in_pixels)
    return changed


def turn(packet: Packet) -> tuple[bool, bool]:
    """Take out what told of the two axes of a picture that was turned to stand upright.

    Returns:
        Whether anything changed, and whether a panorama's pixels were among it.
    """
    panorama = packet.remove(_PANORAMA)
    gone = [packet.remove(EXIF, name) for name in ("SubjectArea", "SubjectLocation")]
    swapped = [
        packet.swap(TIFF, "XResolution", "YResolution"),
        packet.swap(EXIF, "FocalPlaneXResolution", "FocalPlaneYResolution"),
    ]
    return panorama or any(gone) or any(swapped), panorama


def scaled(text: str, factor: Fraction) -> str:
    """Return a number as XMP writes it (12, 12.5 or 25/2) times a factor; other texts stay as they are."""
    found = _NUMBER.fullmatch(text)
    if found is None or len(text) > 60:
        return text
    whole, decimals, denominator = found.groups()
    if denominator is not None:
        if int(denominator) == 0:
            return text
        value = Fraction(int(whole), int(denominator)) * factor
        return f"{value.numerator}/{value.denominator}"
    if decimals is not None:
        return f"{float(Fraction(f'{whole}.{decimals}') * factor):.{max(len(decimals), 2)}f}"
    return str(round(int(whole) * factor))


def _elements(node: minidom.Element) -> Iterator[minidom.Element]:
    yield node
    for child in node.childNodes:
        if isinstance(child, minidom.Element):
            yield from _elements(child)


def _counts_pixels(element: minidom.Element, outside: bool) -> bool:
    """Whether a structure's unit, an attribute or a child, says pixels; without one, what holds `outside` of it."""
    units = [node.value for node in attributes(element) if (node.namespaceURI, node.localName) in _UNITS]
    units += [_text(child) for child in _children(element) if (child.namespaceURI, child.localName) in _UNITS]
    return all(unit.strip().lower() in _PIXEL_WORDS for unit in units) if units else outside


def _children(element: minidom.Element) -> list[minidom.Element]:
    return [child for child in element.childNodes if isinstance(child, minidom.Element)]


def _text(element: minidom.Element) -> str:
    return "".join(child.data for child in element.childNodes if isinstance(child, minidom.Text))


def _set_text(element: minidom.Element, text: str) -> None:
    for child in list(element.childNodes):
        element.removeChild(child)
    document = element.ownerDocument
    assert document is not None  # it came out of a packet
    element.appendChild(document.createTextNode(text))


def _change(element: minidom.Element, name: tuple[str, str], change: Callable[[str], str]) -> bool:
    """Change a property or member of an element, be it an attribute or a child; return whether its text changed."""
    changed = False
    for node in attributes(element):
        if (node.namespaceURI, node.localName) == name and (text := change(node.value)) != node.value:
            node.value, changed = text, True
    for child in _children(element):
        if (child.namespaceURI, child.localName) == name and not _children(child):
            before = _text(child)
            if (text := change(before)) != before:
                _set_text(child, text)
                changed = True
    return changed


def _resize_list(element: minidom.Element, factors: tuple[Fraction, ...]) -> bool:
    """Multiply the items of an ordered list by one factor each."""
    items = [node for node in _elements(element) if (node.namespaceURI, node.localName) == (RDF, "li")]
    for item, factor in zip(items, factors, strict=False):
        _set_text(item, scaled(_text(item), factor))
    return bool(items)
