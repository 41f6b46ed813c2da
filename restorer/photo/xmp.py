"""XMP packets: read, set right, and given the note of what was done (ISO 16684-1; IPTC Photo Metadata 2023).

A packet is kept as the XML tree that came, with its own prefixes and order; only the properties named here change.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from xml.dom import XMLNS_NAMESPACE, Node, minidom
from xml.parsers import expat

from restorer.photo.damage import DAMAGE
from restorer.photo.model import Note

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
TIFF = "http://ns.adobe.com/tiff/1.0/"
EXIF = "http://ns.adobe.com/exif/1.0/"
IPTC_EXTENSION = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
NOTE = "urn:restorer:note:1.0/"
COMPOSITE_WITH_AI = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"

_XMP = "http://ns.adobe.com/xap/1.0/"
_XMP_NOTE = "http://ns.adobe.com/xmp/note/"
_GAIN_MAP = "http://ns.adobe.com/hdr-gain-map/1.0/"
_CAMERA = "http://ns.google.com/photos/1.0/camera/"
_CONTAINER = "http://ns.google.com/photos/1.0/container/"
_FACE_REGIONS = ("http://www.metadataworkinggroup.com/schemas/regions/", "http://ns.microsoft.com/photo/1.2/")

_EMPTY = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}"/></x:xmpmeta>'
_PACKET = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>{}<?xpacket end="w"?>'
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


# XMP nests a dozen levels deep at most; what reads, copies and writes the tree calls itself for each level.
_DEEPEST, _MOST_ELEMENTS = 100, 500_000


class DamagedXmpError(ValueError):
    """Raised when bytes are no XMP packet; never leaves this package."""


class _Guard:
    """Runs through XML before a tree is made of it, and refuses what would swell or nest without end."""

    def __init__(self) -> None:
        self._depth = self._elements = 0

    def check(self, text: bytes) -> None:
        """Raise `DamagedXmpError` for entities, elements nested too deep or too many, or what is no XML."""
        parser = expat.ParserCreate()
        parser.StartDoctypeDeclHandler = self._doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        try:
            parser.Parse(text, True)
        except (expat.ExpatError, ValueError, LookupError) as error:
            raise DamagedXmpError(str(error)) from error

    def _doctype(self, *_: object) -> None:
        raise DamagedXmpError("it declares entities")

    def _start(self, *_: object) -> None:
        self._depth += 1
        self._elements += 1
        if self._depth > _DEEPEST:
            raise DamagedXmpError(f"its elements are nested more than {_DEEPEST} deep")
        if self._elements > _MOST_ELEMENTS:
            raise DamagedXmpError(f"it has more than {_MOST_ELEMENTS:,} elements")

    def _end(self, *_: object) -> None:
        self._depth -= 1


class Packet:
    """An XMP packet as a tree."""

    def __init__(self, data: bytes | None = None) -> None:
        """Read a packet, or begin an empty one.

        Raises:
            DamagedXmpError: it is no XML, has no RDF, nests too deep, or declares entities (which swell without end).
        """
        text = _EMPTY.encode() if data is None else data.strip(b"\0 \r\n\t")
        _Guard().check(text)
        try:
            self._document = minidom.parseString(text)
        except DAMAGE as error:
            raise DamagedXmpError(str(error)) from error
        found = self._document.getElementsByTagNameNS(RDF, "RDF")
        if not found:
            raise DamagedXmpError("it holds no RDF")
        self._rdf: minidom.Element = found[0]

    def _descriptions(self) -> Iterator[minidom.Element]:
        for node in self._rdf.childNodes:
            if isinstance(node, minidom.Element) and (node.namespaceURI, node.localName) == (RDF, "Description"):
                yield node

    def _holders(
        self, namespace: str, name: str | None
    ) -> list[tuple[minidom.Element, minidom.Attr | minidom.Element]]:
        """Return (description, attribute or element) of each top-level property of that name (None: of any name)."""
        found: list[tuple[minidom.Element, minidom.Attr | minidom.Element]] = []
        for description in self._descriptions():
            for node in (*_attributes(description), *description.childNodes):
                if (
                    isinstance(node, (minidom.Attr, minidom.Element))
                    and node.namespaceURI == namespace
                    and name in (None, node.localName)
                ):
                    found.append((description, node))
        return found

    def get(self, namespace: str, name: str) -> str | None:
        """Return the text of a simple property, or None."""
        for _, node in self._holders(namespace, name):
            if isinstance(node, minidom.Attr):
                return str(node.value)
            return "".join(child.data for child in node.childNodes if isinstance(child, minidom.Text))
        return None

    def has(self, namespace: str, name: str | None = None) -> bool:
        """Whether there is a property of that name (None: of any name) in the namespace."""
        return bool(self._holders(namespace, name))

    def replace(self, namespace: str, name: str, text: str) -> bool:
        """Set a simple property where there is one; returns whether its text changed."""
        changed = False
        for _, node in self._holders(namespace, name):
            if isinstance(node, minidom.Attr):
                changed |= node.value != text
                node.value = text
            else:
                changed |= self.get(namespace, name) != text
                for child in list(node.childNodes):
                    node.removeChild(child)
                node.appendChild(self._document.createTextNode(text))
        return changed

    def remove(self, namespace: str, name: str | None = None) -> bool:
        """Remove a property (None: all of the namespace); returns whether there was one."""
        found = self._holders(namespace, name)
        for description, node in found:
            if isinstance(node, minidom.Attr):
                description.removeAttributeNode(node)
            else:
                description.removeChild(node)
        return bool(found)

    def add(self, namespaces: dict[str, str], properties: dict[str, str]) -> None:
        """Add a description with simple properties ("prefix:name" to text), in the namespaces (prefix to URI)."""
        about = next((d.getAttributeNS(RDF, "about") for d in self._descriptions()), "")
        rdf = self._rdf.prefix or "rdf"
        description = self._document.createElementNS(RDF, f"{rdf}:Description")
        if not self._rdf.prefix:
            description.setAttribute("xmlns:rdf", RDF)
        for prefix, uri in namespaces.items():
            description.setAttribute(f"xmlns:{prefix}", uri)
        description.setAttributeNS(RDF, f"{rdf}:about", about)
        for qualified, text in properties.items():
            element = self._document.createElementNS(namespaces[qualified.split(":")[0]], qualified)
            element.appendChild(self._document.createTextNode(_NOT_XML.sub("\ufffd", text)))
            description.appendChild(element)
        self._rdf.appendChild(description)

    def merge(self, other: Packet) -> None:
        """Take over all descriptions of another packet."""
        for description in list(other._descriptions()):
            self._rdf.appendChild(self._document.importNode(description, deep=True))

    def move_largest(self, to: Packet) -> bool:
        """Move the largest element property to another packet; returns False when there is none left."""
        elements = [
            (len(_serialized(node)), description, node)
            for description in self._descriptions()
            for node in description.childNodes
            if isinstance(node, minidom.Element) and node.namespaceURI not in (NOTE, IPTC_EXTENSION)
        ]
        if not elements:
            return False
        _, description, node = max(elements, key=lambda entry: entry[0])
        shell = self._document.createElementNS(RDF, description.tagName)
        for attribute in _attributes(description):
            if attribute.name.startswith("xmlns") or attribute.namespaceURI == RDF:
                shell.setAttributeNS(attribute.namespaceURI, attribute.name, attribute.value)
        for name, uri in _declared(self._rdf):  # prefixes may be declared further up
            if not shell.hasAttribute(name):
                shell.setAttributeNS(XMLNS_NAMESPACE, name, uri)
        description.removeChild(node)
        shell.appendChild(node)
        to._rdf.appendChild(to._document.importNode(shell, deep=True))
        return True

    def tobytes(self) -> bytes:
        """Return the packet in UTF-8, in its xpacket wrapper."""
        return _PACKET.format(self.text()).encode("utf-8", "replace")

    def text(self) -> str:
        """Return the packet's XML without its wrapper."""
        root = self._document.documentElement
        assert root is not None  # `__init__` found RDF inside it
        return _serialized(root)


