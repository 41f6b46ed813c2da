"""restore.toml: which file wins, what is refused and how, and what `restore config` says."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restorer.cli import restore_toml as config
from restorer.cli import settings
from restorer.errors import UsageError, command_words
from restorer.weights.table import tables
from tests.support.in_process import restore

OPTIONS = [
    config.Option("scale", float),
    config.Option("model", str),
    config.Option("max-faces", int),
    config.Option("match-color", bool),
    config.Option("out", Path),
    config.Option("tag", str, many=True),
]


@pytest.fixture(autouse=True)
def _as_the_command() -> Iterator[None]:
    """Errors speak as they do within the command."""
    with command_words():
        yield


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def user_file() -> Path:
    path = Path(os.environ["RESTORER_CONFIG"]) / "restore.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


# ---------------------------------------------------------------------------------------------------- what is in force


def test_without_files_nothing_is_set(folder: Path) -> None:
    assert config.load(OPTIONS) == {}


def test_the_folders_file_wins_over_the_users_and_each_value_knows_its_file(folder: Path) -> None:
    user_file().write_text('scale = 3\nmodel = "gfpgan-1.4"\n')
    (folder / "restore.toml").write_text("scale = 4\nmatch-color = false\n")
    found = config.load(OPTIONS)
    assert {name: setting.value for name, setting in found.items()} == {
        "scale": 4.0, "model": "gfpgan-1.4", "match-color": False,
    }  # fmt: skip
    assert found["scale"].origin == found["match-color"].origin == folder / "restore.toml"
    assert found["model"].origin == user_file()


def test_another_folder_can_be_named(folder: Path) -> None:
    (folder / "album").mkdir()
    (folder / "album/restore.toml").write_text("max-faces = 2")
    assert config.load(OPTIONS) == {}
    assert config.load(OPTIONS, folder / "album")["max-faces"].value == 2


def test_one_file_is_not_read_twice(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTORER_CONFIG", str(folder))
    assert config.places() == [folder / "restore.toml"]


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("scale = 4", 4.0),
        ("scale = 2.5", 2.5),
        ('model = "none"', "none"),
        ("max-faces = 3", 3),
        ("match-color = true", True),
        ('out = "restored"', Path("restored")),
        ('out = "~/restored"', Path.home() / "restored"),
        ('tag = ["a", "b"]', ["a", "b"]),
        ('tag = "a"', ["a"]),
    ],
)
def test_values_come_in_the_options_own_type(folder: Path, line: str, value: Any) -> None:
    (folder / "restore.toml").write_text(line)
    (setting,) = config.load(OPTIONS).values()
    assert setting.value == value
    assert type(setting.value) is type(value)


# ------------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("text", "key", "remedy"),
    [
        ("scal = 4", "scal", "scale"),
        ("max_faces = 4", "max_faces", "max-faces"),
        ('"--scale" = 4', "--scale", "scale"),
        ("zzz = 4", "zzz", "restore config"),
        ('scale = "4"', "scale", "scale = 4.0"),
        ("scale = true", "scale", "scale = 2.5"),
        ("scale = [1]", "scale", "scale = 2.5"),
        ("max-faces = 2.5", "max-faces", "max-faces = 4"),
        ("max-faces = false", "max-faces", "max-faces = 4"),
        ("model = 1.4", "model", 'model = "1.4"'),
        ('match-color = "false"', "match-color", "match-color = false"),
        ("match-color = 0", "match-color", "match-color = true"),
        ("out = 1", "out", 'out = "'),
        ("tag = [1]", "tag", 'tag = "1"'),
        ("[scale]\nx = 1", "scale", "scale = 2.5"),
        ("[faces]\nmax = 1", "[faces]", "top of the file"),
    ],
)
def test_wrong_keys_and_types_name_file_and_key(folder: Path, text: str, key: str, remedy: str) -> None:
    (folder / "restore.toml").write_text(text)
    with pytest.raises(UsageError) as error:
        config.load(OPTIONS)
    assert str(folder / "restore.toml") in error.value.message
    assert key in error.value.message
    assert remedy in str(error.value.remedy)


@pytest.mark.parametrize("content", [b"scale = ", b"= 4", b"scale = 4\nscale = 5", b'model = "\xff"'])
def test_a_broken_file_is_named_with_the_reason(folder: Path, content: bytes) -> None:
    (folder / "restore.toml").write_bytes(content)
    with pytest.raises(UsageError, match=r"restore\.toml is not (valid TOML|UTF-8): ."):
        config.load(OPTIONS)


def test_a_file_that_cannot_be_read_is_no_missing_file(folder: Path) -> None:
    (folder / "restore.toml").mkdir()
    with pytest.raises(UsageError, match=r"restore\.toml cannot be read"):
        config.load(OPTIONS)


@given(
    text=st.text()
    | st.from_regex(r'(scale|model|max-faces|x) = ([0-9.e-]{1,5}|"[a-z]*"|true|\[\]|\{\})\n', fullmatch=True)
)
def test_whatever_a_file_holds_ends_in_settings_or_in_one_error(
    text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / "any"
    folder.mkdir(exist_ok=True)
    (folder / "restore.toml").write_text(text, encoding="utf-8")
    kinds = {option.name: option.kind for option in OPTIONS if not option.many}
    with contextlib.suppress(UsageError):
        found = config.load(OPTIONS, folder)
        assert all(isinstance(setting.value, kinds[name]) for name, setting in found.items() if name in kinds)


# ------------------------------------------------------------------------------------------------------------ command


def test_every_option_of_the_photo_command_can_stand_in_a_file(folder: Path) -> None:
    examples: dict[type, Any] = {bool: True, int: 40, float: 0.5, str: "auto", Path: "folder"}
    options = {each.long: each for each in settings.photo_options()}
    assert {"scale", "model", "min-face", "strip-metadata", "json", "out", "offline"} <= set(options)
    assert not {"version", "help", "photos"} & set(options)
    (folder / "restore.toml").write_text(
        "".join(
            f"{name} = {json.dumps('archive' if name == 'preset' else examples[each.kind])}\n"
            for name, each in options.items()
            if not each.many
        )
    )
    (folder / "restore.toml").rename(user_file())  # some of them are not for a folder's file
    assert set(settings.load()) == {name for name, each in options.items() if not each.many}


def test_config_shows_each_value_and_where_it_comes_from(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    user_file().write_text("quality = 80\nscale = 3\n")
    (folder / "restore.toml").write_text('scale = 4\nout = "restored"\n')
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    found = json.loads(restore(capsys, "config", "--json").out)
    options = found["options"]
    assert options["scale"] == {"value": 4.0, "origin": str(folder / "restore.toml")}
    assert options["out"] == {"value": "restored", "origin": str(folder / "restore.toml")}
    assert options["quality"] == {"value": 80, "origin": str(user_file())}
    assert options["offline"] == {"value": True, "origin": "environment"}
    assert options["model"] == {"value": "auto", "origin": "default"}
    assert found["files"] == [
        {"path": str(user_file()), "exists": True},
        {"path": str(folder / "restore.toml"), "exists": True},
    ]


def test_config_as_a_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "restore.toml").write_text('scale = 4\nmodel = "[red]x[/]"\n')
    done = restore(capsys, "config")
    rows = {line.split()[0]: line for line in done.out.splitlines()}
    assert "4.0" in rows["scale"]
    assert rows["scale"].rstrip().endswith("restore.toml")
    assert '"[red]x[/]"' in rows["model"]
    assert rows["strength"].split() == ["strength", "1.0", "default"]
    assert f"Not there: {user_file()}" in done.err


def test_config_refuses_a_wrong_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "restore.toml").write_text("skale = 4")
    done = restore(capsys, "config", code=2)
    assert "skale" in done.err
    assert "Did you mean scale" in done.err


# ------------------------------------------------------------------------------- commands that take from the files


def test_the_command_line_wins_over_the_files_and_they_over_the_defaults(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}
    app = _application(seen)
    user_file().write_text("scale = 3\nquality = 80\n")
    (folder / "restore.toml").write_text("scale = 4\nstrip-metadata = true\nmin-face = 30\n")
    app(["a.png", "--min-face", "50"], standalone_mode=False)
    assert seen == {"scale": 4.0, "quality": 80, "strip_metadata": True, "min_face": 50.0, "model": "auto"}
    app(["a.png", "--scale", "2", "--no-strip-metadata"], standalone_mode=False)
    assert seen == {"scale": 2.0, "quality": 80, "strip_metadata": False, "min_face": 30.0, "model": "auto"}


def test_an_error_about_a_value_names_the_file_that_set_it(folder: Path) -> None:
    app = _application({})
    (folder / "restore.toml").write_text("scale = 0\nquality = 80\n")
    with pytest.raises(UsageError) as error:
        app(["a.png"], standalone_mode=False)
    assert str(error.value.remedy).endswith(f"{folder / 'restore.toml'} sets scale.")
    with pytest.raises(UsageError) as error:
        app(["a.png", "--scale", "-1"], standalone_mode=False)
    assert "restore.toml" not in str(error.value.remedy)


def test_help_is_shown_whatever_the_file_holds(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "restore.toml").write_text("nonsense")
    assert "--min-score" in restore(capsys, "faces", "--help").out
    assert "restore.toml" in restore(capsys, "faces", "a.png", code=2).err


def _application(seen: dict[str, Any]) -> Any:
    """Return a command of a few of the photo command's options, which writes down what it was called with."""
    import typer

    from restorer.options import Options

    app = typer.Typer(add_completion=False)

    @app.command(cls=settings.Configured)
    def command(
        photo: str,
        scale: float = 2.0,
        quality: int = 95,
        min_face: float | None = None,
        strip_metadata: bool = False,
        model: str = "auto",
    ) -> None:
        seen.update(scale=scale, quality=quality, min_face=min_face, strip_metadata=strip_metadata, model=model)
        Options(**seen)

    return app


