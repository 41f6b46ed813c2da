"""Defects that other restoration tools have, and this one must not have: each has a test that bears its name.

1.  A batch stops at the first failing photo, deletes what was finished, and a retry begins anew:
    `test_a_batch_does_not_stop_at_the_first_failing_photo`.
2.  Photos of one name in two folders overwrite or hide each other: `test_same_name_in_two_folders_gives_two_outputs`.
3.  A killed run leaves a truncated file that counts as done:
    `test_a_run_killed_in_mid_write_leaves_no_truncated_file_that_counts_as_done`.
4.  Metadata come from the folder's path instead of the photo:
    `test_metadata_come_from_the_photo_and_not_from_its_folder`.
5.  Any exception lets the unrestored crop be pasted, with exit code 0:
    `test_an_exception_does_not_paste_the_unrestored_crop_and_call_that_success`.
6.  A file that is no picture crashes the run, or a .webp is passed over:
    `test_a_text_file_among_photos_is_no_crash_and_a_webp_is_a_photo`.
7.  a.jpg and a.png collide, since a batch goes by the stem: `test_one_stem_with_two_suffixes_gives_two_outputs`.
8.  A checksum from the same server as the model is believed: `test_a_checksum_from_the_same_server_proves_nothing`.
9.  Only files that were there already are hashed:
    `test_a_corrupt_fresh_download_is_refused_and_nothing_of_it_stays`, in `weights/test_fetch.py`.
10. The cause is lost and the library ends the process: `test_the_cause_is_not_lost_and_no_library_code_exits`.
11. Size 0 from a failed HEAD means that nothing is to be fetched:
    `test_a_failed_head_request_does_not_mean_that_there_is_nothing_to_fetch`.
12. The whole picture goes through the GPU in spite of tiles: `test_the_whole_picture_never_goes_through_at_once`, in
    `upscaling/test_tiles.py`.
13. Paths go unquoted into shell commands: `test_a_path_with_blanks_and_shell_characters_is_only_a_name`.
14. Alpha is dropped: `test_alpha_is_not_dropped`, in `photo/test_peers.py`.
15. A picture is normalised by its own maximum: `test_a_dark_picture_is_not_brightened_by_its_own_maximum`, in
    `photo/test_peers.py`.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import restorer
from restorer import Restorer, weights
from restorer.batch.journal import NAME as JOURNAL
from restorer.errors import HashMismatchError, RestorerError
from restorer.photo import read_photo
from restorer.pipeline.components import Components
from tests.support.albums import PLAIN, environment, files, picture
from tests.support.hub import Hub
from tests.support.in_process import restore
from tests.support.parts import Detector, Everything, Identity, face_at
from tests.support.weights_tools import SMALL, hub_of_this_process, leftovers, table

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The stand-in of the Hub."""
    with hub_of_this_process(monkeypatch) as stand_in:
        yield stand_in


def records(out: str) -> dict[str, dict[str, Any]]:
    """Return the records that `--json` printed, by the photo's name."""
    return {Path(record["input"]).name: record for record in map(json.loads, out.splitlines())}


def statuses(out: str) -> dict[str, str]:
    return {name: record["status"] for name, record in records(out).items()}


# ------------------------------------------------------------------------------------------------------ the docstring


