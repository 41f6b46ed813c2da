"""An XMP packet as a tree: read, changed, written (ISO 16684-1).

A packet is kept as the XML tree that came, with its own prefixes and order; only the properties named here change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from xml.dom import XMLNS_NAMESPACE, Node, minidom
from xml.parsers import expat

from restorer.photo.damage import DAMAGE

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
TIFF = "http://ns.adobe.com/tiff/1.0/"
EXIF = "http://ns.adobe.com/exif/1.0/"
IPTC_EXTENSION = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
NOTE = "urn:restorer:note:1.0/"

_EMPTY = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}"/></x:xmpmeta>'
_PACKET = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>{}<?xpacket end="w"?>'
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


# XMP nests a dozen levels deep at most; what reads, copies and writes the tree calls itself for each level.
_DEEPEST, _MOST_NODES, _LARGEST = 100, 200_000, 2**26


class DamagedXmpError(ValueError):
    """Raised when bytes are no XMP packet; never leaves this package."""


class _Guard:
    """Runs through XML before a tree is made of it, and refuses what would swell or nest without end."""

    def __init__(self) -> None:
        self._depth = self._nodes = 0

    def check(self, text: bytes) -> None:
        """Raise `DamagedXmpError` for entities, elements nested too deep or too many, or what is no XML."""
        if len(text) > _LARGEST:
            raise DamagedXmpError(f"it is larger than {_LARGEST // 2**20} MiB")
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

    def _start(self, _name: str, attributes: Mapping[str, str]) -> None:
        self._depth += 1
        self._nodes += 1 + len(attributes)
        if self._depth > _DEEPEST:
            raise DamagedXmpError(f"its elements are nested more than {_DEEPEST} deep")
        if self._nodes > _MOST_NODES:
            raise DamagedXmpError(f"it has more than {_MOST_NODES:,} elements and attributes")

    def _end(self, *_: object) -> None:
        self._depth -= 1


class Packet:
    """An XMP packet as a tree; `rdf` is the element that holds its descriptions."""

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
        self.rdf: minidom.Element = found[0]

    def _descriptions(self) -> Iterator[minidom.Element]:
        for node in self.rdf.childNodes:
            if isinstance(node, minidom.Element) and (node.namespaceURI, node.localName) == (RDF, "Description"):
                yield node

    def _holders(
        self, namespace: str, name: str | None
    ) -> list[tuple[minidom.Element, minidom.Attr | minidom.Element]]:
        """Return (description, attribute or element) of each top-level property of that name (None: of any name)."""
        found: list[tuple[minidom.Element, minidom.Attr | minidom.Element]] = []
        for description in self._descriptions():
            for node in (*attributes(description), *description.childNodes):
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

    def swap(self, namespace: str, first: str, second: str) -> bool:
        """Exchange the texts of two simple properties; returns whether both were there."""
        one, other = self.get(namespace, first), self.get(namespace, second)
        if one is None or other is None:
            return False
        self.replace(namespace, first, other)
        self.replace(namespace, second, one)
        return True

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
        rdf = self.rdf.prefix or "rdf"
        description = self._document.createElementNS(RDF, f"{rdf}:Description")
        if not self.rdf.prefix:
            description.setAttribute("xmlns:rdf", RDF)
        for prefix, uri in namespaces.items():
            description.setAttribute(f"xmlns:{prefix}", uri)
        description.setAttributeNS(RDF, f"{rdf}:about", about)
        for qualified, text in properties.items():
            element = self._document.createElementNS(namespaces[qualified.split(":")[0]], qualified)
            element.appendChild(self._document.createTextNode(_NOT_XML.sub("\ufffd", text)))
            description.appendChild(element)
        self.rdf.appendChild(description)

    def merge(self, other: Packet) -> None:
        """Take over all descriptions of another packet."""
        for description in list(other._descriptions()):
            self.rdf.appendChild(self._document.importNode(description, deep=True))

    def move_largest(self, to: Packet, excess: int) -> bool:
        """Move the largest element properties to another packet, until so many bytes are gone; False: none is left."""
        elements = [
            (len(_serialized(node).encode("utf-8", "replace")), number, description, node)
            for description in self._descriptions()
            for number, node in enumerate(description.childNodes)
            if isinstance(node, minidom.Element) and node.namespaceURI not in (NOTE, IPTC_EXTENSION)
        ]
        chosen: list[tuple[int, minidom.Element, minidom.Element]] = []
        for size, number, description, node in sorted(elements, key=lambda entry: -entry[0]):
            if excess <= 0:
                break
            chosen.append((number, description, node))
            excess -= size
        shells: dict[minidom.Element, minidom.Element] = {}
        for _, description, node in sorted(chosen, key=lambda entry: entry[0]):  # the first ones are found at once
            description.removeChild(node)
            if description not in shells:
                shells[description] = self._shell(description)
            shells[description].appendChild(node)
        for shell in shells.values():
            to.rdf.appendChild(to._document.importNode(shell, deep=True))
        return bool(elements)

    def _shell(self, description: minidom.Element) -> minidom.Element:
        """Return a description of the same thing without its properties; prefixes may be declared further up."""
        shell = self._document.createElementNS(RDF, description.tagName)
        for attribute in attributes(description):
            if attribute.name.startswith("xmlns") or attribute.namespaceURI == RDF:
                shell.setAttributeNS(attribute.namespaceURI, attribute.name, attribute.value)
        for name, uri in _declared(self.rdf):
            if not shell.hasAttribute(name):
                shell.setAttributeNS(XMLNS_NAMESPACE, name, uri)
        return shell

    def tobytes(self) -> bytes:
        """Return the packet in UTF-8, in its xpacket wrapper."""
        return _PACKET.format(self.text()).encode("utf-8", "replace")

    def text(self) -> str:
        """Return the packet's XML without its wrapper."""
        root = self._document.documentElement
        assert root is not None  # `__init__` found RDF inside it
        return _serialized(root)


def attributes(element: minidom.Element) -> list[minidom.Attr]:
    """Return an element's attributes as nodes."""
    return list(element.attributes.values())


def _declared(element: minidom.Element) -> Iterator[tuple[str, str]]:
    """Yield (xmlns attribute, URI) of the namespaces declared on an element and above it."""
    node: Node | None = element
    while isinstance(node, minidom.Element):
        for attribute in attributes(node):
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
        told = "".join(f' {item.name}="{_escaped(item.value, attribute=True)}"' for item in attributes(node))
        inside = "".join(map(_serialized, node.childNodes))
        return f"<{node.tagName}{told}>{inside}</{node.tagName}>" if inside else f"<{node.tagName}{told}/>"
    if isinstance(node, minidom.Text):
        return _escaped(node.data, attribute=False)
    return ""  # comments and processing instructions say nothing in XMP
