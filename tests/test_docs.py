"""The README and the pages of docs/: every example is run, in a folder with the photos that it names.

A `sh` block goes through bash as it stands, a `python` block is executed, a `text` block must be what the command
before it prints, and a file that the reader shall save is saved. Large models are stood in for by the built-in ones of
the same role under the large ones' names, fetched from a stand-in of the Hub. docs/training.md is tested elsewhere.

Two remarks in a page, which its readers do not see, stand before a block:
`<!-- each line by itself -->` are choices, of which each begins with the same folder;
`<!-- exit code 1 -->` is what the last command of the block must return, where that is not 0.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import tomllib
import torch
from PIL import Image

from restorer import demo, registry, weights
from restorer.cli import photos as photo_command
from restorer.photo import read_photo
from restorer.weights.own import About, write
from tests import golden, standins
from tests.hub import Hub
from tests.shell import Done, Shell

ROOT = Path(__file__).parents[1]
OWN_TESTS = {"docs/training.md": "test_training_docs.py runs it, with a folder of pictures to train on"}
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))
    if path.relative_to(ROOT).as_posix() not in OWN_TESTS
)
NOT_RUN = {
    "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/restore demo --overwrite":
        "installs PyTorch anew; .ci/run does it in an environment of its own",
    ".venv/bin/pip install '.[test]' && .venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy && "
    ".venv/bin/python -m pytest":
        "is this very run of the tests",
    'eval "$(restore completion zsh)"     # in ~/.zshrc, after compinit':
        "is for another shell; test_completion.py loads it there",
}  # fmt: skip
"""Lines that are not run, with the reason."""

MACHINES = {
    # A cluster's scheduler: the script runs once for each number of its array, one after the other.
    "sbatch": """
        range=$(sed -n 's/^#SBATCH --array=//p' "$1"); first=${range%-*}; last=${range#*-}
        for ((number = first; number <= last; number++)); do
            SLURM_ARRAY_TASK_ID=$number SLURM_ARRAY_TASK_COUNT=$((last - first + 1)) bash -eu "$1"
        done
        echo "Submitted batch job 1"
    """,
}
"""Commands of other machines, which a bare one does not have."""


# ---------------------------------------------------------------------------------------------------- the examples


@dataclass(frozen=True)
class Example:
    """A block of code in a page.

    Attributes:
        line: where its text begins.
        language: what stands behind the fence.
        text: what is in it.
        save_as: the name under which the page tells its reader to save it.
        remark: the HTML comment before it.
    """

    line: int
    language: str
    text: str
    save_as: str | None
    remark: str | None


def sections(page: str) -> dict[str, list[Example]]:
    """Return the examples of a page by the heading, of the first or second level, above them."""
    found: dict[str, list[Example]] = {}
    heading, before, lines = "", ["", ""], iter(enumerate((ROOT / page).read_text(encoding="utf-8").splitlines(), 1))
    for number, line in lines:
        if match := re.match(r"##? (.*)", line):
            heading = match[1]
        if fence := re.match(r"\s*(```+|~~~+)(.*)", line):
            block = []
            for _, inside in lines:
                if inside.strip() == fence[1]:
                    break
                block.append(inside)
            remark = re.fullmatch(r"<!-- (.*) -->", before[-1])
            name = re.search(r"[Ss]ave this as `([^`]+)`:$", before[-2] if before[-1] == "" else before[-1])
            example = Example(
                number + 1,
                fence[2].strip(),
                "\n".join(block) + "\n",
                name[1] if name else None,
                remark[1] if remark else None,
            )
            found.setdefault(heading, []).append(example)
        before = [before[-1], line]
    return found


CASES = [(page, heading) for page in PAGES for heading in sections(page)]


# ------------------------------------------------------------------------------------------------------ the sandbox


def portrait(side: int, *, mirrored: bool = False) -> np.ndarray:
    """Return the face of the demo's photograph as (side, side, 3); it is two fifths as wide."""
    face = demo.photograph()[0:256, 100:356]
    small = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(small[:, ::-1] if mirrored else small)


def fill(folder: Path) -> None:
    """Write the photos that the pages name: all small, with a face where one is spoken of."""

    def save(name: str, pixels: np.ndarray) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, quality=90)

    for name in ("grandma.jpg", "photo.jpg"):
        save(name, portrait(80))
    save("party.jpg", np.hstack([portrait(72, mirrored=bool(number % 2)) for number in range(5)]))
    save("stamp.jpg", portrait(56))
    grey = np.asarray(cv2.cvtColor(portrait(96), cv2.COLOR_RGB2GRAY), np.float32)
    grain = cv2.GaussianBlur(np.random.default_rng(0).standard_normal(grey.shape).astype(np.float32), (0, 0), 0.6)
    save("print.png", np.clip(grey + 12 * grain, 0, 255).astype(np.uint8))
    cv2.imwrite(str(folder / "scan.tif"), portrait(96).astype(np.uint16)[..., ::-1] * 257)
    for name in (
        "album/1931/wedding.jpg",
        "1930s/a.jpg",
        "scans/box 1/first.tif",
        "archive/1928/one.jpg",
        "new/school.jpg",
    ):
        save(name, portrait(64))
    for name in ("album/1931/mother.jpg", "album/1932/garden.jpg", "1940s/a.jpg", "archive/1928/two.jpg"):
        save(name, portrait(64, mirrored=True))
    for name in ("album/1932/house.jpg", "album/1932/lake.jpg", "archive/1929/three.jpg", "archive/1930/four.jpg"):
        save(name, demo.photograph()[480:504, 0:32])
    for number in (1, 2, 3):
        save(f"backup/IMG_000{number}.jpg", portrait(64, mirrored=number == 2))
    shutil.copytree(folder / "backup", folder / "card")
    os.truncate(folder / "card" / "IMG_0002.jpg", 1000)
    os.truncate(folder / "card" / "IMG_0003.jpg", 0)
    for name in ("crops/mother.png", "crops/father.png"):
        save(name, portrait(128))
    (folder / "album" / "Thumbs.db").write_bytes(b"not a photo")
    torch.save({"weight": torch.zeros(3)}, folder / "unknown.pth")
    torch.save({"weight": torch.nn.ReLU()}, folder / "program.pth")
    golden.Record.read(golden.FOLDER / "gfpgan_clean_64_narrow.json").write(folder / "my_gfpgan.pth")


