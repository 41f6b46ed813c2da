"""Writes docs/api.md: the Python API, from the docstrings, with examples that the tests of the documentation run.

python -m tests.docs.api_page
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import restorer
from restorer import errors
from restorer.options import Options, declared
from restorer.photo import open_photo, photo_from_array
from restorer.photo.pillow_images import photo_from_pillow
from restorer.pipeline.keywords import OptionFields
from restorer.pipeline.many import Outcome
from restorer.record import FaceRecord, Record

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
COMMAND = "python -m tests.docs.api_page"

HEAD = f"""# The Python API

Everything here is imported from `restorer`, but where another place is named. `import restorer` is light: torch is
loaded when a restorer is first used. Options have types for mypy and pyright; wrong names and values are errors that
say what would do.
This page is made from the docstrings by `{COMMAND}`; the tests run its examples.
"""

EXAMPLES: dict[str, str] = {
    "restorer.Restorer": """
        from restorer import Restorer

        restorer = Restorer("tiny", scale=2, faces="largest")
        print(restorer)  # Restorer('tiny', scale=2, faces='largest')
    """,
    "Restorer.restore": """
        import numpy as np
        from PIL import Image
        from restorer import Restorer

        restorer = Restorer("tiny", scale=2)
        result = restorer.restore("photo.jpg")
        result = restorer.restore(Image.open("photo.jpg"))
        result = restorer.restore(np.zeros((64, 64, 3), np.float32))  # RGB in [0, 1]
        with open("photo.jpg", "rb") as file:
            result = restorer.restore(file)
    """,
    "Restorer.restore_many": """
        from pathlib import Path
        from restorer import Restorer

        restorer = Restorer("tiny", scale=2)
        photos = sorted(Path("album").rglob("*.jpg"))
        for outcome in restorer.restore_many(photos, on_progress=lambda done: print(f"{done:.0%}")):
            if outcome.result is None:
                print(outcome.record.input, outcome.record.error)
            else:
                outcome.result.save(f"large-{Path(outcome.record.input).name}", overwrite=True)
    """,
    "Restorer.restore_file": """
        from restorer import Restorer

        record = Restorer("tiny", scale=2).restore_file("photo.jpg", "from-file.png")
        print(record.status, record.output_size)
    """,
    "Restorer.restore_bytes": """
        from pathlib import Path
        from restorer import Restorer

        data, record = Restorer("tiny", format="png").restore_bytes(Path("photo.jpg").read_bytes())
        assert data.startswith(b"\\x89PNG") and record.status == "ok"
    """,
    "Result.save": """
        from restorer import Restorer, errors

        result = Restorer("tiny").restore("photo.jpg")
        print(result.save("saved.jpg", quality=90))  # what the format could not hold
        for name in ("saved.jpg", "photo.jpg"):
            try:
                result.save(name)
            except errors.OutputExistsError as error:
                print(error, error.remedy)
        result.save("saved.jpg", overwrite=True)  # the photo itself is not even replaced with this
    """,
    "Result.to_pil": """
        from restorer import Restorer

        picture = Restorer("tiny").restore("photo.jpg").to_pil()
        picture.thumbnail((64, 64))
        picture.save("thumbnail.png")
    """,
    "restorer.record.Record": """
        from restorer import Restorer

        result = Restorer("tiny").restore("party.jpg")
        print(result.record.model, result.record.seconds["total"], result.warnings)
        for number, face in enumerate(result.faces, 1):
            print(number, face.box, "restored" if face.restored else face.reason)
        as_json = result.record.as_dict()
    """,
    "restorer.Options": """
        from dataclasses import replace
        from restorer import Restorer, errors

        restorer = Restorer("tiny", scale=2)
        larger = restorer.restore("photo.jpg", options=replace(restorer.options, scale=3.0))
        for wrong in ({"sclae": 2}, {"scale": "2"}, {"strength": 80}):
            try:
                Restorer("tiny", **wrong)
            except errors.OptionError as error:
                print(error, error.remedy)  # There is no option 'sclae'. Did you mean scale?
    """,
    "restorer.read_photo": """
        from restorer import read_photo

        photo = read_photo("scan.tif")
        print(photo.size, photo.bits, photo.icc_profile is not None, photo.warnings)
    """,
    "restorer.load_network": """
        import torch
        from restorer import load_network

        network = load_network("tiny")
        with torch.inference_mode():
            restored = network(torch.zeros(1, 3, 256, 256))  # RGB in [-1, 1]
    """,
}

CLASSES: list[tuple[str, Any, tuple[str, ...]]] = [
    (
        "restorer.Restorer", restorer.Restorer,
        ("restore", "restore_many", "restore_file", "restore_bytes", "output_size"),
    ),
    ("restorer.Result", restorer.Result, ("save", "to_pil")),
    ("restorer.pipeline.many.Outcome", Outcome, ()),
    ("restorer.record.Record", Record, ("as_dict",)),
    ("restorer.record.FaceRecord", FaceRecord, ()),
    ("restorer.Options", Options, ()),
    ("restorer.Photo", restorer.Photo, ()),
]  # fmt: skip
FUNCTIONS = [
    ("restorer.read_photo", restorer.read_photo), ("restorer.photo.open_photo", open_photo),
    ("restorer.photo.photo_from_array", photo_from_array),
    ("restorer.photo.pillow_images.photo_from_pillow", photo_from_pillow),
    ("restorer.load_network", restorer.load_network),
]  # fmt: skip
_SECTIONS = {"Args": "Arguments", "Attributes": "Attributes", "Returns": "Returns", "Raises": "Raises"}


def page() -> str:
    """Return the whole page."""
    return re.sub(r"\n{3,}", "\n\n", "\n".join(_lines())).strip() + "\n"


def _lines() -> Iterator[str]:
    yield HEAD
    for name, kind, methods in CLASSES:
        yield f"## {name}\n"
        if not dataclasses.is_dataclass(kind):
            yield _block(name.rpartition(".")[2] + _signature(kind))
        yield from _text(inspect.getdoc(kind) or "")
        if kind is Options:
            yield from _options()
        yield from _example(name)
        for method in methods:
            yield f"### {kind.__name__}.{method}\n"
            yield _block(method + _signature(getattr(kind, method)))
            yield from _text(inspect.getdoc(getattr(kind, method)) or "")
            yield from _example(f"{kind.__name__}.{method}")
    for name, function in FUNCTIONS:
        yield f"## {name}\n"
        yield _block(name.rpartition(".")[2] + _signature(function))
        yield from _text(inspect.getdoc(function) or "")
        yield from _example(name)
    yield "## restorer.errors\n"
    yield from _text(inspect.getdoc(errors) or "")
    for kind in vars(errors).values():
        if inspect.isclass(kind) and issubclass(kind, errors.RestorerError):
            above = kind.__mro__[1].__name__
            yield f"- `{kind.__name__}` ({above}): {_first(kind)}"


def _signature(function: Any) -> str:
    """Return parameters with types and defaults, broken where the line is long."""
    found = []
    parameters = [each for each in inspect.signature(function).parameters.values() if each.name != "self"]
    for number, each in enumerate(parameters):
        if each.kind is each.KEYWORD_ONLY and (number == 0 or parameters[number - 1].kind is not each.KEYWORD_ONLY):
            found.append("*")
        found.append(re.sub(r": '([^']*)'", r": \1", str(each)))
    returned = inspect.signature(function).return_annotation
    silent = returned is inspect.Signature.empty or inspect.isclass(function)
    arrow = "" if silent else f" -> {returned}"
    line = f"({', '.join(found)}){arrow}"
    return line if len(line) < 100 else "(\n    " + ",\n    ".join(found) + f",\n){arrow}"


def _block(text: str) -> str:
    """Return a signature as a block of code; one without a fence, which nobody takes for an example."""
    return textwrap.indent(text, "    ") + "\n"


def _first(kind: Any) -> str:
    """Return the first paragraph of a docstring, on one line."""
    return " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split())


def _text(docstring: str) -> Iterator[str]:
    """Yield a docstring as Markdown: its sections as lists."""
    for block in docstring.split("\n\n"):
        title, _, rest = block.partition(":\n")
        if title not in _SECTIONS:
            yield f"{block}\n"
            continue
        yield f"{_SECTIONS[title]}:\n"
        if title == "Returns":
            yield f"- {' '.join(rest.split())}\n"
            continue
        for entry in re.split(r"\n(?=\S)", textwrap.dedent(rest)):
            name, _, meaning = " ".join(entry.split()).partition(": ")
            yield f"- {', '.join(f'`{each.strip()}`' for each in name.split(','))}: {meaning}"
        yield ""


def _options() -> Iterator[str]:
    """Yield the options with their types and what they do."""
    types = OptionFields.__annotations__
    for name, option in declared(Options).items():
        names = "models that have it" if option.control else "a name that `restore models list` shows"
        text = option.help.replace("{names}", names)
        kind = str(getattr(types.get(name), "__forward_arg__", types.get(name, "str"))).replace("|", "or")
        yield f"- `{name}` ({kind}; {option.default!r}): {text}"
    yield ""


def _example(name: str) -> Iterator[str]:
    if name in EXAMPLES:
        yield f"```python\n{textwrap.dedent(EXAMPLES[name]).strip()}\n```\n"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
