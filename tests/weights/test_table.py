"""weights.toml: what is shipped, what users add, and what is refused with a reason."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import tomllib
from hypothesis import given
from hypothesis import strategies as st

from restorer import weights
from restorer.errors import InvalidTableError, UnknownTableError, UsageError
from restorer.models import REGISTRY
from restorer.weights import sources, user
from restorer.weights.table import read_tables, shipped_file, user_file

HASH = "0123456789abcdef" * 4
NAMES = {
    *("gfpgan-1", "gfpgan-1.2", "gfpgan-1.3", "gfpgan-1.4", "restoreformer", "restoreformer++"),
    *("codeformer", "codeformer-colorization", "codeformer-inpainting", "dmdnet"),
    *("glean-128", "glean-ffhq16", "glean-cat8", "glean-cat16", "gpen-256", "gpen-512", "gpen-1024", "gpen-2048"),
    *("retinaface-r50", "retinaface-mobilenet0.25", "parsenet", "bisenet"),
    *("realesrgan-x2", "realesrgan-x4", "realesr-general", "realesr-general-wdn"),
}

UNMEASURED = {"codeformer-inpainting", "ddcolor-tiny", "scratch-unet"}
"""Whose size nobody has published; the server tells it."""


@pytest.fixture
def own_toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A weights.toml that `$RESTORER_WEIGHTS` names; it holds nothing yet."""
    path = tmp_path / "own.toml"
    path.write_text("")
    monkeypatch.setenv("RESTORER_WEIGHTS", str(path))
    return path


def test_all_promised_tables_are_shipped() -> None:
    known = weights.tables()
    assert set(known) >= NAMES
    assert {alias: weights.resolve(alias).name for alias in ("gfpgan", "glean", "gpen")} == {
        "gfpgan": "gfpgan-1.4",
        "glean": "glean-128",
        "gpen": "gpen-512",
    }


@pytest.mark.parametrize("table", read_tables(shipped_file()).values(), ids=lambda table: table.name)
def test_a_shipped_table_can_be_verified_and_says_its_licence(table: weights.Table) -> None:
    assert table.license
    assert table.trained_for
    assert bool(table.sources) == bool(table.wanted_hash)
    remote = [source for source in table.parsed_sources() if not isinstance(source, sources.PackageSource)]
    assert all(isinstance(source, sources.HubSource | sources.UrlSource) for source in remote)
    if table.sha256 and remote and table.name not in UNMEASURED:
        assert table.size, "size is said before a download"
    if table.sha256_prefix:  # upstream puts the first digits of the hash into the file's name
        assert all(re.search(rf"-{table.sha256_prefix}\.pth$", text) for text in table.sources)


@pytest.mark.parametrize("table", read_tables(shipped_file()).values(), ids=lambda table: table.name)
def test_a_shipped_table_sets_only_arguments_of_its_architecture(table: weights.Table) -> None:
    architecture = REGISTRY.architecture_of(table)
    assert set(table.arguments) <= set(architecture.defaults)