def test_the_file_in_the_documentation(folder: Path) -> None:
    text = (Path(__file__).parents[2] / "docs/settings.md").read_text(encoding="utf-8")
    (folder / "restore.toml").write_text(text.split("```toml\n")[1].split("```")[0])
    found = settings.load()
    assert found["scale"].value == 4.0
    assert len(found) == 6


# ----------------------------------------------------------------------------------------- somebody else's folder


@pytest.mark.parametrize("name", ["out", "sheet", "preview", "log", "metrics"])
@pytest.mark.parametrize("place", ["../elsewhere", "{home}/.profile", "link/x", "a/../../b"])
def test_a_folders_file_writes_nothing_outside_of_it(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, name: str, place: str
) -> None:
    home = tmp_path_factory.mktemp("home")
    (folder / "link").symlink_to(home)
    (folder / "restore.toml").write_text(f"{name} = {json.dumps(place.format(home=home))}\n")
    with pytest.raises(UsageError, match=f"restore.toml sets {name} to .* outside of its folder"):
        settings.load()


@pytest.mark.parametrize(("line", "typed"), [
    ("overwrite = true", "--overwrite"), ("watch = true", "--watch"),
    ('cluster = "ray://stranger:10001"', "--cluster ray://stranger:10001"),
])  # fmt: skip
def test_a_folders_file_replaces_no_files_watches_nothing_and_sends_no_photos_elsewhere(
    folder: Path, line: str, typed: str
) -> None:
    """With `watch`, restoring somebody's folder never ended; with `cluster`, its photos went to another machine."""
    (folder / "restore.toml").write_text(line + "\n")
    with pytest.raises(UsageError, match="may come from anybody") as caught:
        settings.load()
    assert f"Type {typed} where" in str(caught.value.remedy)
    (folder / "restore.toml").unlink()
    user_file().write_text(line + "\n")
    assert line.split(" = ")[0] in settings.load()


