"""The whole command, as a user types it: from file to file, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from restorer.photo import read_photo
from tests.conftest import Restore
from tests.support import golden, in_process, standins
from tests.support.hub import Hub

Capture = pytest.CaptureFixture[str]
PLAIN = ("--model", "none", "--background", "lanczos")


def picture(path: Path, size: tuple[int, int] = (60, 40), seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


# -------------------------------------------------------------------------------------------------------- start-up


def loaded(*arguments: str) -> set[str]:
    """Return the modules that a command has imported at its end."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "restorer", *arguments],
        capture_output=True, text=True, check=True, cwd=Path(__file__).resolve().parents[2],
    )  # fmt: skip
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}


HEAVY = {"torch", "cv2", "numpy", "PIL", "facexlib", "basicsr", "huggingface_hub", "safetensors", "scipy"}
"""What takes most of a second to import; how long a command takes to start is measured by the benchmarks."""


def test_version_answers_without_loading_anything(restore: Restore) -> None:
    for asked in ("--version", "-V", "version"):
        assert restore(asked).stdout.startswith("restore ")
    assert not loaded("--version") & (HEAVY | {"typer", "click", "rich", "tomllib", "urllib.request", "asyncio"})


def test_help_loads_nothing_heavy(restore: Restore) -> None:
    text = restore("--help").stdout
    for option in ("--scale", "--model", "--background", "--strength", "--offline", "--json", "gfpgan-1.4"):
        assert option in text
    assert not loaded("--help") & HEAVY


