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
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from restorer.photo import read_photo
from tests.support.hub import Hub
from tests.support.reader import ROOT, Example, Reader, World, fill, large_models, sections, without_figures
from tests.support.shell import Shell

OWN_TESTS = {
    "docs/training.md": "test_training_docs.py runs it, with a folder of pictures to train on",
    "docs/searching.md": "test_searching_docs.py runs it with few steps",
}
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))
    if path.relative_to(ROOT).as_posix() not in OWN_TESTS
)
NOT_RUN = {
    "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/restore demo --overwrite":
        "installs PyTorch anew; .ci/run does it in an environment of its own",
    ".venv/bin/pip install '.[test]' && .venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy && "
    ".venv/bin/python -m pytest -n auto":
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

CASES = [(page, heading) for page in PAGES for heading in sections(page)]


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
            patch.setattr(
                "restorer.engine.device.allowed_cores", lambda: 1
            )  # on pictures so small threads wait for one another
            yield World(photos, home, shell, variables, NOT_RUN)


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
        assert Image.open(results[0]).size == ((64, 48) if name in names[2:] else (128, 128))
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
    "1 result is there, made with --scale 2; this run asks for --scale 3. It is kept as it is.": (
        f"restore photo.jpg {PLAIN}; restore photo.jpg {PLAIN} --scale 3",
        0,
    ),
    "--faces asks for face 9, but 5 were found": ("restore party.jpg --faces 9 --background lanczos", 0),
    "pictures of kinds that are not read were passed over: .psd (12)": (
        f"touch scans/1.psd; restore scans/ -o there/ {PLAIN}",
        0,
    ),
    "No face was found": ("restore album/1932/house.jpg --background lanczos", 0),
    "using the small built-in models": (
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


@pytest.mark.parametrize(
    ("language", "text", "remark"),
    [
        ("sh", "restore nowhere.jpg\n", None),
        ("sh", "restore grandma.jpg --such-an-option\nls\n", None),
        ("sh", "restore --version | grep nothing | cat\n", None),
        ("sh", "restore --version\n", "exit code 1"),
        ("sh", "restore --version\n", "not run"),
        ("sh", "ls\nrestore nowhere.jpg &\nwait\n", None),
        ("text", "restore 0.1 of another tool\n", None),
        ("json", "{record}\n", None),
        ("python", "assert not True\n", None),
        ("fortran", "END\n", None),
    ],
)
def test_an_example_that_does_not_work_is_noticed(
    language: str, text: str, remark: str | None, world: World, tmp_path: Path
) -> None:
    reader = Reader(world, tmp_path)
    reader.follow(Example(1, "sh", "restore --version\n", None, None))
    reader.follow(Example(2, "text", "restore 12.3.4...\n", None, None))
    with pytest.raises((AssertionError, ValueError)):
        reader.follow(Example(3, language, text, None, remark))


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
