"""Options are declared once: ranges, fingerprint, types, and all that follows from one new field."""

from __future__ import annotations

import copy
import inspect
import json
import math
import re
import subprocess
import sys
import textwrap
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import restorer.errors
from restorer import Restorer
from restorer.cli import declared as commands
from restorer.cli import photos, request
from restorer.cli.signatures import parameters
from restorer.errors import OptionError, OptionTypeError, RestorerError, UnknownOptionError, UsageError
from restorer.options import Option, Options, declared, option
from restorer.photo import format_requests
from restorer.photo.formats import listed
from restorer.pipeline.keywords import OptionFields
from tests.support.in_process import restore

ROOT = Path(__file__).resolve().parents[1]
FIELDS = declared(Options)
NUMBERS = [each for each in FIELDS.values() if each.kind in (int, float)]

OTHER: dict[str, Any] = {
    "model": "none", "scale": 4.0, "long_side": 3000, "megapixels": 24.0, "print": "20x30cm@300",
    "fidelity": 0.5, "strength": 0.5, "faces": "2,5", "face": ("10,20,30,40",),
    "adjust": ("2:strength=0.5",), "min_face": 30.0, "max_faces": 3,
    "min_score": 0.8, "min_likeness": 0.5, "reference": ("refs",), "aligned": True, "prior": "tiny-prior",
    "task": "inpaint", "hole": "hole.png", "variants": 3, "steps": 7, "time_limit": 60.0, "always": True,
    "repair": "auto", "damage": "mask.png", "save_mask": True, "tone": "auto",
    "colorize": "auto", "color_strength": 0.5,
    "detector": "tiny-detector", "background": "lanczos", "clean": "1x-DeJPG-realplksr-otf",
    "device": "cpu", "engine": "onnxruntime",
    "precision": "fp32", "batch_size": 2, "low_memory": True, "tile": 64, "match_color": False, "grain": True,
    "seed": 3,
    "format": "png", "quality": 80, "strip_metadata": True, "layers": True, "offline": True, "license": "commercial",
    "fallback": False,
}  # fmt: skip
"""A value of each option that is not its default."""


def made(**values: Any) -> Options:
    return Options(**values)


def named(each: Option) -> str:
    return each.name


def test_each_field_is_declared_and_has_an_example_here() -> None:
    assert list(FIELDS) == list(OTHER) == list(inspect.signature(Options).parameters)
    assert all(getattr(Options(), name) == each.default != OTHER[name] for name, each in FIELDS.items())
    assert all(each.help.strip().endswith(".") or "[" in each.help for each in FIELDS.values())


# --------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("each", NUMBERS, ids=named)
def test_no_number_takes_what_is_no_number(each: Option, value: float) -> None:
    with pytest.raises(UsageError, match=f"^{each.name}(=| must be a whole number, not )-?(nan|inf)") as error:
        made(**{each.name: value})
    assert error.value.exit_code == 2
    assert error.value.remedy


@pytest.mark.parametrize("each", NUMBERS, ids=named)
def test_ranges_hold_at_both_ends(each: Option) -> None:
    assert (each.least is None) != (each.above is None), "a number that may be anything is a mistake"
    step = 1 if each.kind is int else 1e-6
    for end, outwards in ((each.least, -step), (each.most, step)):
        if end is not None:
            assert getattr(made(**{each.name: end}), each.name) == end
            with pytest.raises(UsageError, match=f"^{each.name}=.*(small|large|range)"):
                made(**{each.name: end + outwards})
    if each.above is not None:
        with pytest.raises(UsageError, match=f"^{each.name}=.*small"):
            made(**{each.name: each.above})