def large_models(hub: Hub, folder: Path) -> str:
    """Put stand-ins of the large models on the Hub; return the weights.toml that names them.

    Each is the built-in model of the same role; the parser is a shallow one that takes all for skin.
    """
    architecture = registry.architectures()["parsenet"]
    complete = {**architecture.defaults, "base_ch": 32, "res_depth": 1, "min_feat_size": 128}
    state = architecture.build(complete).state_dict()
    state["out.bias"][1] += 100
    parser = folder / "parser.safetensors"
    write(state, parser, About("parsenet", complete))
    tables = standins.table("parsenet", "parsenet", parser, hub.add("a/b", parser.name, parser.read_bytes()))
    for name, small in (
        ("gfpgan-1.4", "tiny"),
        ("glean-128", "tiny"),
        ("restoreformer", "tiny"),
        ("retinaface-r50", "tiny-detector"),
        ("realesrgan-x2", "tiny-upscaler"),
        ("realesrgan-x4", "tiny-upscaler"),
        ("realesr-general", "tiny-upscaler"),
    ):
        table = weights.resolve(small)
        file = weights.cached(table)
        assert file is not None
        source = hub.add("a/b", f"{name}.safetensors", file.read_bytes())
        entry = standins.table(name, table.architecture, file, source)
        aliases = [alias for alias in ("gfpgan", "glean") if name.startswith(alias)]
        tables += entry.replace("size =", f"aliases = {json.dumps(aliases)}\nsize =").replace("arguments = {  }\n", "")
    return tables