@pytest.mark.parametrize("text", [
    "a = " + "[" * 100_000, "scale = " + "1" * 5_000, "[" + "a." * 50_000 + "a]", 'out = "~nobody-of-this-name/x"',
    'out = "a\\u0000b"', 'log = "circle/x"', "\0",
])  # fmt: skip
def test_a_file_that_is_made_to_harm_is_refused_in_words(folder: Path, text: str) -> None:
    (folder / "circle").symlink_to("circle")
    (folder / "restore.toml").write_text(text + "\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"restore\.toml"):
        settings.load()


def test_in_its_own_folder_it_may_and_a_users_file_may_anywhere(folder: Path, tmp_path: Path) -> None:
    (folder / "restore.toml").write_text('out = "done"\nlog = "./logs/a.log"\nfiles-from = "../list.txt"\n')
    user_file().write_text(f"metrics = {json.dumps(str(tmp_path.parent / 'm.json'))}\n")
    found = settings.load()
    assert found["out"].value == Path("done")
    assert found["files-from"].value == Path("../list.txt"), "only read"
    assert found["metrics"].value == tmp_path.parent / "m.json"


def test_what_a_folders_file_must_not_say_ends_the_command_before_anything_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    log = tmp_path_factory.mktemp("home") / ".profile"
    (folder / "restore.toml").write_text(f"log = {json.dumps(str(log))}\n")
    assert "Type --log" in restore(capsys, "a.png", code=2).err
    assert not log.exists()


def test_tables_of_weights_in_the_working_folder_are_not_read(folder: Path) -> None:
    (folder / "weights.toml").write_text("this is no TOML, and would be told if it was read")
    assert "tiny" in tables()
