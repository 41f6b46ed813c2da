"""What the tests of the documentation read pages with, and the folder in which they do what the pages say."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import tomllib
import torch
from PIL import Image

from restorer import weights
from restorer.evaluation import ageing as demo
from restorer.models import REGISTRY
from restorer.weights.native_file import FileHeader, write
from tests.support import golden, standins
from tests.support.hub import Hub
from tests.support.shell import Done, Shell

ROOT = Path(__file__).parents[2]


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
    heading, paragraph, previous, remark = "", "", "", None
    lines = iter(enumerate((ROOT / page).read_text(encoding="utf-8").splitlines(), 1))
    for number, line in lines:
        if match := re.match(r"##? (.*)", line):
            heading = match[1]
        if fence := re.match(r"\s*(```+|~~~+)(.*)", line):
            block = []
            for _, inside in lines:
                if inside.strip() == fence[1]:
                    break
                block.append(inside)
            name = re.search(r"[Ss]ave this as `([^`]+)`:$", paragraph)
            text = "\n".join(block) + "\n"
            example = Example(number + 1, fence[2].strip(), text, name[1] if name else None, remark)
            found.setdefault(heading, []).append(example)
            paragraph, remark = "", None
        elif comment := re.fullmatch(r"<!-- (.*) -->", line):
            remark = comment[1]
        elif line:  # a block belongs to the paragraph before it, whether a line is free between them or not
            paragraph, remark = f"{paragraph} {line}" if previous else line, None
        previous = line
    return found


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
    for name in ("grandma", "grandpa"):
        save(f"refs/{name}/1.jpg", portrait(72, mirrored=name == "grandpa"))
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
    os.truncate(folder / "card" / "IMG_0002.jpg", 400)
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
    architecture = REGISTRY["parsenet"]
    complete = {**architecture.defaults, "base_ch": 32, "res_depth": 1, "min_feat_size": 128}
    state = architecture.build(complete).state_dict()
    state["out.bias"][1] += 100
    parser = folder / "parser.safetensors"
    write(state, parser, FileHeader("parsenet", complete))
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


# ------------------------------------------------------------------------------------------------------- the reader


@dataclass(frozen=True)
class World:
    """What the examples of all pages share.

    Attributes:
        photos: the folder that each reader gets a copy of.
        home: the home folder that each gets a copy of.
        shell: where commands are typed.
        variables: of the shell.
        excused: lines that are not run.
    """

    photos: Path
    home: Path
    shell: Shell
    variables: dict[str, str]
    excused: Collection[str]


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
        kept = "".join(line + "\n" for line in text.splitlines() if line not in self._world.excused)
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
            # Bash knows nothing of the exit codes of those that run beside it.
            assert call.code in (0, code), f"{call.arguments} ended with {call.code}:\n{done.printed}"

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
    line = re.sub(r"\b0 (ms|s|min|h|kB|MB|GB)\b", "0 s", line)
    return line.replace("0 s to 0 s", "about 0 s").strip()  # a range, where a machine is slow