def test_tables_are_added_and_replaced(own_toml: Path) -> None:
    from restorer.storage.folders import config_folder

    config_folder().mkdir(parents=True, exist_ok=True)
    (config_folder() / "weights.toml").write_text(
        f'[mine]\narchitecture = "gfpgan"\nsources = ["file:a.pth"]\nsha256 = "{HASH}"\n'
    )
    own_toml.write_text(
        f'["gfpgan-1.4"]\narchitecture = "gfpgan"\nsources = ["file:b.pth"]\nsha256 = "{HASH}"\n'
        f'[mine]\narchitecture = "glean"\nsources = ["file:c.pth"]\nsha256_prefix = "{HASH[:8]}"\n'
    )
    known = weights.tables()
    assert known["gfpgan-1.4"].replaces_shipped
    assert known["gfpgan-1.4"].sources == ("file:b.pth",)
    assert weights.resolve("gfpgan").sources == ("file:b.pth",), "the alias goes with the name"
    assert not known["mine"].replaces_shipped
    assert known["mine"].architecture == "glean", "$RESTORER_WEIGHTS goes before the settings folder"
    assert not known["gfpgan-1.3"].replaces_shipped
    (source,) = known["mine"].parsed_sources()
    assert isinstance(source, sources.FileSource)
    assert source.path == own_toml.parent / "c.pth", "relative to the toml, not to where the command runs"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (f'sources = []\nsha256 = "{HASH}"', "lacks 'architecture'"),
        ('architecture = "gfpgan"', "lacks 'sources'"),
        ('architecture = "gfpgan"\nsources = ["https://a.b/c"]', "cannot be verified"),
        ('architecture = "gfpgan"\nsources = ["file:x"]\nsha256 = "abc"', "64 hexadecimal"),
        ('architecture = "gfpgan"\nsources = ["file:x"]\nsha256_prefix = "abc"', "8 or more"),
        (f'architecture = "gfpgan"\nsources = ["file:x"]\nsha256 = "{HASH}"\nsha256_prefix = "ffffffff"', "begin"),
        (f'architecture = "gfpgan"\nsources = "file:x"\nsha256 = "{HASH}"', "no list of texts"),
        (f'architecture = 3\nsources = ["file:x"]\nsha256 = "{HASH}"', "no text"),
        (f'architecture = "gfpgan"\nsources = ["file:x"]\nsha256 = "{HASH}"\nsize = "big"', "number of bytes"),
        (f'architecture = "gfpgan"\nsources = ["file:x"]\nsha256 = "{HASH}"\nsize = true', "number of bytes"),
        (f'architecture = "gfpgan"\nsources = ["file:x"]\nsha256 = "{HASH}"\narguments = 3', "arguments"),
        (f'architecture = "gfpgan"\nsources = ["file:x"]\nsha256 = "{HASH}"\nlicence = "x"', "did you mean 'license'"),
        (f'architecture = "gfpgan"\nsources = ["ftp://x/y"]\nsha256 = "{HASH}"', "begins with hf://"),
        (f'architecture = "gfpgan"\nsources = ["http://a.b/c"]\nsha256 = "{HASH}"', "use https://"),
        (f'architecture = "gfpgan"\nsources = ["hf://a/b"]\nsha256 = "{HASH}"', "hf://OWNER/REPO/FILE@REVISION"),
        (f'architecture = "gfpgan"\nsources = ["hf://datasets/a/b"]\nsha256 = "{HASH}"', "model repositories"),
        (f'architecture = "gfpgan"\nsources = ["package:../x"]\nsha256 = "{HASH}"', "plain name"),
    ],
)
def test_a_wrong_table_is_named_with_the_reason(own_toml: Path, body: str, reason: str) -> None:
    own_toml.write_text(f"[mine]\n{body}\n")
    with pytest.raises(InvalidTableError, match=re.escape(reason)) as caught:
        weights.tables()
    assert caught.value.table == "mine"
    assert str(own_toml) in caught.value.message
    assert caught.value.exit_code == 3


def test_a_broken_or_absent_file_is_named(own_toml: Path) -> None:
    own_toml.write_text("[mine")
    with pytest.raises(InvalidTableError, match=re.escape(str(own_toml))):
        weights.tables()
    own_toml.unlink()
    with pytest.raises(InvalidTableError, match=re.escape(str(own_toml))):
        weights.tables()
    own_toml.write_text('[gfpgan-1]\n[gfpgan-1.4]\narchitecture = "gfpgan"\n')  # the quotes are missing
    with pytest.raises(InvalidTableError, match=r"\.4|gfpgan-1"):
        weights.tables()


def test_an_unknown_name_comes_with_suggestions(tmp_path: Path) -> None:
    with pytest.raises(UnknownTableError) as caught:
        weights.resolve("gfpgan-14")
    assert "gfpgan-1.4" in caught.value.suggestions
    assert caught.value.exit_code == 2
    with pytest.raises(UnknownTableError, match="There is no file"):
        weights.resolve(str(tmp_path / "nothing.safetensors"))
    strange = tmp_path / "theirs.pth"
    strange.write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(UnknownTableError) as caught:
        weights.resolve(str(strange))
    assert f"restore models import {strange}" in str(caught.value.remedy)


@given(st.text(max_size=80))
def test_a_source_is_understood_or_refused(text: str) -> None:
    try:
        source = sources.parse(text, Path("/base"))
    except ValueError:
        return
    assert source.text == text