def test_the_list_above_has_fifteen_defects_and_each_test_exists() -> None:
    assert __doc__ is not None
    entries = re.split(r"^\d+\. +", __doc__, flags=re.MULTILINE)[1:]
    assert len(entries) == 15
    for entry in entries:
        name, file = re.search(r"`(test_\w+)`(?:, in\s+`([\w/]+\.py)`)?", entry).groups()  # type: ignore[union-attr]
        tree = ast.parse((Path(__file__).parents[1] / (file or "pipeline/test_peers.py")).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, name


# ----------------------------------------------------------------------------------------------------------- batches


def test_a_batch_does_not_stop_at_the_first_failing_photo(capsys: Capture) -> None:
    """facefusion: jobs/job_runner.py."""
    for name in ("a.png", "c.png", "d.jpg"):
        picture(Path("in", name), seed=ord(name[0]))
    Path("in/b.png").write_bytes(picture(Path("in/b.png")).read_bytes()[:60])
    done = restore(capsys, "in", "-o", "out", *PLAIN, "--json", code=1)
    expected = {"a.png": "ok", "b.png": "failed", "c.png": "ok", "d.jpg": "ok"}
    assert statuses(done.out) == expected
    assert records(done.out)["b.png"]["error"]["kind"] == "UnreadablePhoto"
    finished = files(Path("out"))
    assert set(finished) == {JOURNAL, "a_restored.png", "c_restored.png", "d_restored.jpg"}
    # A retry repeats what failed, and keeps what is done.
    picture(Path("in/b.png"))
    times = {name: Path("out", name).stat().st_mtime_ns for name in finished if name != JOURNAL}
    again = restore(capsys, "in", "-o", "out", *PLAIN, "--json", "--retry-failed")
    assert statuses(again.out) == {"a.png": "skipped", "b.png": "ok", "c.png": "skipped", "d.jpg": "skipped"}
    assert {name: Path("out", name).stat().st_mtime_ns for name in times} == times


def test_same_name_in_two_folders_gives_two_outputs(capsys: Capture) -> None:
    """rembg: commands/p_command.py."""
    for number, name in enumerate(("in/p/a.png", "in/q/a.png", "in/a.png")):
        picture(Path(name), (20 + 10 * number, 16))
    before = files(Path("in"))
    restore(capsys, "in", "-o", "mirrored", *PLAIN)
    restore(capsys, "in/p/a.png", "in/q/a.png", "in/a.png", "-o", "flat", *PLAIN)
    for out in ("mirrored", "flat"):
        found = list(Path(out).rglob("*.png"))
        assert sorted(read_photo(path).size[0] for path in found) == [40, 60, 80], out
    assert files(Path("in")) == before


def test_one_stem_with_two_suffixes_gives_two_outputs(capsys: Capture) -> None:
    """IOPaint: its batch goes by the stem."""
    for number, name in enumerate(("a.jpg", "a.png", "A.bmp")):
        picture(Path("in", name), (20 + 10 * number, 16))
    restore(capsys, "in", "-o", "out", *PLAIN, "--format", "png")
    found = list(Path("out").glob("*.png"))
    assert sorted(read_photo(path).size[0] for path in found) == [40, 60, 80]
    assert len({path.name.casefold() for path in found}) == 3


def test_a_run_killed_in_mid_write_leaves_no_truncated_file_that_counts_as_done(folder: Path, capsys: Capture) -> None:
    """rembg: killed when half of the result is on the disk; the next run must not take that for the result."""
    picture(Path("in/a.png"), (60, 40))
    restore(capsys, "in", "-o", "calm", *PLAIN)
    script = f"""
        import os, signal
        def die(descriptor):
            os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        os.fsync = die
        from restorer.cli import main
        main(["in", "-o", "out", *{PLAIN!r}])
    """
    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=folder, env=environment(), check=False, timeout=120
    )
    assert killed.returncode == -signal.SIGKILL
    (half,) = [path for path in Path("out").iterdir() if path.suffix == ".part"]
    assert 0 < half.stat().st_size < Path("calm/a_restored.png").stat().st_size
    assert not Path("out/a_restored.png").exists()
    again = restore(capsys, "in", "-o", "out", *PLAIN, "--json")
    assert statuses(again.out) == {"a.png": "ok"}
    assert Path("out/a_restored.png").read_bytes() == Path("calm/a_restored.png").read_bytes()
    assert set(files(Path("out"))) == {JOURNAL, "a_restored.png"}