@pytest.mark.parametrize("each", FIELDS.values(), ids=named)
def test_values_of_another_type_are_refused_in_words(each: Option) -> None:
    wrong: dict[type, list[Any]] = {
        bool: [1, "true", None], int: [2.5, "3", True, [1]], float: ["2", True, [1], 1j], str: [1.5, ["all"], b"all"],
    }  # fmt: skip
    for value in [3, [3], None] if each.many else wrong[each.kind]:
        with pytest.raises(OptionTypeError, match=f"^{each.name} must be (True or False|a)") as error:
            made(**{each.name: value})
        assert error.value.option == each.name
        assert isinstance(error.value, UsageError)
        assert isinstance(error.value, TypeError)
    if each.optional:
        assert getattr(made(**{each.name: None}), each.name) is None


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        ({"scale": "2"}, "Write it as scale=2.0."), ({"scale": " 2.5 "}, "Write it as scale=2.5."),
        ({"max_faces": 3.0}, "Write it as max_faces=3."), ({"max_faces": "3"}, "Write it as max_faces=3."),
        ({"strength": "80%"}, "Use 0 to 1."), ({"strength": "7"}, "Use 0 to 1."), ({"strength": True}, "Use 0 to 1."),
        ({"grain": "yes"}, "Write it as grain=True."), ({"grain": 0}, "Write it as grain=False."),
        ({"grain": "perhaps"}, None), ({"min_face": []}, "Use at least 1."),
        ({"faces": [1, "2"]}, FIELDS["faces"].advice),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_told_how_to_be_written(given: dict[str, Any], remedy: str | None) -> None:
    with pytest.raises(OptionTypeError) as error:
        Restorer("none", **given)
    assert error.value.remedy == remedy


@pytest.mark.parametrize(
    ("given", "wanted"),
    [(3, "3"), ([2, 5], "2,5"), ((2,), "2"), (range(2, 5), "2,3,4"), (np.array([1, 4]), "1,4"), ("2,5", "2,5"),
     (np.int64(7), "7"), ("largest", "largest")],
)  # fmt: skip
def test_faces_may_be_numbers(given: Any, wanted: str) -> None:
    assert Restorer("none", faces=given).options.faces == wanted
    assert hash(Restorer("none", faces=given).options) == hash(Options(model="none", faces=wanted))


@pytest.mark.parametrize("part", ["model", "detector", "background", "mask"])
def test_what_cannot_be_a_part_is_refused_in_words(part: str) -> None:
    for wrong in (object(), 3, [1], Restorer):
        with pytest.raises(OptionTypeError, match=f"^{part} must be .*with `") as error:
            Restorer(**{part: wrong})  # type: ignore[arg-type]
        assert error.value.option == part


@pytest.mark.parametrize("given", [0, -1, [0], [2, -5], [], [True], True, [2.5], {"a": 1}, None, [None]])
def test_numbers_that_count_no_face_are_refused(given: Any) -> None:
    with pytest.raises(OptionError, match=r"^faces"):
        Restorer("none", faces=given)


def test_numbers_of_other_libraries_become_plain_ones() -> None:
    options = made(scale=np.float32(4), max_faces=np.int64(3), min_score=np.float64(0.5))
    assert [type(value) for value in (options.scale, options.max_faces)] == [float, int]
    assert json.dumps(options.changed()) == '{"scale": 4.0, "max_faces": 3, "min_score": 0.5}'


@pytest.mark.parametrize("text", ["", "0", "2,", "-1", "2;5", "some", "1" * 5000])
def test_faces_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"^faces.*not understood"):
        Options(faces=text)


def test_words_that_are_no_values_are_refused_with_those_that_are() -> None:
    with pytest.raises(UsageError) as error:
        Options(precision="fp8")
    assert error.value.remedy == "Use auto, fp32, bf16 or fp16."
    with pytest.raises(UsageError) as error:
        Restorer("none", format="gif")
    assert error.value.remedy == f"Use {listed(list(format_requests()), 'or')}."
    for format in ("heic", "bmp", "jpeg", "TIF"):  # what `restorer.photo` writes
        Restorer("none", format=format)