@given(
    owner=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", fullmatch=True).filter(
        lambda name: name not in ("datasets", "spaces")
    ),
    repo=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", fullmatch=True),
    file=st.from_regex(r"[A-Za-z0-9_-]{1,8}(/[A-Za-z0-9_-]{1,8}){0,3}\.pth", fullmatch=True),
    revision=st.sampled_from([None, "main", "refs/pr/1", "e881fbc251fdf2a4f133ad8277dd5dadbd1c541a"]),
)
def test_a_hub_source_is_taken_apart(owner: str, repo: str, file: str, revision: str | None) -> None:
    source = sources.parse(f"hf://{owner}/{repo}/{file}" + (f"@{revision}" if revision else ""), Path())
    assert isinstance(source, sources.HubSource)
    assert (source.repo, source.file, source.revision) == (f"{owner}/{repo}", file, revision or "main")


# ------------------------------------------------------------------------------------------ the user's own file


def test_adding_and_removing_a_table_leaves_the_rest_as_it_was() -> None:
    path = user_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    written = f'# mine, by hand\n[by-hand]\narchitecture = "gfpgan"\nsources = ["file:a"]\nsha256 = "{HASH}"\n'
    path.write_text(written)
    fields = {
        "architecture": "glean",
        "arguments": {"in_size": 32, "narrow": 0.5, "template": "auto"},
        "sources": ['file:/odd "name"\\with\tall.pth'],
        "sha256": HASH,
        "size": 12,
        "license": None,
    }
    user.add_table("one.5", fields)
    user.add_table("two", {**fields, "license": "none"})
    content = tomllib.loads(path.read_text())
    assert content["one.5"] == {key: value for key, value in fields.items() if value is not None}
    assert content["two"]["license"] == "none"
    assert weights.resolve("one.5").arguments["narrow"] == 0.5
    with pytest.raises(UsageError, match="already"):
        user.add_table("two", fields)
    with pytest.raises(UsageError, match="cannot be a name"):
        user.add_table("no\nname", fields)
    assert user.remove_table("one.5")
    assert set(tomllib.loads(path.read_text())) == {"by-hand", "two"}
    assert not user.remove_table("one.5")
    assert not user.remove_table("by-hand"), "what was written by hand is the user's"
    assert user.remove_table("two")
    assert path.read_text() == written


@given(
    name=st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,20}", fullmatch=True),
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    number=st.one_of(st.integers(-(2**60), 2**60), st.floats(allow_nan=False, allow_infinity=False)),
)
def test_any_text_and_number_survives_the_user_file(name: str, text: str, number: float) -> None:
    path = user_file()
    path.unlink(missing_ok=True)
    user.add_table(name, {"architecture": text, "arguments": {"a": number}, "sources": []})
    assert tomllib.loads(path.read_text(encoding="utf-8"))[name] == {
        "architecture": text,
        "arguments": {"a": number},
        "sources": [],
    }
    assert user.remove_table(name)


def test_a_file_is_read_once_and_again_when_it_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "weights.toml"
    table = '["mine"]\narchitecture = "gfpgan"\nsources = []\nlicense = "{}"\n'
    file.write_text(table.format("one"))
    read: list[str] = []
    loads = tomllib.loads

    def noted(text: str) -> dict[str, object]:
        read.append(text)
        return loads(text)

    monkeypatch.setattr("restorer.weights.table.tomllib.loads", noted)
    for _ in range(3):
        assert read_tables(file)["mine"].license == "one"
    assert len(read) == 1
    file.write_text(table.format("another"))
    read_tables(file).clear()
    assert read_tables(file)["mine"].license == "another"
    assert len(read) == 2
    file.unlink()
    with pytest.raises(InvalidTableError, match="cannot be read"):
        read_tables(file)


def test_the_authors_are_asked_first() -> None:
    """Where their own release is known; the hash holds whoever serves the file."""
    owners = ("TencentARC", "xinntao", "sczhou", "wzhouxiff", "aliyuncs", "openmmlab", "githubusercontent",
              "Phhofm", "cszn", "JingyunLiang", "open-modeldb-files", "piddnad", "Sanster", "microsoft")  # fmt: skip
    for entry in read_tables(shipped_file()).values():
        own = [any(owner in source for owner in owners) for source in entry.sources if "package:" not in source]
        assert own == sorted(own, reverse=True), entry.name
        assert not own or own[0], entry.name