@dataclass(frozen=True)
class World:
    """What the examples of all pages share: a folder with photos to copy, a home to copy, the shell, variables."""

    photos: Path
    home: Path
    shell: Shell
    variables: dict[str, str]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Photos, a Hub with the weights, and a shell that knows `restore`."""
    photos, home = tmp_path_factory.mktemp("photos"), tmp_path_factory.mktemp("user")
    fill(photos)
    settings = home / ".config" / "restorer"
    settings.mkdir(parents=True)
    (home / ".config" / "fish" / "completions").mkdir(parents=True)  # as fish itself makes it
    kept = ("LANG", "LC_ALL", "TMPDIR", "OMP_NUM_THREADS", "SYSTEMROOT")
    with Hub() as hub:
        (settings / "weights.toml").write_text(large_models(hub, photos / ".weights"))
        shutil.rmtree(photos / ".weights")
        variables = {
            **{name: os.environ[name] for name in kept if name in os.environ},
            **hub.environment(),
            "COLUMNS": "200",
            "PYTHONPATH": str(ROOT),
        }
        with Shell({}, MACHINES) as shell, pytest.MonkeyPatch.context() as patch:
            # On pictures so small threads wait for one another, and the help page's names are the same in all runs.
            patch.setattr("restorer.device.allowed_cores", lambda: 1)
            patch.setattr("restorer.cli.photos._names", cache(photo_command._names))
            yield World(photos, home, shell, variables)


def port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Reader:
    """Somebody who follows one section of a page from its first example to its last, in a folder of their own."""

    def __init__(self, world: World, folder: Path) -> None:
        self.folder = folder / "photos"
        self._world = world
        self._port = str(port())
        home = folder / "home"
        shutil.copytree(world.photos, self.folder)
        shutil.copytree(world.home, home)
        self.variables = {
            **world.variables,
            "HOME": str(home),
            "HF_HOME": str(home / ".cache/huggingface"),
            "RESTORER_CACHE": str(home / ".cache/restorer"),
            "RESTORER_CONFIG": str(home / ".config/restorer"),
        }
        self.printed = ""

    def follow(self, example: Example) -> None:
        """Do what an example says."""
        text = example.text.replace("8000", self._port)  # the port of the web service
        if example.save_as:
            (self.folder / example.save_as).write_text(text)
        elif example.language == "sh":
            self._enter(text, example.remark)
        elif example.language == "python":
            here = Path.cwd()
            os.chdir(self.folder)
            try:
                exec(compile("\n" * (example.line - 1) + text, "the page", "exec"), {"__name__": "__main__"})
            finally:
                os.chdir(here)
        elif example.language == "text":
            self._compare(text)
        elif example.language == "json":
            json.loads(text)
        elif example.language == "toml":
            tomllib.loads(text)
        else:
            raise AssertionError(f"nothing is known of examples in {example.language!r}")

    def _enter(self, text: str, remark: str | None) -> None:
        """Type the commands of a block, but those that are excused."""
        kept = "".join(line + "\n" for line in text.splitlines() if line not in NOT_RUN)
        wanted = re.fullmatch(r"exit code (\d+)", remark or "")
        if remark == "each line by itself":
            for line in filter(str.strip, kept.splitlines()):
                start = self.folder.with_name("start")
                shutil.copytree(self.folder, start)
                self._check(line, self.type(line), 0)
                shutil.rmtree(self.folder)
                start.rename(self.folder)
        else:
            assert wanted or remark in (None, "install-and-run", "test"), f"a remark that says nothing: {remark}"
            self._check(kept, self.type(kept), int(wanted[1]) if wanted else 0)

    def type(self, script: str) -> Done:
        """Type commands into the shell."""
        self._world.shell.environment = self.variables
        done = self._world.shell.run(script, self.folder)
        self.printed = done.printed
        return done

    def _check(self, script: str, done: Done, code: int) -> None:
        """Compare the exit code, and see that each result that was spoken of is there."""
        assert done.code == code, f"{script}\nended with {done.code}:\n{done.printed}"
        for line in done.printed.splitlines():
            if result := re.match(r"(\S.*?)  \(\d+ x \d+; ", line):
                assert (self.folder / result[1]).stat().st_size, line
        for call in done.calls:
            assert call.code == 0 or call == done.calls[-1], f"{call.arguments} ended with {call.code}:\n{done.printed}"

    def _compare(self, text: str) -> None:
        """See that each line of a block was printed, whatever its figures are; "..." leaves lines or words out."""
        printed = [without_figures(line) for line in self.printed.splitlines()]
        for line in text.splitlines():
            parts = [re.escape(part) for part in without_figures(line).split("...")]
            pattern = re.compile(".*".join(parts))
            assert any(pattern.fullmatch(each) for each in printed), f"{line!r} was not printed, but:\n{self.printed}"


def without_figures(line: str) -> str:
    """Return a line with 0 in the place of each number and of its unit, which follow from the photo and the machine."""
    line = re.sub(r"\d+ (h|min) \d+ (min|s)\b", "0 s", line)
    line = re.sub(r"\d[\d,]*(\.\d+)?", "0", line)
    return re.sub(r"\b0 (ms|s|min|kB|MB|GB)\b", "0 s", line).strip()


# -------------------------------------------------------------------------------------------------------- the tests

PROMISED: dict[tuple[str, str], list[str]] = {
    ("README.md", "Use it"): [
        *("grandma_restored.jpg", "large.png", "scan_restored.tif"),
        *("restored/1931/wedding_restored.jpg", "restored/1932/garden_restored.jpg"),
    ],
    ("docs/guide.md", "One photo"): ["grandma_restored.jpg", "large.png", "restored/grandma_restored.jpg"],
    ("docs/guide.md", "Folders"): [
        *("restored/1931/wedding_restored.jpg", "restored/1930s/a_restored.jpg", "restored/1940s/a_restored.jpg"),
        *("restored/box 1/first_restored.tif", "restored/archive/1928/one_restored.jpg"),
        *("restored/.restorer-journal.jsonl", "restored/1928/two_restored.jpg"),
    ],
    ("docs/guide.md", "Scripts"): ["records.jsonl", "large.jpg"],
    ("docs/guide.md", "Python"): ["large.png"],
    ("docs/cookbook.md", "A whole album, and the next day"): [
        *(f"rescued/IMG_000{number}_restored.jpg" for number in (1, 2, 3)),
        "restored/1932/school_restored.jpg",
    ],
    ("docs/cookbook.md", "One face in a group photo"): ["party_faces.jpg", "party_restored.jpg", "closer.jpg"],
    ("docs/cookbook.md", "A very small picture from the web"): ["large.png", "closer.png"],
    ("docs/cookbook.md", "A server without a network"): [
        *("weights.tar", "restored/1931/wedding_restored.jpg", "by-name/1931/wedding_restored.jpg"),
    ],
    ("docs/cookbook.md", "An archive with settings of its own"): ["restored/1928/one_gfpgan-1.4_4x.png"],
    ("docs/cookbook.md", "Something to show the family"): ["restored/report.html", "for-aunt-emma/report.html"],
    ("docs/cookbook.md", "Faces that are cut out, and weights of your own"): [
        *("restored/mother_restored.png", "my_gfpgan.safetensors", "photo_restored.jpg"),
    ],
    ("docs/models.md", "Your own checkpoint"): ["my_gfpgan.safetensors", "photo_restored.jpg"],
    ("docs/report.md", "The report"): ["restored/report.html"],
    ("docs/report.md", "Which face is which"): ["party_faces.jpg"],
}
"""Files that an example says will be there, by page and heading."""


@pytest.mark.parametrize(("page", "heading"), CASES, ids=lambda value: value)
def test_every_example_works(
    page: str, heading: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = Reader(world, tmp_path)
    for name, value in reader.variables.items():
        monkeypatch.setenv(name, value)  # for Python examples; the shell has them in any case
    for example in sections(page)[heading]:
        try:
            reader.follow(example)
        except AssertionError as error:
            raise AssertionError(f"{page}, line {example.line}: {error}") from None
    for name in PROMISED.get((page, heading), ()):
        path = reader.folder / name
        assert path.is_file(), f"{name} is not there"
        assert path.stat().st_size, f"{name} is empty"
    if (page, heading) in FURTHER:
        FURTHER[page, heading](reader)


def _kept_16_bit(reader: Reader) -> None:
    """The scan's depth stays, and with --scale 1 its size."""
    large, same = (read_photo(reader.folder / name).pixels for name in ("scan_restored.tif", "faces-only.tif"))
    assert large.dtype == same.dtype == np.uint16
    assert (large.shape, same.shape) == ((192, 192, 3), (96, 96, 3))
    assert Image.open(reader.folder / "scan_restored.jpg").size == (192, 192)


