"""Fills the page's templates; no text can become markup there: names of files are strangers' words."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup


def render(name: str, /, **values: Any) -> Markup:
    """Return a template with its values, of which every text is escaped but `Markup`.

    Args:
        name: of a file of this package.
        values: what the template names.

    Raises:
        jinja2.UndefinedError: the template names a value that is not given.
    """
    return Markup(_environment().get_template(name).render(values))


def resource(name: str) -> str:
    """Return the text of a file of this package."""
    return (resources.files("restorer.report") / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    return Environment(
        autoescape=True,
        finalize=_writable,
        keep_trailing_newline=True,
        loader=FunctionLoader(resource),
        lstrip_blocks=True,
        trim_blocks=True,
        undefined=StrictUndefined,
    )


def _writable(value: Any) -> Any:
    """Return a value as a file can hold it: what no file can (half characters out of names) is spelled out."""
    if value is None or isinstance(value, Markup):
        return value or ""
    return str(value).encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\ufffd")
