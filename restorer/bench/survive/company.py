"""Bad company: names, links, settings, journals and blocks of text that somebody else has put among the photos.

Everything happens below a folder that stands for the world. What lies outside of the run's own folders must be
afterwards what it was, nothing may be run, and nothing may reach the screen or a page as anything but text.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from restorer.batch.journal import NAME
from restorer.bench.survive import records, running
from restorer.bench.survive.bombs import png_with
from restorer.bench.survive.counting import Tally
from restorer.bench.survive.running import PLAIN, restore
from restorer.bench.survive.samples import jpeg, samples
from restorer.bench.tools.albums import picture
from restorer.photo import jpeg_segments

if TYPE_CHECKING:
    from restorer.bench.survive.campaign import Plan

NAMES = (
    "-o", "--overwrite", "-", "--", "..", "...", "~", "~root", "{stem}", "{model}", "{0}", "%s", "%n%n", "$(touch run)",
    "`touch run`", "a;touch run", "a|touch run", "a&touch run&", "<script>alert(1)",
    '"><img src=x onerror=alert(1)>', "'--><svg onload=alert(1)>", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x1b[2J",
    "\x9b31m", "\r\x1b[Kgone", "two\nlines", "tab\tbed", "\x7f", "right\u202eleft", "\u2066iso\u2069", "\u200b", "con",
    "nul.txt", "a\\..\\..\\b", "C:evil", " ", " leading", "trailing ", "dot.", "http:__host", "[red]text[bold]",
    "[link=file:x]y", "*", "?", "[a-z]", "a'b\"c", "x" * 240, "\u0301" * 100, "é", "e\u0301", "日本",
    "\U0001f469\u200d\U0001f467", os.fsdecode(b"\xed\xa0\x80"), os.fsdecode(b"latin\xe9"), os.fsdecode(b"\xff\xfe"),
    "{{7*7}}", "{%raw%}", "=1+1", "@x", "#", "models", "config",
)  # fmt: skip
"""Names without suffix, all of which a Linux folder can hold."""
_MARKUP = ("<script>alert", "<img src=x", "<svg onload")
SETTINGS = {
    "out above": 'out = "../elsewhere/here"',
    "out absolute": 'out = "{outside}/here"',
    "out by a link": 'out = "link/here"',
    "log above": 'log = "../elsewhere/log"',
    "log by a link": 'log = "link/log"',
    "metrics above": 'metrics = "../elsewhere/m"',
    "sheet above": 'sheet = "../elsewhere/s.jpg"',
    "preview above": 'preview = "../elsewhere/p.png"',
    "name that climbs": 'name = "../../elsewhere/{{stem}}"',
    "weights": 'weights = "weights.toml"',
    "a program as the model": 'model = "evil.pth"',
    "another hub": 'HF_ENDPOINT = "http://127.0.0.1:9"',
    "nested without end": "a = " + "[" * 100_000,
    "tables without end": "[" + "a." * 50_000 + "a]",
    "no settings": "\0\1\2",
    "10 MB": "# x\n" * 2_500_000,
    "another type": "scale = [1, 2]",
    "a negative scale": "scale = -2",
    "huge": "scale = 1e300",
    "an unknown word": "overwrit = true",
    "overwrite": "overwrite = true",
    "a preset that climbs": 'preset = "../../elsewhere/evil"',
    "files from above": 'files-from = "../elsewhere/list"',
    "watch": "watch = true",
    "a cluster": 'cluster = "ray://127.0.0.1:9"',
}
"""What a restore.toml in a folder of somebody else's may hold."""
SPECIAL: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("restore.toml", "", ()), ("out/good_restored.png", "", ()), (f"in/{NAME}", "", ()), (f"out/{NAME}", "", ()),
    ("out/report.html", "", ("--report",)), ("in/x.png", "", ()), ("m.json", "", ("--metrics", "m.json")),
    ("s.pdf", "", ("--sheet", "s.pdf")), ("p.png", "", ("--preview", "p.png")), ("l.log", "", ("--log", "l.log")),
    ("x.png", 'mask = "x.png"', ()), ("list", 'files-from = "list"', ()), ("x.pth", 'clean = "x.pth"', ()),
)  # fmt: skip
"""Where a pipe or a device may lie in the place of a file, what restore.toml says, and further options."""
_PATIENCE = 6.0  # seconds of a core, ten times as many of a clock
_ENCODINGS = (
    "utf-8",
    "utf-8-sig",
    "utf-16",
    "utf-16-le",
    "utf-16-be",
    "utf-32",
    "utf-32-le",
    "utf-7",
    "cp037",
    "cp500",
    "cp1140",
    "latin-1",
    "shift_jis",
)


