"""HTML out of Python values, in which no text can become markup: names of files are strangers' words."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping

Attribute = str | int | float | bool | None
_VOID = frozenset({"img", "input", "br", "meta", "link"})


class Html(str):
    """Text that is HTML already; every other text is escaped where it is put in."""

    __slots__ = ()


Child = str | int | float | None
"""What an element may hold: `Html` as it is, other values as text, None not at all."""


def escape(value: Child) -> Html:
    """Return a value as HTML text. What no file can hold (half characters out of file names) is spelled out."""
    if isinstance(value, Html):
        return value
    text = "" if value is None else str(value)
    return Html(html.escape(text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\ufffd")))


def element(name: str, *children: Child | Iterable[Child], **attributes: Attribute) -> Html:
    """Return an element.

    Args:
        name: of the element.
        children: texts, which are escaped, elements, or iterables of these; None is left out.
        attributes: their values are escaped; "_" in a name becomes "-" and one at its end is dropped (`class_`). None
            and False leave an attribute out, True gives it no value.
    """
    given = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{escape(value)}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _VOID:
        return Html(f"<{name}{given}>")
    inner = "".join(escape(child) for child in _flat(children))
    return Html(f"<{name}{given}>{inner}</{name}>")


def _flat(children: Iterable[Child | Iterable[Child]]) -> Iterable[Child]:
    for child in children:
        if child is None or isinstance(child, (str, int, float)):
            yield child
        else:
            yield from child


def fill(template: str, values: Mapping[str, Html]) -> Html:
    """Return a template with each `{{ name }}` replaced, in one pass: what is put in is not looked at again.

    Raises:
        KeyError: the template has a name that is not given.
    """
    return Html(re.sub(r"\{\{ ([a-z_]+) \}\}", lambda found: values[found[1]], template))