@pytest.mark.parametrize("each", [each for each in NUMBERS if each.kind is float], ids=named)
def test_the_command_and_the_file_refuse_it_too(
    each: Option, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for word in ("nan", "inf"):
        assert f"--{each.long} {word}" in restore(capsys, "a.jpg", f"--{each.long}", word, code=2).err
        Path("restore.toml").write_text(f"{each.long} = {word}\n")
        assert "restore.toml sets" in restore(capsys, "a.jpg", code=2).err
        Path("restore.toml").unlink()
    if each.name in ("min_face", "min_score"):
        assert f"--{each.long} nan" in restore(capsys, "faces", "a.jpg", f"--{each.long}", "nan", code=2).err


@pytest.mark.parametrize("words", ["demo --scale nan", "sample tiny-prior --truncation nan"])
def test_other_commands_refuse_it_before_they_do_anything(
    words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert words.split()[-2] in restore(capsys, *words.split(), code=2).err
    assert not list(tmp_path.iterdir())


@dataclass(frozen=True)
class Several:
    words: tuple[str, ...] = option((), help="Any words.", panel="Words")
    numbers: tuple[float, ...] = option((1.0,), help="Any numbers.", panel="Words", least=0, most=9)


def test_an_option_may_take_several_values() -> None:
    words, numbers = declared(Several).values()
    assert (words.many, words.kind, numbers.many, numbers.kind) == (True, str, True, float)
    assert words.checked(["a", "b"]) == ("a", "b")
    assert numbers.checked((np.float32(2),)) == (2.0,)
    for wrong in ("ab", None, 3, [3]):
        with pytest.raises(OptionTypeError, match="words must be a text"):
            words.checked(wrong)
    with pytest.raises(UsageError, match="outside its range"):
        numbers.checked([2.0, 10.0])
    seen: list[Several] = []

    @commands.from_declarations
    def command(*, several: Several) -> None:
        seen.append(several)

    known = {each.name: each for each in parameters(command)}
    assert (known["words"].many, known["words"].flags) == (True, ("--words",))
    command(words=["a", "b"], numbers=None)
    assert seen == [Several(("a", "b"), ())]


# ------------------------------------------------------------------------------------------------ what it is made of

DECIDES_NOTHING = {"device", "batch_size", "low_memory", "tile", "offline", "fallback"}
BY_WEIGHTS = {"model", "prior", "detector", "background", "clean", "reference", "engine"}
ELSEWHERE = {
    "damage", "fidelity", "seed", "min_likeness", "prior", "task", "hole", "variants", "steps", "time_limit",
    "license", "reference",
}  # fmt: skip
"""What the built-in model does not have or is not for, or what would fetch weights."""


@pytest.mark.parametrize("name", OTHER)
def test_what_decides_the_result_is_part_of_the_note_and_nothing_else(name: str) -> None:
    changed = Options(**{name: OTHER[name]}).changed()
    assert changed == ({} if name in DECIDES_NOTHING | BY_WEIGHTS else {name: OTHER[name]})


@pytest.mark.parametrize("name", [name for name in OTHER if name not in ELSEWHERE])
def test_the_fingerprint_changes_with_what_decides_the_result(name: str) -> None:
    common = {"model": "tiny", "detector": "auto", "background": "realesrgan-x4", "offline": False}
    before, after = (
        Restorer(**{**common, **changed}).note("0" * 64).fingerprint for changed in ({}, {name: OTHER[name]})
    )
    assert (before == after) == (name in DECIDES_NOTHING)


def test_results_of_earlier_versions_are_recognised() -> None:
    """What the note holds, letter by letter: another spelling would make every finished photo unknown."""
    assert json.dumps(Options(**OTHER).changed()) == (
        '{"scale": 4.0, "long_side": 3000, "megapixels": 24.0, "print": "20x30cm@300", '
        '"fidelity": 0.5, "strength": 0.5, "faces": "2,5", "face": ["10,20,30,40"], '
        '"adjust": ["2:strength=0.5"], "min_face": 30.0, "max_faces": 3, '
        '"min_score": 0.8, "min_likeness": 0.5, "aligned": true, "task": "inpaint", "hole": "hole.png", "variants": 3, '
        '"steps": 7, "time_limit": 60.0, "always": true, "repair": "auto", '
        '"damage": "mask.png", "save_mask": true, "tone": "auto", "colorize": "auto", "color_strength": 0.5, '
        '"precision": "fp32", "match_color": false, '
        '"grain": true, "seed": 3, "format": "png", "quality": 80, "strip_metadata": true, "layers": true, '
        '"license": "commercial"}'
    )


def test_options_can_be_copied_and_compared() -> None:
    options = Options(**OTHER)
    assert options == copy.copy(options) == replace(Options(), **OTHER) == Options.of(**options.values())
    assert len({options, Options(**OTHER), Options()}) == 2


# -------------------------------------------------------------------------------------------------------- from Python


def test_a_name_that_is_no_option_is_an_error_with_the_nearest() -> None:
    with pytest.raises(UnknownOptionError, match="'scal'") as error:
        Restorer(scal=4)  # type: ignore[call-arg]
    assert (error.value.option, error.value.remedy) == ("scal", "Did you mean scale?")
    assert isinstance(error.value, UsageError)
    assert isinstance(error.value, TypeError)
    with pytest.raises(UnknownOptionError) as error:
        Restorer(**{"min-face": 4})  # type: ignore[arg-type]
    assert error.value.remedy == "Did you mean min_face?"
    with pytest.raises(UnknownOptionError) as error:
        Restorer(zzz=4)  # type: ignore[call-arg]
    assert "strip_metadata" in str(error.value.remedy)


def test_type_checkers_know_the_same_fields() -> None:
    known, fields = typing.get_type_hints(OptionFields), typing.get_type_hints(Options)
    own = set(inspect.signature(Restorer).parameters)
    path = str | PathLike[str]
    wider = {
        "faces": str | int | Sequence[int],
        "face": str | Sequence[str] | Sequence[float] | Sequence[Sequence[float]],
        "adjust": str | Sequence[str] | Mapping[int, Mapping[str, float | str]],
        "reference": path | Sequence[path],
    }
    assert known == {name: wider.get(name, fields[name]) for name in FIELDS if name not in own}
    assert all(FIELDS[name].convert is not None for name in wider)


SNIPPET = """
from restorer import Restorer
Restorer("tiny", scale=4, faces="all", min_face=None, tile=64, grain=True)
Restorer("tiny", faces=3)
Restorer("tiny", faces=[2, 5])
Restorer("tiny", scael=2)  # wrong
Restorer("tiny", scale="4")  # wrong
Restorer("tiny", faces=2.5)  # wrong
Restorer("tiny", grain="yes")  # wrong
Restorer("tiny", max_faces=[1])  # wrong
Restorer("tiny", strength=None)  # wrong
outcome = Restorer("tiny").restore("a.jpg")
outcome.record.model.upper()
outcome.record.modell  # wrong
outcome.warnings[0].upper()
outcome.save("b.jpg", overwrite="yes")  # wrong
"""
WRONG = [number for number, line in enumerate(SNIPPET.splitlines(), 1) if line.endswith("# wrong")]


@pytest.mark.slow
@pytest.mark.parametrize("checker", ["mypy", "basedpyright"])
def test_wrong_names_and_types_are_errors_for_type_checkers(checker: str, tmp_path: Path) -> None:
    pytest.importorskip(checker, reason=f"{checker} is not installed")
    (tmp_path / "snippet.py").write_text(SNIPPET)
    arguments = {
        "mypy": ["--strict", "--cache-dir", str(tmp_path / "cache"), "snippet.py"],
        "basedpyright": ["--level", "error", "--pythonpath", sys.executable, "snippet.py"],
    }[checker]
    done = subprocess.run(
        [sys.executable, "-m", checker, *arguments],
        capture_output=True, text=True, check=False, cwd=tmp_path, env={**_environment(), "MYPYPATH": str(ROOT)},
    )  # fmt: skip
    found = re.findall(r"snippet\.py:(\d+)(?::\d+)?(?: -|:) error", done.stdout)
    assert sorted(set(map(int, found))) == WRONG, done.stdout + done.stderr
    assert "scael" in done.stdout


@pytest.mark.parametrize(
    "kind",
    [each for each in vars(restorer.errors).values() if inspect.isclass(each) and issubclass(each, RestorerError)],
)
def test_an_error_with_another_remedy_is_the_same_error(kind: type[RestorerError]) -> None:
    make: Any = kind
    first = [] if kind.__init__ is RestorerError.__init__ else ["what it is about"]
    error = make(*first, "What happened.", "Do this.")
    before = error.remedy
    other = error.with_remedy("Do that.")
    assert type(other) is kind
    assert {**vars(error), "remedy": "Do that."} == vars(other)
    assert str(other) == str(error)
    assert error.remedy == before != "Do that."


# -------------------------------------------------------------------------------------------------- what follows it


def test_the_command_and_the_files_have_the_same_options_in_the_same_order() -> None:
    typed = [each for each in parameters(photos.restore) if each.flags and not each.instant]
    written = commands.parameters(request.PHOTO_OPTIONS)
    assert [replace(each, help="") for each in typed] == [replace(each, help="") for each in written]


def test_the_guide_has_the_table_of_all_options() -> None:
    assert option_table() in (ROOT / "docs/guide.md").read_text(encoding="utf-8"), option_table()


def option_table() -> str:
    """Return the options as the guide lists them, by group."""
    lines = ["| option | what it does | numbers | default |", "|---|---|---|---|"]
    found = [each for owner in request.PHOTO_OPTIONS for each in declared(owner).values()]
    for panel in commands.PANELS:
        lines.append(f"| **{panel}** | | | |")
        for each in (each for each in found if each.panel == panel):
            flags, negative = commands.flags_of(each)
            names = "models that have it" if each.control else "a name that `restore models list` shows"
            text = each.help.replace("{names}", names)
            ends = f"above {each.above:g}" if each.above is not None else ""
            if each.least is not None:  # what torch takes at most, nobody reaches
                bounded = each.most is not None and each.most < 2**63
                ends = f"{each.least:g} to {each.most:g}" if bounded else f"from {each.least:g} on"
            default = "" if each.default in (None, False, ()) else f"`{each.default}`"
            default = "on" if each.default is True else default
            lines.append(f"| {', '.join(f'`{flag}`' for flag in (*flags, *negative))} | {text} | {ends} | {default} |")
    return "\n".join(lines)


NEW_FIELD = """
    sharpen: float | None = option(
        None, help="How much sharper the {names} make it.", panel=FACES, least=0, most=9, role="upscaler",
        words=(("7", "as sharp as it gets"),),
    )
"""


def test_one_new_field_is_an_option_everywhere(tmp_path: Path) -> None:
    """The field stands in a copy of `restorer/options/__init__.py`, and nothing else is touched."""
    source = (ROOT / "restorer/options/__init__.py").read_text(encoding="utf-8")
    place = source.index("    offline: bool = option(")
    (tmp_path / "changed.py").write_text(source[:place] + NEW_FIELD.lstrip("\n") + source[place:], encoding="utf-8")
    script = f"""
        import importlib.util, sys
        spec = importlib.util.spec_from_file_location(
            "restorer.options", {str(tmp_path / "changed.py")!r},
            submodule_search_locations=[{str(ROOT / "restorer/options")!r}],
        )
        sys.modules["restorer.options"] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        import restorer
        restorer.options = module

        arguments = sys.argv[1:]
        if arguments == ["changed"]:
            from restorer import Options, Restorer
            print(Options(sharpen=3.0).changed(), Restorer("none", sharpen=3.0).options.sharpen)
            plain, sharper = (Restorer("none", sharpen=value).note("0" * 64) for value in (None, 3.0))
            print(plain.fingerprint != sharper.fingerprint)
        else:
            from restorer.cli import main
            main(arguments)
    """

    def run(*arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script), *arguments],
            capture_output=True, text=True, check=False, cwd=tmp_path, env=_environment(),
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    page = run("--help")
    faces = page[page.index("\nFaces\n") : page.index("\nBackground\n")]
    assert "--sharpen" in faces
    assert "realesrgan-x4," in faces
    assert "--sharpen 10 is outside its range.\n  Use 0 to 9." in run("a.jpg", "--sharpen", "10", code=2)
    assert "--sharpen nan" in run("a.jpg", "--sharpen", "nan", code=2)
    assert run("completion", "suggest", "--", "--sharp").startswith("--sharpen\tHow much sharper")
    assert "7\tas sharp as it gets\n" in run("completion", "suggest", "--", "--sharpen", "")
    assert r"\fB\-\-sharpen\fR \fINUMBER\fR" in run("man")
    (tmp_path / "restore.toml").write_text("sharpen = 4\n")
    assert json.loads(run("config", "--json"))["options"]["sharpen"]["value"] == 4.0
    (tmp_path / "restore.toml").write_text("sharpen = 40\n")
    assert "restore.toml sets sharpen." in run("a.jpg", code=2)
    assert run("changed") == "{'sharpen': 3.0} 3.0\nTrue\n"


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