class World:
    """A folder that stands for the world: `work` is where a run works, all else is none of its business."""

    def __init__(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        self.work, self.elsewhere = folder / "work", folder / "elsewhere"
        for place in (self.work / "in", self.elsewhere):
            place.mkdir(parents=True)
        (self.elsewhere / "secret.txt").write_text("secret")
        picture(self.elsewhere / "private.png", seed=99)
        picture(self.work / "in" / "good.png", seed=1)
        self._folder = folder
        self._before: dict[str, str] = {}

    def look(self) -> None:
        """Keep what is there now."""
        self._before = self._outside()

    def changed(self) -> list[str]:
        """Return what is not as it was outside of the results."""
        now = self._outside()
        names = sorted(name for name in {*now, *self._before} if now.get(name) != self._before.get(name))
        return [f"{name} was {'changed' if name in self._before else 'made'}" for name in names[:3]]

    def _outside(self) -> dict[str, str]:
        found = records.digests(self._folder)
        return {name: value for name, value in found.items() if not name.startswith(("work/out/", "work/report"))
                and not (name.startswith("work/in/") and "_restored" in name) and ".settings" not in name
                and not name.startswith(".work")}  # fmt: skip


def _photo(path: Path) -> None:
    """Write a small picture under any name; its content tells what it is."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(samples("JPEG" if path.name.endswith(".jpg") else "PNG")[2])


def names(options: tuple[str, ...], world: World) -> list[str]:
    """Photos with names of every sort, as a folder and one by one."""
    for number, name in enumerate(NAMES):
        _photo(world.work / "in" / f"{name}{('.png', '.jpg')[number % 2]}")
        if number % 3 == 0 and name not in ("..", "-", "--"):
            _photo(world.work / "in" / name / "x.png")
    (world.work / "in" / "<script>alert(2)\x1b[31m.jpg").write_bytes(b"\xff\xd8\xff broken")
    world.look()
    ran = restore(world.work, "in", "-o", "out", *PLAIN, *options)
    problems = records.check(ran, world.work, [record["input"] for record in ran.records], lines=False)
    for page in (world.work / "out").rglob("*.html"):
        problems += [f"{page.name} holds {sign}" for sign in _MARKUP if sign in page.read_text("utf-8", "replace")]
    if len(ran.records) < len(NAMES) - 2:  # those that begin with a dot are hidden
        problems.append(f"only {len(ran.records)} records")
    if any(record["status"] == "failed" and "<script>" not in record["input"] for record in ran.records):
        problems += [str(record["error"]) for record in ran.records if record["status"] == "failed"][:3]
    return problems


def links(beside: bool, world: World) -> list[str]:
    """Links of every sort among photos and results; pipes, too."""
    inside, out = world.work / "in", world.work / "out"
    (inside / "out-of-here").symlink_to(world.elsewhere)
    (inside / "passwd.jpg").symlink_to("/etc/passwd")
    (inside / "zero.jpg").symlink_to("/dev/zero")
    (inside / "private.png").symlink_to(world.elsewhere / "private.png")
    (inside / "nothing.png").symlink_to(inside / "absent.png")
    (inside / "loop.png").symlink_to("loop.png")
    (inside / "round").symlink_to(inside)
    os.mkfifo(inside / "pipe.jpg")
    (inside / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    place = inside if beside else out
    place.mkdir(exist_ok=True)
    (place / "good_restored.png").symlink_to(world.elsewhere / "secret.txt")
    world.look()
    arguments = ("in", *(() if beside else ("-o", "out")), *PLAIN)
    ran = restore(world.work, *arguments, seconds=60.0)
    problems = records.said(ran) + [problem for record in ran.records for problem in records.of_one(record, world.work)]
    forced = restore(world.work, *arguments, "--overwrite", seconds=60.0)
    return problems + records.said(forced)


def planted(content: bytes | None, world: World) -> list[str]:
    """A journal that somebody has put among the photos: a link to another file, or text of theirs."""
    inside = world.work / "in"
    (inside / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    picture(inside / "plain.bmp")
    if content is None:
        (inside / NAME).symlink_to(world.elsewhere / "secret.txt")
        (world.work / "out").mkdir()
        (world.work / "out" / NAME).symlink_to(world.elsewhere / "secret.txt")
    else:
        (inside / NAME).write_bytes(content)
    world.look()
    problems = []
    for arguments in (("in",), ("in", "-o", "out")):
        ran = restore(world.work, *arguments, *PLAIN, seconds=60.0)
        problems += records.said(ran)
        problems += [problem for record in ran.records for problem in records.of_one(record, world.work)]
    return problems


def special(place: str, text: str, options: tuple[str, ...], endless: bool, world: World) -> list[str]:
    """A pipe that nobody writes into, or what has no end, where a file is looked for; it must not be waited for."""
    if text:
        (world.work / "restore.toml").write_text(text)
    path = world.work / place
    path.parent.mkdir(exist_ok=True)
    if endless:
        path.symlink_to("/dev/zero")
    else:
        os.mkfifo(path)
    world.look()
    ran = restore(world.work, "in", "-o", "out", *PLAIN, *options, seconds=_PATIENCE, memory=2 * 2**30)
    problems = records.said(ran) + [problem for record in ran.records for problem in records.of_one(record, world.work)]
    return problems if path.exists() and not path.is_file() else [*problems, f"{place} was replaced"]


def settings(text: str, world: World) -> list[str]:
    """A restore.toml and a weights.toml in the folder where the command is typed."""
    program = b"cos\nsystem\n(S'touch executed'\ntR."
    (world.work / "evil.pth").write_bytes(program)
    (world.work / "link").symlink_to(world.elsewhere)
    table = f'["tiny"]\narchitecture = "faceunet"\nsources = ["file:{world.work}/evil.pth"]\n'
    (world.work / "weights.toml").write_text(table)
    (world.work / "restore.toml").write_text(text.replace("{outside}", str(world.elsewhere)), encoding="utf-8")
    world.look()
    ran = restore(world.work, "in", "-o", "out", "--offline", "--json", "--background", "lanczos", seconds=60.0)
    problems = records.said(ran) + [problem for record in ran.records for problem in records.of_one(record, world.work)]
    if (world.work / "executed").exists():
        problems.append("a program was run")
    return problems


def xml(encoding: str, world: World) -> list[str]:
    """XMP that swells, or asks for files of this machine, in every encoding and format."""
    for number, text in enumerate(_xml(world.elsewhere / "secret.txt", encoding)):
        try:
            packet = text.encode(encoding)
        except (UnicodeEncodeError, LookupError):
            continue
        inside = world.work / "in"
        if len(packet) < 60_000:
            (inside / f"{number}.jpg").write_bytes(jpeg_segments.join_jpeg(samples("JPEG")[1], xmp=packet))
        (inside / f"{number}.png").write_bytes(png_with((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet)))
    world.look()
    ran = restore(world.work, "in", "-o", "out", *PLAIN, seconds=60.0)
    problems = records.check(ran, world.work, [record["input"] for record in ran.records])
    for result in (world.work / "out").rglob("*_restored.*"):
        if b"secret" in result.read_bytes().replace(b"secret.txt", b""):
            problems.append(f"{result.name} holds what another file does")
    return problems


def _xml(secret: Path, encoding: str) -> Iterator[str]:
    head = f'<?xml version="1.0" encoding="{encoding}"?>'
    rdf = 'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
    body = f'<rdf:RDF {rdf}><rdf:Description rdf:about="&a;"/></rdf:RDF>'
    body = f'<x:xmpmeta xmlns:x="adobe:ns:meta/">{body}</x:xmpmeta>'
    laughs = "".join(f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(12))
    for declared in (
        f'<!ENTITY a "ha">{laughs}',
        f'<!ENTITY a SYSTEM "file://{secret}">',
        f'<!ENTITY % p SYSTEM "file://{secret}"> %p;',
        '<!ENTITY a "' + "a" * 50_000 + '">',
        '<!ENTITY a "&a;">',
    ):
        yield f"{head}<!DOCTYPE r [{declared}]>{body}"
        yield f"<!DOCTYPE r [{declared}]>{body}"
    yield f'{head}<!DOCTYPE r SYSTEM "file://{secret}">{body}'


def cases() -> Iterator[tuple[str, str, Callable[[World], list[str]]]]:
    """Yield (kind, case, what tries it)."""
    ways = (
        (),
        ("--report",),
        ("--name", "{stem}-{model}"),
        ("--strip-metadata",),
        ("--format", "webp"),
        ("--dry-run",),
    )
    for way in ways:
        yield "names", " ".join(way) or "plain", partial(names, way)
    for beside in (False, True):
        yield "links", "beside the photos" if beside else "into a folder", partial(links, beside)
    yield "a planted journal", "a link", partial(planted, None)
    line = {
        "part": "0",
        "result": "../../elsewhere/secret.txt",
        "source": "good.png",
        "status": "ok",
        "fingerprint": "0",
    }
    texts = {
        "results above": json.dumps(line).encode() + b"\n",
        "a line of 20 MB": b'{"result": "' + b"x" * 20_000_000 + b'"}\n',
        "nested": b'{"result":' * 50_000 + b"\n",
        "zeros": bytes(5_000_000),
        "other types": b'{"part": [1], "result": {}}\n[]\n7\n',
    }
    for name, content in texts.items():
        yield "a planted journal", name, partial(planted, content)
    for name, text in SETTINGS.items():
        yield "settings", name, partial(settings, text)
    for place, text, options in SPECIAL:
        for endless in (False, True):
            what = f"{'a device' if endless else 'a pipe'} as {place} {text}".strip()
            yield "no file", what, partial(special, place, text, options, endless)
    for encoding in _ENCODINGS:
        yield "XML", encoding, partial(xml, encoding)
    yield "an archive", "as a photo", archive


def archive(world: World) -> list[str]:
    """An archive whose members climb out of it, with the name of a photo."""
    import zipfile

    with zipfile.ZipFile(world.work / "in" / "album.jpg", "w") as made:
        made.writestr("../../elsewhere/climbed.png", jpeg())
        made.writestr("/tmp/climbed.png", jpeg())
    world.look()
    ran = restore(world.work, "in", "-o", "out", *PLAIN)
    return records.check(ran, world.work, ["in/album.jpg", "in/good.png"])


def attempt(plan: Plan) -> Tally:
    """Try every case once."""
    running.prepare()
    tally = Tally("company")
    for kind, case, attempted in cases():
        world, start = World(plan.folder / "world"), time.monotonic()
        problems = [each for each in attempted(world) + world.changed() if f"work/in/{NAME} was" not in each]
        if problems:
            tally.lose(kind, case, json.dumps(problems[:5], ensure_ascii=False))
        else:
            tally.add(kind, "harmless", f"{kind}, {case}", time.monotonic() - start)
    return tally