def test_a_text_file_among_photos_is_no_crash_and_a_webp_is_a_photo(capsys: Capture) -> None:
    """GFPGAN and Real-ESRGAN crash; CodeFormer knows .jpg and .png only."""
    suffixes = ("jpg", "jpeg", "JPG", "png", "webp", "bmp", "tif", "tiff")
    for suffix in suffixes:
        picture(Path(f"in/of {suffix}.{suffix}"))
    for name in ("notes.txt", "MANIFEST.csv", "Thumbs.db", ".DS_Store", "no suffix"):
        Path("in", name).write_text("This is no picture.")
    done = restore(capsys, "in", "-o", "out", *PLAIN, "--json")
    assert set(statuses(done.out).values()) == {"ok"}
    assert len(records(done.out)) == len(suffixes)
    assert all(Path(record["output"]).is_file() for record in records(done.out).values())
    assert "notes" not in done.err
    # A text that is called like a photo is one that cannot be read: it is named, and the others are there.
    Path("in/letter.jpg").write_text("This is no picture.")
    done = restore(capsys, "in", "-o", "out", *PLAIN, "--json", code=1)
    assert [name for name, status in statuses(done.out).items() if status == "failed"] == ["letter.jpg"]


def test_metadata_come_from_the_photo_and_not_from_its_folder(capsys: Capture) -> None:
    """upscayl: batch-upscayl.ts copies the tags of the folder's path, so that every result has none, or the same."""
    for name in ("Anna", "Berta", "Clara"):
        tags = Image.Exif()
        tags[315] = name
        Image.new("RGB", (24, 16), (90, 80, 70)).save(picture(Path(f"in/{name}.jpg")), exif=tags)
    restore(capsys, "in", "-o", "out", *PLAIN)
    for name in ("Anna", "Berta", "Clara"):
        with Image.open(f"out/{name}_restored.jpg") as result:
            assert result.getexif()[315] == name


def test_a_path_with_blanks_and_shell_characters_is_only_a_name(capsys: Capture) -> None:
    """Bringing-Old-Photos-Back-to-Life puts paths into shell commands as they are."""
    odd = 'Tante Rosa\'s $(touch made) `touch made`; touch made & "x" *'
    source = picture(Path(odd, f"{odd} [1].png"))
    restore(capsys, odd, "-o", f"{odd} out", *PLAIN)
    assert [path.name for path in Path(f"{odd} out").glob("*.png")] == [f"{odd} [1]_restored.png"]
    restore(capsys, str(source), "-o", f"{odd}.webp", *PLAIN)
    assert read_photo(Path(f"{odd}.webp")).size == (48, 32)
    assert not list(Path.cwd().rglob("made*"))


# ------------------------------------------------------------------------------------------------------------- faces


class _Failing(Identity):
    def __init__(self, error: Exception) -> None:
        super().__init__(64)
        self.error = error

    def restore(self, crops: torch.Tensor) -> torch.Tensor:
        raise self.error


