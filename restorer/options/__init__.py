"""What may a run be told? Each choice is declared once, here, and everything else reads the declaration.

A field of `Options` carries its help, its range, the words it takes and whether it decides what the result is. The
command line, its completion, the manual page, restore.toml, the checks and the note in every result follow from that,
so a new option is one new field (and, for type checkers, its line in `restorer.pipeline.keywords`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from restorer import formatting
from restorer.errors import NAMES, SWITCHES, VALUES, UnknownOptionError
from restorer.formatting import face_numbers, nearest
from restorer.options import adjusting, outlines, sizes
from restorer.options.declaring import Option, declared, option

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "AUTO",
    "BACKGROUND",
    "FACES",
    "FILES",
    "PICTURE",
    "PRINT",
    "RUN",
    "TASKS",
    "Option",
    "Options",
    "declared",
    "option",
]

PICTURE, FACES, BACKGROUND, FILES, RUN = "The result", "Faces", "Background", "Files", "The run"
PRINT = "The print"
"""The groups that help page and manual show the options in."""

AUTO = ("auto", "choose what suits the photo and this machine")
TASKS = ("super-resolution", "colorize", "inpaint", "denoise", "reconstruct")
"""What a face may be given, where a model can do more than restore it."""


@dataclass(frozen=True, repr=False)
class Options:
    """What a run shall do with each photo. Each field is an `Option`; None means that the program chooses.

    Raises:
        UsageError: a value is of a wrong type or out of its range.
    """

    model: str = option(
        "auto",
        help="Face restorer: auto, none (enlarge only, faces are not looked for), {names}, or a file of your own.",
        panel=FACES,
        role="face restorer",
        words=(AUTO, ("none", "only enlarge; no face is looked for")),
        files=True,
        by_weights=True,
    )
    scale: float = option(
        sizes.SCALE, help="How many times larger the result is: 2, 3.5, 8 ...", panel=PICTURE, above=0,
        parse=formatting.scale,
    )  # fmt: skip
    long_side: int | None = option(
        None, help="Make the longer side this many pixels long.", panel=PICTURE, least=1, most=1_000_000, metavar="PX",
        parse=sizes.typed_pixels,
    )  # fmt: skip
    megapixels: float | None = option(
        None, help="Make the result this large.", panel=PICTURE, least=0.001, most=1_000_000, metavar="MP",
        parse=sizes.typed_megapixels,
    )  # fmt: skip
    print: str | None = option(
        None, help="Make it as large as a print takes: 20x30cm, 8x12in@240, A4; 300 dpi unless said.", panel=PICTURE,
        metavar="PAPER", convert=sizes.paper_as_text,
    )  # fmt: skip
    # Only where a model has it; None = the model's default.
    fidelity: float | str | None = option(
        None, help="0 = best looking, 1 = closest to the photo, auto = nearest to --reference, or to the photo; for "
        "{names}.", panel=FACES, least=0, most=1, values=("auto",), parse=formatting.fidelity, control="fidelity",
    )  # fmt: skip
    # Blended over the face of the enlarged photo.
    strength: float = option(
        1.0, help="How much of the restored face is blended in: 0 to 1.", panel=FACES, least=0, most=1
    )
    faces: str = option(
        "all",
        help="Which faces: all, largest, center, or numbers such as 2,5 or 1-3.",
        panel=FACES,
        values=("all", "largest", "center"),
        others=lambda text: face_numbers(text) is not None,
        convert=formatting.numbers_as_text,
        metavar="WHICH",
        advice="Use all, largest, center, or numbers such as 2,5 or 1-3 as `restore faces PHOTO` counts them.",
    )
    face: tuple[str, ...] = option(
        (), help="A face that no detector finds, by its box: X,Y,W,H; may be given several times.", panel=FACES,
        metavar="X,Y,W,H", convert=outlines.boxes_as_text,
    )  # fmt: skip
    adjust: tuple[str, ...] = option(
        (), help="Another model, strength or fidelity for one face: 2:strength=0.5,model=gpen-512; several times.",
        panel=FACES, metavar="N:NAME=VALUE", convert=adjusting.adjustments_as_text,
    )  # fmt: skip
    # Pixels of the photo, of the longer side of the face's box.
    min_face: float | None = option(
        None, help="Leave faces smaller than this many pixels alone; below 20 also looks closer.", panel=FACES, least=1
    )
    max_faces: int | None = option(
        None, help="Restore at most this many faces, the largest first.", panel=FACES, least=1
    )
    min_score: float = option(
        0.9, help="How sure the detector must be of a face: 0 to 1.", panel=FACES, least=0, most=1
    )
    # None = faces are not compared, which needs weights of its own; see `restorer.faces.likeness`.
    min_likeness: float | None = option(
        None, help="Leave a face alone whose restored version resembles it less than this; try 0.5. Fetches 4 MB.",
        panel=FACES, least=0, most=1, metavar="0..1",
    )  # fmt: skip
    # Each folder is a person, photos named one by one are one together; see `restorer.pipeline.references`.
    reference: tuple[str, ...] = option(
        (), help="Photo or folder of photos of a person in the photos; may be given several times.", panel=FACES,
        metavar="PATH", convert=formatting.paths_as_texts, by_weights=True,
    )  # fmt: skip
    aligned: bool = option(False, help="Each photo is one aligned face crop.", panel=FACES)
    # What searches a prior takes these; see `restorer.inversion`. None = the model's own.
    prior: str | None = option(
        None, help="What pulse and mganprior search: {names}, or a file of your own.", panel=FACES, role="prior",
        files=True, by_weights=True,
    )  # fmt: skip
    task: str | None = option(
        None, help="super-resolution, colorize, inpaint, denoise or reconstruct; for models that have it.",
        panel=FACES, values=TASKS,
    )  # fmt: skip
    # White where the picture is missing; in pixels of the photo.
    hole: str | None = option(
        None, help="Picture of the hole that --task inpaint fills: white = missing.", panel=FACES, metavar="FILE",
        convert=formatting.path_as_text,
    )  # fmt: skip
    variants: int = option(
        1, help="Several answers, each a file of its own; for models that search.", panel=FACES, least=1, most=64
    )
    steps: int | None = option(None, help="Steps of a search.", panel=FACES, least=1, most=1_000_000)
    # Seconds. A search that ends before its last step depends on the machine, so it decides the result.
    time_limit: float | None = option(
        None, help="End a search of one face after so long, with its best: 90s, 5m.", panel=FACES, least=0.1,
        metavar="TIME", parse=formatting.typed_seconds,
    )  # fmt: skip
    # For measuring, and for whoever wants to see what the networks make of a good photo.
    always: bool = option(
        False, help="Let networks replace also what is good already: every face, all of the background.", panel=FACES
    )
    repair: str = option(
        "none", help="auto takes out dots, weave and moire, and fills scratches, cracks and folds where there are "
        "enough of them; or the name or file of a finder, a filler, or FINDER,FILLER.", panel=PRINT,
        role="damage finder", files=True,
        words=(("none", "mend nothing"), ("auto", "take out screens, fill what the built-in finder finds")),
    )  # fmt: skip
    # In pixels of the upright photo; `mask` of a Restorer is the one that faces are pasted with.
    damage: str | None = option(
        None, help="Picture of the damage that is to be filled: white = damaged; of the photo's size.", panel=PRINT,
        flags=("--mask",), metavar="FILE", convert=formatting.path_as_text,
    )  # fmt: skip
    save_mask: bool = option(
        False, help="Write a picture of the damage beside the result; with --dry-run, that alone.", panel=PRINT
    )
    tone: str = option(
        "none", help="auto brings back faded contrast and colours; good photos and sepia stay as they are.",
        panel=PRINT, values=("none", "auto"),
    )  # fmt: skip
    colorize: str = option(
        "none", help="Guess the colours of black-and-white photos: none, auto (if weights are here), {names}, a file.",
        panel=PRINT, role="colorizer", files=True, words=(("none", "guess none"), ("auto", "by weights that are here")),
    )  # fmt: skip
    color_strength: float = option(1.0, help="How strong guessed colours are: 0 to 1.", panel=PRINT, least=0, most=1)
    detector: str = option(
        "auto", help="Face detector: auto, {names}.", panel=FACES, role="face detector", words=(AUTO,), by_weights=True
    )
    background: str = option(
        "auto",
        help="What enlarges everything else: auto, lanczos, {names}, or a file.",
        panel=BACKGROUND,
        role="upscaler",
        words=(AUTO, ("lanczos", "enlarge without inventing anything")),
        files=True,
        by_weights=True,
    )
    clean: str | None = option(
        None, help="Take noise, JPEG's blocks or blur off first: {names}, or a file.", panel=BACKGROUND,
        role="cleaner", files=True, by_weights=True, convert=formatting.path_as_text,
    )  # fmt: skip
    device: str = option(
        "auto",
        help="auto, cpu, cuda, cuda:N, cuda:all (the command: a process for each GPU) or mps.",
        panel=RUN,
        values=("auto", "cpu", "cuda", "cuda:0", "mps"),
        others=lambda text: re.fullmatch(r"cuda:(\d+|all)", text) is not None,  # which of them there are, torch knows
        advice="Use auto, cpu, cuda (a GPU by NVIDIA or AMD), cuda:N, cuda:all, or mps (the GPU of a Mac).",
        decides=False,
    )
    # What ran which network stands in the record; the fingerprint holds what runs the face restorer.
    engine: str = option(
        "auto", help="What runs the networks: auto, torch, openvino or onnxruntime; openvino:gpu names a unit as well.",
        panel=RUN, values=("auto", "torch", "openvino", "onnxruntime"), by_weights=True,
        others=lambda text: re.fullmatch(r"[a-z]\w*(:[a-z]+)?", text) is not None,  # which there are, the engines know
    )  # fmt: skip
    precision: str = option(
        "auto", help="auto, fp32, bf16 or fp16.", panel=RUN, values=("auto", "fp32", "bf16", "fp16")
    )
    # On a GPU the faces of several photos; None = by device.
    batch_size: int | None = option(None, help="Faces that are restored together.", panel=RUN, least=1, decides=False)
    low_memory: bool = option(
        False, help="Networks take less memory on a CPU, and more time.", panel=RUN, decides=False
    )
    # Of an upscaler's input; None = by network.
    tile: int | None = option(
        None, help="Tile side in pixels of the photo; smaller needs less memory.", panel=BACKGROUND, least=32,
        decides=False,
    )  # fmt: skip
    match_color: bool = option(True, help="Faces keep the colours of the photo; black and white stays so.", panel=FACES)
    grain: bool = option(False, help="Faces get the grain of the photo.", panel=FACES)
    # None = the noise that the weights hold. The largest is the largest that torch takes.
    seed: int | None = option(
        None, help="Another draw of the noise, for models that have noise; another search.", panel=RUN, least=0,
        most=2**64 - 1,
    )  # fmt: skip
    # Who writes pictures knows which formats there are, and refuses others: `restorer.photo.requested_format`.
    format: str = option("keep", help="keep, png, jpg, webp, tiff, bmp or heic.", panel=PICTURE, role="picture format")
    # None = 95, and a lossless WebP stays lossless.
    quality: int | None = option(
        None, help="Of JPEG, WebP and HEIC, 1 to 100; otherwise 95.", panel=PICTURE, least=1, most=100
    )
    strip_metadata: bool = option(False, help="Drop all but the colour profile.", panel=PICTURE)
    layers: bool = option(False, help="Write a TIFF in which each face is a layer of its own.", panel=PICTURE)
    offline: bool = option(False, help="Never reach for the network.", panel=RUN, decides=False)
    # By what weights.toml says of each table; the result may differ, and says with what it was made.
    license: str = option(
        "any",
        help="any, or commercial: only weights whose licence allows commercial use.",
        panel=RUN,
        values=("any", "commercial"),
    )
    # Said as --no-fallback: what "auto" would take and cannot have then ends the run.
    fallback: bool = option(
        True,
        help="Where better models cannot be had, the built-in ones take over; --no-fallback ends the run (exit 3).",
        panel=RUN,
        decides=False,
    )

    def __post_init__(self) -> None:
        """Check every value."""
        for name, each in declared(type(self)).items():
            value = getattr(self, name)
            plain = each.checked(value)
            if plain is not value:
                object.__setattr__(self, name, plain)

    @classmethod
    def of(cls, **given: Any) -> Self:
        """Return options from names and values.

        Raises:
            UnknownOptionError: a name is no option; the nearest one is suggested.
            UsageError: a value is of a wrong type or out of its range.
        """
        known = declared(cls)
        for name in given:
            if name not in known:
                near = nearest(name.replace("-", "_"), known)
                hint = f"Did you mean {near[0]}?" if near else f"Use one of {', '.join(known)}."
                raise UnknownOptionError(name, f"There is no option {name!r}.", hint)
        return cls(**given)

    def __repr__(self) -> str:
        """Return what differs from the defaults, as it is written: "Options(scale=4.0)"."""
        known = declared(type(self))
        changed = [f"{name}={value!r}" for name, value in self.values().items() if value != known[name].default]
        return f"{type(self).__name__}({', '.join(changed)})"

    def values(self) -> dict[str, Any]:
        """Return every option with its value, as `Restorer` takes them."""
        return {name: getattr(self, name) for name in declared(type(self))}

    def changed(self) -> dict[str, Any]:
        """Return the options that decide what the result is and that differ from their defaults.

        Those that stand for weights are left out: whoever writes a fingerprint adds the weights themselves.
        """
        return {
            name: getattr(self, name)
            for name, each in declared(type(self)).items()
            if each.decides and not each.by_weights and getattr(self, name) != each.default
        }


for _field in fields(Options):
    _option: Option = _field.metadata["option"]
    VALUES.update(_option.values, dict(_option.words))
    if isinstance(_option.default, bool):
        SWITCHES.add(_field.name)
    for _flag in _option.flags:
        NAMES[_flag.lstrip("-").replace("-", "_")] = _field.name