def test_a_rerun_of_finished_photos_loads_no_library_of_pictures(tmp_path: Path) -> None:
    for suffix in ("png", "jpg", "tif", "webp"):
        picture(tmp_path / "in" / f"{suffix}.{suffix}")
    run = (str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--model", "tiny", "--scale", "2", "--offline")
    loaded(*run)
    again = loaded(*run)
    assert "restorer.batch.reading" in again
    assert not again & ((HEAVY - {"PIL"}) | {"PIL.Image", "pydantic", "rich.markdown"})


@pytest.mark.parametrize(
    ("option", "value", "code"),
    [
        ("--scale", "+2.50", 0), ("--scale", ".5", 0), ("--scale", "1e0", 0), ("--scale", "2;5", 2), ("--scale", "", 2),
        ("--scale", "\u0662", 2), ("--max-faces", "3", 0), ("--max-faces", "3.5", 2), ("--max-faces", " 3", 0),
        ("--max-faces", "9" * 30, 0), ("--name", "{stem}-x", 0), ("--seed", "99999999999999999999", 2),
    ],
)  # fmt: skip
def test_plain_values_are_read_as_typer_reads_them(
    option: str,
    value: str,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    photo = picture(tmp_path / "a.png")
    said = []
    for plainly in (True, False):
        with monkeypatch.context() as patch:
            if not plainly:
                patch.setattr("restorer.cli.settings.read_plainly", lambda _params: None)
            done = in_process.restore(capsys, str(photo), option, value, "--model", "none", "--dry-run", code=None)
        said.append((done.code, done.out, "" if code else done.err))  # what is wrong, each says in its own words
    assert said[0] == said[1]
    assert said[0][0] == code


def test_no_arguments_show_the_help(restore: Restore) -> None:
    assert "Usage: restore" in restore(code=None).stdout


# ------------------------------------------------------------------------------------------------ photos and folders


def test_one_photo_beside_itself(restore: Restore, tmp_path: Path) -> None:
    before = picture(tmp_path / "a.png").read_bytes()
    restore("a.png", *PLAIN)
    assert read_photo(tmp_path / "a_restored.png").size == (120, 80)
    assert (tmp_path / "a.png").read_bytes() == before


def test_options_may_stand_before_the_photo(restore: Restore, tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    restore("--scale", "1.5", *PLAIN, "a.png", "-o", "x/b.webp")
    assert read_photo(tmp_path / "x/b.webp").format == "WEBP"
    assert read_photo(tmp_path / "x/b.webp").size == (90, 60)


def test_a_second_run_skips_what_is_done_and_nothing_else(restore: Restore, tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    restore("a.png", *PLAIN)
    first = (tmp_path / "a_restored.png").stat().st_mtime_ns
    assert "done already" in restore("a.png", *PLAIN).stdout
    assert (tmp_path / "a_restored.png").stat().st_mtime_ns == first
    refused = restore("a.png", *PLAIN, "--scale", "3")
    assert "--overwrite" in refused.stderr
    restore("a.png", *PLAIN, "--scale", "3", "--overwrite")
    assert read_photo(tmp_path / "a_restored.png").size == (180, 120)


def test_a_foreign_file_is_never_replaced(restore: Restore, tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "a_restored.png", seed=7)
    before = (tmp_path / "a_restored.png").read_bytes()
    restore("a.png", *PLAIN, code=1)
    assert (tmp_path / "a_restored.png").read_bytes() == before


def test_the_photo_itself_is_never_overwritten(restore: Restore, tmp_path: Path) -> None:
    before = picture(tmp_path / "a.png").read_bytes()
    done = restore("a.png", *PLAIN, "-o", "a.png", "--overwrite", code=1)
    assert "original" in done.stderr
    assert (tmp_path / "a.png").read_bytes() == before


def test_a_folder_with_broken_files_finishes_and_names_them(restore: Restore, tmp_path: Path) -> None:
    """Peers stop at the first bad file, or report success."""
    folder = tmp_path / "in"
    picture(folder / "good.jpg")
    picture(folder / "deep/er/good.png")
    picture(folder / ".hidden/no.png")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("This is no picture.")
    (folder / "truncated.jpg").write_bytes(picture(folder / "whole.jpg", (300, 200)).read_bytes()[:300])
    Image.new("RGB", (1, 1)).save(folder / "one.png")
    (folder / "MANIFEST.csv").write_text("file,repo\n")
    (folder / "Thumbs.db").write_bytes(b"x")
    done = restore("in", "-o", "out", *PLAIN, "--json", code=1)
    records = {Path(r["input"]).name: r for r in map(json.loads, done.stdout.splitlines())}
    assert sorted(records) == ["empty.jpg", "good.jpg", "good.png", "one.png", "text.jpg", "truncated.jpg", "whole.jpg"]
    failed = {name for name, record in records.items() if record["status"] == "failed"}
    assert failed == {"empty.jpg", "text.jpg", "truncated.jpg"}
    assert all(records[name]["error"]["kind"] == "UnreadablePhoto" for name in failed)
    assert all(name in done.stderr for name in failed)
    written = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*"))
    assert written.pop(0) == ".restorer-journal.jsonl"
    assert written == ["deep/er/good_restored.png", "good_restored.jpg", "one_restored.png", "whole_restored.jpg"]
    again = restore("in", "-o", "out", *PLAIN, "--json", code=1)
    assert [json.loads(line)["status"] for line in again.stdout.splitlines()].count("skipped") == 4


def test_own_results_in_a_folder_are_no_photos(restore: Restore, tmp_path: Path) -> None:
    picture(tmp_path / "in/a.png")
    restore("in", *PLAIN)
    restore("in", *PLAIN)
    assert sorted(path.name for path in (tmp_path / "in").iterdir()) == ["a.png", "a_restored.png"]


def test_globs_names_and_odd_paths(restore: Restore, tmp_path: Path) -> None:
    picture(tmp_path / "Großmutter im Garten/a b.png")
    restore(f"{tmp_path}/Gro*/*.png", *PLAIN, "--name", "{stem}-{model}-{scale}x", "-o", "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a b-none-2x.png"]
    assert "no such" in restore("nothing*.png", *PLAIN, code=2).stderr
    restore(f"{tmp_path}/Gro*/*.png", *PLAIN, "--name", "{year}", code=2)
    restore(f"{tmp_path}/Gro*/*.png", *PLAIN, "--name", "../{stem}", code=2)


def test_stdin_to_stdout(tmp_path: Path) -> None:
    source = picture(tmp_path / "a.png").read_bytes()
    done = subprocess.run(
        [sys.executable, "-m", "restorer", "-", *PLAIN], input=source, capture_output=True, check=True,
        cwd=Path(__file__).resolve().parents[2],
    )  # fmt: skip
    assert read_photo(done.stdout).size == (120, 80)


def test_dry_run_writes_nothing(restore: Restore, tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    done = restore("a.png", *PLAIN, "--dry-run")
    assert "a_restored.png" in done.stdout
    assert [path.name for path in tmp_path.glob("*.png")] == ["a.png"]


def test_a_format_that_cannot_hold_the_result_is_refused_before_the_work(restore: Restore, tmp_path: Path) -> None:
    picture(tmp_path / "long.jpg", (9000, 2))
    done = restore("long.jpg", *PLAIN, "--scale", "8", "--json", code=1)
    record = json.loads(done.stdout)
    assert record["error"]["kind"] == "PhotoTooLarge"
    assert "png" in (record["error"]["message"] + record["error"]["remedy"]).lower()
    assert "background" not in record["seconds"]


def test_the_record_has_all_documented_fields(restore: Restore, tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    record = json.loads(restore("a.png", *PLAIN, "--json").stdout)
    assert record["input"] == "a.png"
    assert record["output"] == "a_restored.png"
    expected = {"status": "ok", "model": "none", "detector": None, "background": "lanczos", "scale": 2.0}
    assert {key: record[key] for key in expected} == expected
    assert record["input_size"] == [60, 40]
    assert record["output_size"] == [120, 80]
    assert record["faces"] == []
    assert record["error"] is None
    assert record["device"] == "cpu" or record["device"].startswith(("cuda", "mps"))
    assert record["seconds"]["total"] >= record["seconds"]["background"] > 0


def test_quality_and_metadata_options(restore: Restore, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "Aunt Rosa"
    Image.open(picture(tmp_path / "a.png", (200, 200))).save(tmp_path / "b.jpg", exif=exif)
    restore("b.jpg", *PLAIN)
    restore("b.jpg", *PLAIN, "--quality", "40", "-o", "low.jpg")
    restore("b.jpg", *PLAIN, "--strip-metadata", "-o", "bare.jpg")
    assert (tmp_path / "low.jpg").stat().st_size < (tmp_path / "b_restored.jpg").stat().st_size / 2
    assert Image.open(tmp_path / "b_restored.jpg").getexif()[0x010E] == "Aunt Rosa"
    assert 0x010E not in Image.open(tmp_path / "bare.jpg").getexif()


# ------------------------------------------------------------------------------------------------------ wrong usage


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("a.png", "--model", "gfpgam"), "gfpgan"),
        (("a.png", "--model", "parsenet"), "face restorer"),
        (("a.png", "--detector", "gfpgan"), "face detector"),
        (("a.png", "--background", "gfpgan"), "upscaler"),
        (("a.png", "--scale", "0"), "--scale"),
        (("a.png", "--model", "none", "--fidelity", "0.5"), "--fidelity"),
        (("a.png", "--model", "gfpgan-1.4", "--fidelity", "0.5"), "--fidelity"),
        (("a.png", "--model", "glean-cat8"), "--aligned"),
        (("a.png", "--device", "cuda:99"), "cuda:99"),
        (("nothing.png",), "nothing.png"),
        (("-", "a.png"), "stdin"),
        (("a.png", "b.png", "-o", "one.png"), "folder"),
    ],
)
def test_wrong_usage_says_what_to_type(restore: Restore, tmp_path: Path, arguments: tuple[str, ...], word: str) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    done = restore(*arguments, "--offline", code=2)
    assert word in done.stderr
    assert "Traceback" not in done.stderr


# ---------------------------------------------------------------------------------------- weights, through the Hub


@pytest.fixture(scope="session")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GFP-GAN of 64 px with stand-in weights, as upstream's file would be."""
    path = tmp_path_factory.mktemp("narrow") / "narrow.pth"
    golden.Record.read(golden.FOLDER / "gfpgan_clean_64_narrow.json").write(path)
    return path


def serve(hub: Hub, tmp_path: Path, **files: tuple[str, Path, dict[str, Any]]) -> dict[str, str]:
    """Put files on the stand-in of the Hub, write a weights.toml that names them, and return the environment."""
    tables = ""
    for name, (architecture, path, arguments) in files.items():
        hub.add("someone/weights", path.name, path.read_bytes())
        source = f"hf://someone/weights/{path.name}@main"
        tables += standins.table(name.replace("_", "-"), architecture, path, source, **arguments)
    (tmp_path / "weights.toml").write_text(tables)
    return {**hub.environment(), "RESTORER_WEIGHTS": str(tmp_path / "weights.toml")}


NARROW = {"out_size": 64, "channel_multiplier": 1, "narrow": 0.125}


def test_the_first_run_downloads_and_the_second_does_not(restore: Restore, tmp_path: Path, narrow: Path) -> None:
    picture(tmp_path / "a.png", (64, 64))
    with Hub() as hub:
        environment = serve(hub, tmp_path, narrow=("gfpgan", narrow, NARROW))
        arguments = ("a.png", "--aligned", "--model", "narrow", "--background", "lanczos", "--precision", "fp32")
        first = restore(*arguments, "--json", **environment)
        assert "MB" in first.stderr  # the size is said before the download
        assert hub.downloads("narrow.pth") == 1
        before = len(hub.requests)
        restore(*arguments, "-o", "again.png", **environment)
        assert len(hub.requests) == before
    record = json.loads(first.stdout)
    assert record["model"] == "narrow"
    assert record["faces"][0]["restored"]
    assert (tmp_path / "a_restored.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    offline = restore(*arguments, "--offline", "-o", "third.png", **environment)
    assert offline.returncode == 0


def test_a_changed_byte_is_refused_and_nothing_is_left(restore: Restore, tmp_path: Path, narrow: Path) -> None:
    picture(tmp_path / "a.png", (64, 64))
    with Hub() as hub:
        environment = serve(hub, tmp_path, narrow=("gfpgan", narrow, NARROW))
        hub.change_byte("narrow.pth")
        done = restore("a.png", "--aligned", "--model", "narrow", "--background", "lanczos", code=3, **environment)
    assert standins.sha256(narrow) in done.stderr
    assert not (tmp_path / "a_restored.png").exists()
    hub_cache = Path(os.environ["HF_HOME"])
    assert not [path for path in hub_cache.rglob("*") if path.is_file() and path.stat().st_size > 100_000]


def test_no_network_and_no_cache_is_exit_3_with_a_remedy(restore: Restore, tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    done = restore("a.png", "--model", "gfpgan", code=3, HTTPS_PROXY="http://127.0.0.1:9")
    assert "restore models pull" in done.stderr
    assert not (tmp_path / "a_restored.png").exists()


def test_a_report_is_written_where_the_results_are(restore: Restore, tmp_path: Path) -> None:
    picture(tmp_path / "in/a.png")
    (tmp_path / "in/b.jpg").write_text("no picture")
    restore("in", "-o", "out", *PLAIN, "--report", code=1)
    page = (tmp_path / "out/report.html").read_text()
    assert "a.png" in page
    assert "b.jpg" in page
    assert "data:image" in page


def test_options_come_out_of_restore_toml_and_the_command_line_wins(restore: Restore, tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "restore.toml").write_text('scale = 3\nmodel = "none"\nbackground = "lanczos"\n')
    restore("a.png", "-o", "three.png")
    restore("a.png", "-o", "four.png", "--scale", "4")
    assert read_photo(tmp_path / "three.png").size == (180, 120)
    assert read_photo(tmp_path / "four.png").size == (240, 160)