def _stayed_grey(reader: Reader) -> None:
    """A black-and-white print has no colour, and less strength is another picture."""
    print_, softer = (Image.open(reader.folder / name) for name in ("print_restored.png", "softer.png"))
    assert print_.mode == softer.mode == "L"
    assert print_.tobytes() != softer.tobytes()


def _shared_the_work(reader: Reader) -> None:
    """Every photo is there once, whichever way the list was split, and each job has its page."""
    names = ["1928/one", "1928/two", "1929/three", "1930/four"]
    for name in names:
        results = [reader.folder / folder / f"{name}_restored.jpg" for folder in ("restored", "both")]
        assert results[0].read_bytes() == results[1].read_bytes()
    assert all((reader.folder / f"restored/report-{number}-of-4.html").is_file() for number in range(1, 5))
    assert reader.printed.count("restored (") == 2  # two photos each


def _answered(reader: Reader) -> None:
    """The pipe and the service gave pictures of the right size; each photo has its record."""
    assert Image.open(reader.folder / "large.jpg").size == (320, 320)
    assert Image.open(reader.folder / "larger.jpg").size == (160, 160)
    records = [json.loads(line) for line in (reader.folder / "records.jsonl").read_text().splitlines()]
    assert [record["status"] for record in records] == ["ok"] * 5


