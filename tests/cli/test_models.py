"""`restore models` as a user types it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import tomllib
import torch

from restorer import weights
from restorer.cli import main, weights_view
from restorer.cli.models import _row
from restorer.models import REGISTRY
from restorer.storage.folders import hub_cache
from restorer.weights.table import user_file
from tests.support.hub import Hub
from tests.support.weights_tools import hub_of_this_process

SMALL = {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_conv": 2, "upscale": 2, "act_type": "prelu"}


def restore_models(*arguments: str) -> int:
    """Run `restore models ...` in this process; return the exit code."""
    with pytest.raises(SystemExit) as caught:
        main(["models", *arguments])
    assert isinstance(caught.value.code, int)
    return caught.value.code


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The stand-in of the Hub."""
    with hub_of_this_process(monkeypatch) as stand_in:
        yield stand_in


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A small real checkpoint, as upstream wraps it: twice, once as the running average."""
    torch.manual_seed(3)
    network = REGISTRY["srvggnet"].build(SMALL)
    state = {key.removeprefix("net."): torch.randn_like(value) for key, value in network.state_dict().items()}
    path = tmp_path / "upstream.pth"
    torch.save({"params": state, "params_ema": {key: value + 1 for key, value in state.items()}}, path)
    return path


@pytest.fixture
def small(hub: Hub, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A table of a checkpoint that the stand-in serves."""
    data = checkpoint.read_bytes()
    toml = tmp_path / "own.toml"
    toml.write_text(
        f'[small]\narchitecture = "srvggnet"\nsources = ["{hub.add("owner/repo", "small.pth", data)}"]\n'
        f'sha256 = "{hashlib.sha256(data).hexdigest()}"\nsize = {len(data)}\nlicense = "MIT as stated by nobody"\n'
        'trained_for = "tests"\naliases = ["tiny-one"]\n'
    )
    monkeypatch.setenv("RESTORER_WEIGHTS", str(toml))
    return "small"


