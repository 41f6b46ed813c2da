"""The measurement of a first photo, on source trees that do next to nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from restorer.bench.start import first_photo, main
from tests.support.albums import picture

TREE = """
import os, sys
from pathlib import Path
words = sys.argv[1:]
assert {{"--offline", "--overwrite", "tiny"}} <= set(words)
Path(words[words.index("-o") + 1]).write_bytes(Path(words[0]).read_bytes())
with open({log!r}, "a") as log:
    log.write({name!r} + str("PYTHONPYCACHEPREFIX" in os.environ)[0] + " ")
"""


def tree(folder: Path, name: str) -> Path:
    """Make a source tree whose command copies the photo and says that it was run."""
    package = folder / name / "restorer"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(TREE.format(log=str(folder / "log"), name=name))
    return folder / name


def test_two_source_trees_take_turns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = picture(tmp_path / "a.png")
    trees = {"this": tree(tmp_path, "new"), "other": tree(tmp_path, "old")}
    figures = first_photo(photo, trees, 2)
    assert (tmp_path / "log").read_text().split() == ["newF", "oldF"] * 3
    assert figures["this"]["first_of_it"] == 1.0
    assert figures["other"]["least"] <= figures["other"]["seconds"] <= figures["other"]["most"]
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in told] == ["this", "other"]

    (tmp_path / "log").unlink()
    first_photo(photo, trees, 1, unpacked=True)
    assert (tmp_path / "log").read_text().split() == ["newT", "oldT"] * 2


def test_what_is_no_source_tree_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo, known = picture(tmp_path / "a.png"), tree(tmp_path, "new")
    with pytest.raises(SystemExit, match="no source tree"):
        main(["--photo", str(photo), "--against", str(tmp_path)])
    monkeypatch.setattr("restorer.bench.start.restorer.__file__", str(known / "restorer/__init__.py"))
    assert main(["--photo", str(photo), "--runs", "1", "--json", str(tmp_path / "x.json")]) == 0
    assert set(json.loads((tmp_path / "x.json").read_text())) == {"this"}