@pytest.mark.parametrize(
    "error", [RuntimeError("CUDA error: an illegal access"), torch.OutOfMemoryError("out of memory"), ValueError("odd")]
)
def test_an_exception_does_not_paste_the_unrestored_crop_and_call_that_success(
    error: Exception, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CodeFormer, GFPGAN, chaiNNer, A1111."""
    Image.new("RGB", (120, 120), (100, 90, 80)).save("a.png")
    monkeypatch.setattr(Components, "detector", lambda _self: Detector([face_at((60, 60), 20)]))
    monkeypatch.setattr(Components, "mask", lambda _self: (Everything(), None))
    monkeypatch.setattr(Components, "face_model", lambda _self: _Failing(error))
    done = restore(capsys, "a.png", "--model", "tiny", "--background", "lanczos", "--offline", "--json", code=1)
    record = json.loads(done.out)
    assert (record["status"], record["output"]) == ("failed", None)
    assert not any(face["restored"] for face in record["faces"])
    assert str(error) in record["error"]["message"] + str(record["faces"])
    assert [path.name for path in Path.cwd().iterdir()] == ["a.png"]


# ----------------------------------------------------------------------------------------------------------- weights


def test_a_checksum_from_the_same_server_proves_nothing(hub: Hub) -> None:
    """facefusion, rembg, IOPaint, supervision: the server swaps the file, and its checksum with it."""
    wanted = hashlib.sha256(SMALL).hexdigest()
    swapped = SMALL[::-1]
    for source in (hub.add("owner/repo", "thing.pth", swapped), hub.add_mirror("thing.pth", swapped)):
        digest = hashlib.sha256(swapped).hexdigest().encode()
        for name in ("thing.pth.sha256", "thing.hash"):  # the files that such tools look for
            hub.add_mirror(name, digest)
        with pytest.raises(HashMismatchError) as caught:
            weights.fetch(table(source))
        assert (caught.value.expected, caught.value.actual) == (wanted, hashlib.sha256(swapped).hexdigest())
        assert leftovers() == []
        if source.startswith("hf"):
            assert hub.downloads("thing.pth") == 0, "the Hub says beforehand that it is another file"


def test_a_failed_head_request_does_not_mean_that_there_is_nothing_to_fetch(hub: Hub) -> None:
    """facefusion: download.py takes the size from HEAD, and 0 where that fails."""
    hub.without_head = hub.without_length = True
    thing = table(hub.add_mirror("thing.pth", SMALL), size=len(SMALL))
    assert weights.fetch(thing).read_bytes() == SMALL
    assert hub.downloads("thing.pth") == 1


# ------------------------------------------------------------------------------------------------------------ errors


def test_the_cause_is_not_lost_and_no_library_code_exits(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """facefusion: inference_manager; IOPaint exits inside of its library."""
    picture(Path("one/a.png"))
    with pytest.raises(RestorerError) as caught:  # and no SystemExit
        Restorer("gfpgan-1.4", offline=True).restore(Path("one/a.png"))
    assert "gfpgan-1.4" in caught.value.message
    assert "offline" in caught.value.message

    def fail(_self: Restorer, *_rest: Any, **_more: Any) -> Any:
        raise ValueError("the 17th row is odd")

    monkeypatch.setattr(Restorer, "restore", fail)
    done = restore(capsys, "one", "-o", "out", *PLAIN, "--json", code=1)
    message = records(done.out)["a.png"]["error"]["message"]
    assert all(word in message for word in ("one/a.png", "ValueError", "the 17th row is odd"))
    assert message in done.err.replace("\n", " ")
    assert ending() == []


def ending() -> list[str]:
    """Return the places outside of the command at which a process ends itself."""
    root = Path(restorer.__file__).parent
    found = []
    for path in sorted(root.rglob("*.py")):
        part = path.relative_to(root).as_posix()
        # What the command starts with, what is measured, and processes of their own: those that make a training's
        # batches, and the one that speaks to Ray, once the run that started it is gone.
        if part.startswith(("cli/", "bench/")) or part in ("__main__.py", "training/workers.py", "cluster/session.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
                name = ast.unparse(node)
                if name in ("sys.exit", "os._exit", "exit", "quit", "SystemExit", "typer.Exit"):
                    found.append(f"{part}:{node.lineno} {name}")
    return sorted(found)


def test_the_search_for_exits_would_find_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "module.py").write_text("import sys\nsys.exit(1)\nraise SystemExit\n")
    monkeypatch.setattr(restorer, "__file__", str(tmp_path / "__init__.py"))
    assert ending() == ["module.py:2 sys.exit", "module.py:3 SystemExit"]


def test_a_dark_photo_stays_dark_through_the_whole_command(capsys: Capture) -> None:
    """The fifteenth from file to file: rembg divides by the picture's own maximum."""
    dark = np.full((24, 32, 3), 9, np.uint8)
    dark[:, :16] = (20, 15, 12)
    Image.fromarray(dark).save("dark.png")
    restore(capsys, "dark.png", "-o", "out.png", *PLAIN)
    result = read_photo(Path("out.png")).pixels
    assert result.max() <= 22
    assert np.abs(result[20:28, 4:12].astype(int) - (20, 15, 12)).max() <= 1