def test_list_in_a_pipe_is_a_line_a_table_with_everything(capsys: pytest.CaptureFixture[str], small: str) -> None:
    assert restore_models("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"Name +Role +Here +Download +In → out +Licence +What it is for", lines[0])

    def row(name: str) -> str:
        return next(line for line in lines if line.split()[:1] == [name])

    assert re.search(r"face restorer +no +349 MB +512 → 512 +Apache-2.0", row("gfpgan-1.4"))
    assert re.search(r"face restorer +no +676\+ MB +128 → 1024 +none stated", row("glean-128"))
    assert re.search(r"face restorer +no +own file +", row("gpen-1024"))
    assert re.search(r"no +4.9 MB +×4 +BSD-3-Clause", row("realesr-general"))
    assert re.search(r"no .* MIT\* +also called tiny-one; tests", row("small"))
    assert set(weights.tables()) == {line.split()[0] for line in lines[1:]}
    restore_models("pull", "small")
    capsys.readouterr()
    restore_models("list")
    lines = capsys.readouterr().out.splitlines()
    assert " yes " in row("small")


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_list_on_a_terminal_fits_its_width_and_80_columns_need_25_lines(width: int, every: bool) -> None:
    rows = [_row(table) for table in weights.tables().values()]
    rows.sort(key=lambda row: weights_view.by_role(row.role))
    lines = [line.plain for line in weights_view.listing(rows, width, every=every)]
    assert max(map(len, lines)) <= width
    assert width < 80 or every or len(lines) <= 25
    text = "\n".join(lines)
    words = " ".join(text.split())
    own = [row for row in rows if row.download == weights_view.OWN_FILE]
    for row in rows:
        name = re.escape(row.name)
        if row in own:
            assert every == bool(re.search(rf" {name}[,.]", words))
        elif row.brief and not every:
            assert re.search(rf"More upscalers, [^:]*:[^:]* {name}[,.]", words)
        elif row.role not in weights_view.FIRST and not every:
            assert re.search(rf"Also: .*{name} ({re.escape(row.download)}|here)[,.]", words)
        else:
            assert re.search(rf"(?m)^.* {name} +{re.escape(row.download)}( here)?( |$)", text)
    assert text.index("Face restorer") < text.index("tiny-detector")
    assert every or f"For {len(own)} more you bring your own file. `restore models list --all` has" in words
    assert "own file" in words


def test_a_pipe_has_everything_anyhow(capsys: pytest.CaptureFixture[str]) -> None:
    assert restore_models("list", "--all") == 0
    every = capsys.readouterr().out
    assert restore_models("list") == 0
    assert every == capsys.readouterr().out
    assert len(every.splitlines()) == 1 + len(weights.tables())


def test_one_of_many_that_is_here_has_a_line() -> None:
    rows = [_row(table) for table in weights.tables().values()]
    name = next(row.name for row in rows if row.brief)
    shown = [replace(row, here=row.here or row.name == name) for row in rows]
    lines = [line.plain for line in weights_view.listing(shown, 80)]
    assert any(re.match(rf"(.* )? *{re.escape(name)} +\d+ MB here", line) for line in lines)
    assert not any(f"{name}," in line for line in lines)


def test_list_marks_a_table_that_replaces_a_shipped_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toml = tmp_path / "own.toml"
    toml.write_text(f'[parsenet]\narchitecture = "parsenet"\nsources = ["file:a"]\nsha256 = "{"0" * 64}"\n')
    monkeypatch.setenv("RESTORER_WEIGHTS", str(toml))
    restore_models("list")
    found = [line.split()[:2] for line in capsys.readouterr().out.splitlines() if "(yours)" in line]
    assert found == [["parsenet", "(yours)"]]
    lines = [line.plain for line in weights_view.listing([_row(table) for table in weights.tables().values()], 80)]
    assert any("parsenet *" in line for line in lines)
    assert any(line.startswith("*: yours") for line in lines)


def test_a_size_that_nobody_says_is_at_least_that_of_the_network() -> None:
    for table in weights.tables().values():
        if table.at_least is None:
            assert table.size is not None or not table.sources, f"{table.name} is downloaded; say how large it is"
            continue
        with torch.device("meta"):
            network = REGISTRY[table.architecture].build(REGISTRY.arguments(table))
        assert table.at_least == sum(each.numel() * each.element_size() for each in network.state_dict().values())


def test_list_as_json(capsys: pytest.CaptureFixture[str], small: str) -> None:
    assert restore_models("list", "--json") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["small"]["role"] == "upscaler"
    assert rows["small"]["cached"] is False
    assert rows["gfpgan-1.4"]["sizes"] == "512 → 512"
    assert rows["gfpgan-1.4"]["aliases"] == ["gfpgan"]


def test_list_shows_a_table_of_an_unknown_architecture(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toml = tmp_path / "own.toml"
    toml.write_text(f'[odd]\narchitecture = "cubism"\nsources = ["file:a"]\nsha256 = "{"0" * 64}"\n')
    monkeypatch.setenv("RESTORER_WEIGHTS", str(toml))
    assert restore_models("list") == 0
    assert "unknown architecture cubism" in capsys.readouterr().out


def test_listing_loads_no_torch() -> None:
    code = "import sys, restorer.cli.models; from restorer import weights; weights.tables(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "restorer.weights.fetching" in loaded
    assert not {"torch", "cv2", "huggingface_hub", "facexlib", "basicsr", "safetensors"} & set(loaded)


def test_show_says_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert restore_models("show", "glean") == 0
    text = capsys.readouterr().out
    assert re.search(r"name +glean-128", text)
    assert "acbcb04f" in text
    assert "download.openmmlab.com" in text
    assert restore_models("show", "gfpgan", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["sha256"].startswith("e2cd4703")
    assert shown["size"] == 348_632_874


def test_show_in_a_pipe_is_a_fact_a_line_and_on_a_terminal_breaks_none_that_is_copied(
    capsys: pytest.CaptureFixture[str],
) -> None:
    restore_models("show", "gfpgan")
    lines = capsys.readouterr().out.splitlines()
    facts = [line.split(None, 1) for line in lines]
    table = weights.resolve("gfpgan")
    assert [value for key, value in facts if key == "source"] == list(table.sources)
    assert ["sha256", table.sha256] in facts
    assert all(line == line.rstrip() for line in lines)
    shown = [line.plain for line in weights_view.facts({"sources": list(table.sources), "license": table.license}, 60)]
    assert all(any(source in line for line in shown) for source in table.sources)
    assert max(len(line) for line in shown if "://" not in line) <= 60


def test_pull_path_verify_remove(capsys: pytest.CaptureFixture[str], hub: Hub, small: str) -> None:
    assert restore_models("path", small) == 3
    assert "restore models pull small" in capsys.readouterr().err
    assert restore_models("verify", small) == 3
    assert restore_models("pull", "tiny-one") == 0
    said = capsys.readouterr().err
    assert re.search(r"Downloading small from 127\.0\.0\.1: .* MB, about a second at 50 Mbit/s", said)
    assert restore_models("path", small) == 0
    path = Path(capsys.readouterr().out.strip())
    assert path.is_file()
    assert hub_cache() in path.parents
    assert restore_models("pull", small) == 0
    assert "here already" in capsys.readouterr().err
    assert hub.downloads("small.pth") == 1
    assert restore_models("verify") == 0
    assert re.search(r"[0-9a-f]{64}  ok  small", capsys.readouterr().out)
    assert restore_models("remove", small) == 2, "nobody can be asked"
    assert path.exists()
    assert restore_models("remove", small, "--yes") == 0
    assert not path.exists()
    assert restore_models("path", small) == 3


def test_verify_reads_every_byte(
    capsys: pytest.CaptureFixture[str], small: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore_models("pull", small)
    path = weights.cached(weights.resolve(small))
    assert path is not None
    data = bytearray(path.read_bytes())
    data[-40] ^= 1
    path.write_bytes(data)
    from restorer.storage import digest

    # A bit that flipped on the disk by itself: nothing that a file system tells has changed.
    good = weights.resolve(small).sha256
    monkeypatch.setattr(digest, "_read", lambda _: {"state": digest._state(path), "sha256": good})
    assert weights.cached(weights.resolve(small)) == path
    capsys.readouterr()
    assert restore_models("verify") == 3
    said = capsys.readouterr().err
    assert hashlib.sha256(data).hexdigest() in said
    assert str(good) in said


def test_pull_of_several_brings_what_it_can(capsys: pytest.CaptureFixture[str], hub: Hub, small: str) -> None:
    assert restore_models("pull", "gpen-1024", small, "restoreformer") == 3
    said = capsys.readouterr().err
    assert "gpen-1024" in said
    assert "restoreformer" in said
    assert weights.cached(weights.resolve(small))


def test_pull_refuses_a_changed_byte(capsys: pytest.CaptureFixture[str], hub: Hub, small: str) -> None:
    hub.change_byte("small.pth")
    assert restore_models("pull", small) == 3
    said = capsys.readouterr().err
    assert len(set(re.findall(r"\b[0-9a-f]{64}\b", said))) == 2, "both hashes are named"
    assert not [path for path in hub_cache().rglob("*") if path.is_file() and path.stat().st_size > 1000]


def test_terms_must_be_accepted(capsys: pytest.CaptureFixture[str], hub: Hub) -> None:
    assert restore_models("pull", "gpen") == 3
    assert "--accept-license" in capsys.readouterr().err
    assert hub.requests == []
    assert restore_models("pull", "gpen", "--accept-license") == 3
    assert "no such repository" in capsys.readouterr().err, "now it asks, and the stand-in does not have it"


def test_import_under_a_name_and_remove(capsys: pytest.CaptureFixture[str], checkpoint: Path) -> None:
    assert restore_models("import", str(checkpoint), "--name", "mine") == 0
    said = capsys.readouterr().err
    assert "upstream.pth is a checkpoint of srvggnet" in said
    assert re.search(r"left out: params \([\d,]+ values\)", said)
    assert re.search(r"\d+% smaller", said)
    path = checkpoint.with_suffix(".safetensors")
    table = weights.resolve("mine")
    assert weights.fetch(table) == path
    assert table.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert REGISTRY.load(table, path).arguments["num_conv"] == 2
    assert restore_models("import", str(checkpoint), "--name", "mine", "--overwrite") == 2, "the name is taken"
    assert restore_models("import", str(checkpoint)) == 1, "the file exists"
    assert restore_models("remove", "mine", "--yes") == 0
    assert not path.exists()
    assert checkpoint.exists()
    assert "mine" not in weights.tables()
    assert restore_models("path", "mine") == 2


def test_remove_leaves_what_it_did_not_make(
    capsys: pytest.CaptureFixture[str], checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    toml = tmp_path / "own.toml"
    toml.write_text(f'[mine]\narchitecture = "srvggnet"\nsources = ["file:upstream.pth"]\nsha256 = "{digits}"\n')
    monkeypatch.setenv("RESTORER_WEIGHTS", str(toml))
    assert restore_models("remove", "mine", "--yes") == 0
    assert "stays" in capsys.readouterr().err
    assert checkpoint.exists()


def test_a_shipped_name_may_be_given_to_a_file_of_ones_own(
    capsys: pytest.CaptureFixture[str], checkpoint: Path
) -> None:
    assert restore_models("import", str(checkpoint), "--name", "realesr-general") == 0
    table = weights.resolve("realesr-general")
    assert table.replaces_shipped
    assert table.license == "BSD-3-Clause"
    content = tomllib.loads(user_file().read_text())
    assert content["realesr-general"]["arguments"] == {"num_feat": 8, "num_conv": 2, "upscale": 2}
    assert restore_models("remove", "realesr-general", "--yes") == 0
    assert not weights.resolve("realesr-general").replaces_shipped


def test_import_refuses_a_program_unrun(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    class Program:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "it_ran"),)

    torch.save({"w": torch.ones(3), "x": Program()}, tmp_path / "evil.pth")
    assert restore_models("import", str(tmp_path / "evil.pth")) == 3
    assert "mkdir" in capsys.readouterr().err
    assert not (tmp_path / "it_ran").exists()


def test_pull_without_names_brings_what_a_plain_run_takes_and_says_once_that_there_is_no_network(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert restore_models("pull", "--offline") == 3
    said = capsys.readouterr().err
    assert said.count("Error:") == 1
    for name in ("gfpgan-1.4 (349 MB)", "retinaface-r50 (109 MB)", "parsenet (85 MB)", "realesr"):
        assert name in said
    assert said.count("--offline forbids") == 1


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["path", "gfpgn"], 2),
        (["import", "absent.pth"], 2),
        (["import", "absent.pth", "--argument", "size"], 2),
        (["nonsense"], 2),
    ],
)
def test_wrong_usage_is_exit_2(arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert restore_models(*arguments) == code
    assert "Traceback" not in capsys.readouterr().err


def test_import_recognises_a_gfpgan_and_drops_its_dead_branches(shared: Path, tmp_path: Path) -> None:
    sys.path.insert(0, str(shared / "golden"))
    try:
        from fill import state_dict  # type: ignore[import-not-found]
    finally:
        sys.path.pop(0)
    state = state_dict(shared / "golden" / "gfpgan_clean_64_narrow.json")
    source = tmp_path / "golden.pth"
    torch.save({"params_ema": state}, source)
    assert restore_models("import", str(source)) == 0
    ours = weights.resolve(str(source.with_suffix(".safetensors")))
    assert ours.architecture == "gfpgan"
    assert ours.arguments["out_size"] == 64
    assert ours.arguments["narrow"] == 0.125
    theirs = weights.Table("theirs", "gfpgan", {}, (f"file:{source}",), hashlib.sha256(source.read_bytes()).hexdigest())
    crops = torch.linspace(-1, 1, 2 * 3 * 64 * 64).reshape(2, 3, 64, 64)
    with torch.inference_mode():
        outputs = [REGISTRY.load(table, weights.fetch(table)).network(crops) for table in (ours, theirs)]
    assert torch.equal(*outputs)
    stored = REGISTRY.load(ours, weights.fetch(ours)).network.state_dict()
    assert not any("mapping" in key for key in stored)