def _one_face_each(reader: Reader) -> None:
    """The two models and strengths gave different faces; what is far from the chosen face is the same."""
    names = ("party_restored.jpg", "softer.jpg", "compare/party_restoreformer.jpg", "compare/party_gfpgan-1.4.jpg")
    full, softer, *models = (np.asarray(Image.open(reader.folder / name), np.int16) for name in names)
    assert np.abs(full - softer)[:, 288:432].max() > 5
    assert np.abs(full - softer)[:, :250].max() == 0
    assert all(each.shape == full.shape for each in models)


FURTHER: dict[tuple[str, str], Callable[[Reader], None]] = {
    ("docs/cookbook.md", "One face in a group photo"): _one_face_each,
    ("docs/cookbook.md", "A scan in 16-bit TIFF"): _kept_16_bit,
    ("docs/cookbook.md", "A black-and-white or grainy print"): _stayed_grey,
    ("docs/cookbook.md", "A cluster with GPUs"): _shared_the_work,
    ("docs/cookbook.md", "A script or a web service"): _answered,
}
"""What else must be true after a section, by page and heading."""

PLAIN = "--model none --background lanczos"
TROUBLES = {
    "exists already and was not made from this photo with these options": (
        f"restore photo.jpg {PLAIN}; restore photo.jpg {PLAIN} --scale 3",
        1,
    ),
    "--faces asks for face 9, but 5 were found": ("restore party.jpg --faces 9 --background lanczos", 0),
    "pictures of kinds that are not read were passed over: .cr2 (12)": (
        f"touch scans/1.cr2; restore scans/ -o there/ {PLAIN}",
        0,
    ),
    "No face was found": ("restore album/1932/house.jpg --background lanczos", 0),
    "Neither on this machine nor reachable: ... The built-in models ... take their place": (
        "restore photo.jpg --offline",
        0,
    ),
    "restore.toml sets 'skale', which is no option": ("echo 'skale = 4' > restore.toml; restore archive/", 2),
    "exists already and is no report of this tool": (
        f"mkdir there; echo mine > there/report.html; restore album/ -o there/ --report {PLAIN}",
        1,
    ),
    "fits none of the architectures that are known": ("restore models import unknown.pth", 3),
    "holds more than weights": ("restore models import program.pth", 3),
}
"""What the cookbook quotes from the screen where things go wrong, and what brings it about, with the exit code."""


@pytest.mark.parametrize("said", TROUBLES)
def test_what_goes_wrong_is_said_as_the_cookbook_quotes_it(said: str, world: World, tmp_path: Path) -> None:
    reader = Reader(world, tmp_path)
    script, code = TROUBLES[said]
    done = reader.type(script)
    assert done.code == code, done.printed
    pattern = ".*".join(re.escape(part) for part in without_figures(said).split("..."))
    assert re.search(pattern, without_figures(done.printed)), done.printed


def test_all_that_the_cookbook_quotes_is_tested() -> None:
    text = (ROOT / "docs/cookbook.md").read_text(encoding="utf-8")
    assert {" ".join(quoted.split()) for quoted in re.findall(r'\*"(.*?)"', text, re.DOTALL)} == set(TROUBLES)


def test_links_and_pictures_are_there() -> None:
    for page in (*PAGES, *OWN_TESTS):
        text = (ROOT / page).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#\s]*)(?:#[^)]*)?\)", text):
            assert "://" in target or (ROOT / page).parent.joinpath(target).exists(), f"{page} points to {target}"
        for anchor in re.findall(r"\]\(#([^)]+)\)", text):
            headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}, anchor


def test_nothing_is_left_out_for_no_reason() -> None:
    lines = [
        line
        for page in PAGES
        for examples in sections(page).values()
        for example in examples
        for line in example.text.splitlines()
    ]
    assert set(NOT_RUN) <= set(lines), "a line that is excused is in no page any more"
    assert set(PROMISED) <= set(CASES)
    assert set(FURTHER) <= set(CASES)
    assert all((ROOT / page).is_file() for page in OWN_TESTS)