def _attributes(element: minidom.Element) -> list[minidom.Attr]:
    found = (element.attributes.item(index) for index in range(element.attributes.length))
    return [attribute for attribute in found if isinstance(attribute, minidom.Attr)]


def _declared(element: minidom.Element) -> Iterator[tuple[str, str]]:
    """Yield (xmlns attribute, URI) of the namespaces declared on an element and above it."""
    node: Node | None = element
    while isinstance(node, minidom.Element):
        for attribute in _attributes(node):
            if attribute.name.startswith("xmlns:"):
                yield attribute.name, attribute.value
        node = node.parentNode


def _escaped(text: str, *, attribute: bool) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")
    if attribute:  # minidom writes line ends as they are, and every reader would turn them into spaces
        text = text.replace('"', "&quot;").replace("\n", "&#10;").replace("\t", "&#9;")
    return text


def _serialized(node: Node) -> str:
    if isinstance(node, minidom.Element):
        attributes = "".join(f' {item.name}="{_escaped(item.value, attribute=True)}"' for item in _attributes(node))
        inside = "".join(map(_serialized, node.childNodes))
        return f"<{node.tagName}{attributes}>{inside}</{node.tagName}>" if inside else f"<{node.tagName}{attributes}/>"
    if isinstance(node, minidom.Text):
        return _escaped(node.data, attribute=False)
    return ""  # comments and processing instructions say nothing in XMP


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
    if rotated and any(packet.has(namespace) for namespace in _FACE_REGIONS):
        warnings.append("The XMP marks faces or regions on the photo as it lay; they may not fit the upright one.")
    return (packet.tobytes() if changed else data), warnings


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


def finished(data: bytes | None, width: int, height: int, note: Note | None) -> bytes | None:
    """Return the packet with the dimensions that it tells set anew, and with the note in place of an older one.

    None when there was no packet and there is no note.

    Raises:
        DamagedXmpError: `data` is no packet.
    """
    if data is None and note is None:
        return None
    packet = Packet(data)
    changed = False
    for namespace, name, value in (
        (TIFF, "ImageWidth", width),
        (TIFF, "ImageLength", height),
        (EXIF, "PixelXDimension", width),
        (EXIF, "PixelYDimension", height),
    ):
        changed |= packet.replace(namespace, name, str(value))
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
            },
        )
    return packet.tobytes()


def note_of(data: bytes) -> Note | None:
    """Return the note inside a packet, or None when there is none of ours or the packet is damaged."""
    try:
        packet = Packet(data)
        texts = {name: packet.get(NOTE, name) for name in ("tool", "version", "model", "fingerprint", "options")}
        options = json.loads(texts["options"] or "{}")
    except DAMAGE:  # damaged XML or JSON: not what this tool wrote
        return None
    if not texts["fingerprint"] or not isinstance(options, dict):
        return None
    return Note(texts["tool"] or "", texts["version"] or "", texts["model"] or "", texts["fingerprint"], options)


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
    while len(main.tobytes()) > limit - room and main.move_largest(extension):
        pass
    part = extension.text().encode("utf-8", "replace")
    digest = hashlib.md5(part, usedforsecurity=False).hexdigest().upper()
    main.add({"xmpNote": _XMP_NOTE}, {"xmpNote:HasExtendedXMP": digest})
    return main.tobytes(), part
