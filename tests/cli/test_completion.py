"""`restore completion`: what is offered where, and that the shells' scripts bring it there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from restorer import weights
from restorer.cli.commands import COMMANDS
from restorer.cli.completion import SCRIPTS, suggest
from tests.cli.test_command import HEAVY, loaded
from tests.support.in_process import restore

ROOT = Path(__file__).resolve().parents[2]


def offered(*words: str) -> list[str]:
    return [each.word for each in suggest(list(words))]


def test_the_first_word_is_a_command_or_a_photo() -> None:
    assert offered("") == [*COMMANDS, "help", "version", ":files"]
    assert offered("mod") == ["models", ":files"]


def test_help_and_version_are_first_words_too() -> None:
    assert offered("he") == ["help", ":files"]
    assert "version" in offered("ver")
    assert "models" in offered("help", "mo")
    assert "verify" in offered("help", "models", "ve")
    assert offered("help", "demo", "") == []
    assert offered("version", "") == []


def test_options_of_the_photo_command_and_of_others() -> None:
    assert {"--scale", "--model", "--min-face", "--json", "--version", "--help"} <= set(offered("-"))
    assert offered("a.jpg", "--mod") == ["--model"]
    assert "--accept-license" in offered("models", "pull", "--")
    assert "--scale" not in offered("models", "pull", "--")
    assert offered("train", "--no-") == ["--no-resume"]


def test_names_of_weights_by_what_takes_them() -> None:
    models = offered("--model", "")
    assert {"auto", "none", "gfpgan", "gfpgan-1.4", "glean-128", ":files"} <= set(models)
    assert not {"retinaface-r50", "parsenet", "realesrgan-x4"} & set(models)
    assert offered("a.jpg", "--model", "gfpgan-1.") == ["gfpgan-1.2", "gfpgan-1.3", "gfpgan-1.4", ":files"]
    assert offered("--detector", "ret") == ["retinaface-r50", "retinaface-mobilenet0.25"]
    assert offered("faces", "--detector", "ret") == ["retinaface-r50", "retinaface-mobilenet0.25"]
    assert {"auto", "lanczos", "realesrgan-x4", "realesr-general"} <= set(offered("--background", ""))
    assert offered("models", "show", "pars") == ["parsenet"]
    assert offered("models", "pull", "gfpgan", "parsenet", "realesrgan-x4"[:-1]) == ["realesrgan-x2", "realesrgan-x4"]
    assert offered("evaluate", "restoref") == ["restoreformer", "restoreformer++", ":files"]
    assert set(weights.tables()) <= set(offered("models", "verify", ""))


def test_names_of_the_users_own_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "weights.toml").write_text(
        '["my-own"]\narchitecture = "gfpgan"\nsources = ["https://example.org/x.pth"]\nsha256 = "' + "0" * 64 + '"\n'
    )
    monkeypatch.setenv("RESTORER_WEIGHTS", str(tmp_path / "weights.toml"))
    assert offered("--model", "my") == ["my-own", ":files"]


@pytest.mark.parametrize("words", [("--model=gpen-1",), ("--model", "=", "gpen-1"), ("a.jpg", "--model", "gpen-1")])
def test_a_value_may_follow_an_equals_sign_however_the_shell_splits_it(words: tuple[str, ...]) -> None:
    assert offered(*words) == ["gpen-1024", ":files"]


def test_fixed_values_files_and_nothing() -> None:
    assert offered("--format", "") == ["keep", "bmp", "heic", "jpg", "png", "tiff", "webp"]
    assert offered("--faces", "l") == ["largest"]
    assert offered("--precision", "b") == ["bf16"]
    assert offered("-o", "") == offered("--out", "x") == [":files"]
    assert offered("--scale", "") == []
    assert offered("a.jpg", "b") == [":files"]
    assert offered("models", "show", "parsenet", "") == []


def test_words_that_take_a_value_are_not_counted_as_arguments() -> None:
    assert offered("faces", "--detector", "auto", "") == [":files"]
    assert offered("faces", "--min-score", "0.5", "a.jpg", "") == []
    assert offered("--", "--mod") == [":files"]


def test_subcommands_of_a_command() -> None:
    assert offered("models", "p") == ["path", "pull"]
    assert next(each.help for each in suggest(["models", "pa"])).startswith("Print where a verified file lies")


def test_recipes() -> None:
    assert {"tiny", "gfpgan", ":files"} <= set(offered("train", ""))


def test_suggestions_stay_on_one_short_line(capsys: pytest.CaptureFixture[str]) -> None:
    lines = restore(capsys, "completion", "suggest", "--", "-").out.splitlines()
    assert "--model" in {line.split("\t")[0] for line in lines}
    assert all(line.startswith("--") and len(line) < 130 for line in lines)


def test_a_broken_weights_toml_leaves_files(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "weights.toml").write_text("nonsense")
    monkeypatch.setenv("RESTORER_WEIGHTS", str(tmp_path / "weights.toml"))
    assert restore(capsys, "completion", "suggest", "--", "--model", "").out == ":files\n"


def test_an_unknown_shell_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "bash, zsh, fish" in restore(capsys, "completion", "tcsh", code=2).err


def test_it_loads_nothing_heavy() -> None:
    assert not loaded("completion", "suggest", "--", "--model", "g") & HEAVY


# ---------------------------------------------------------------------------------------------------- in real shells


@pytest.fixture
def shell_folder(tmp_path: Path) -> Path:
    """A folder with two photos, and with a `restore` of its own."""
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin/restore"
    command.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m restorer "$@"\n')
    command.chmod(0o755)
    (tmp_path / "bin/restore-photos").symlink_to("restore")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/mother one.jpg").touch()
    (tmp_path / "photos/grandma.jpg").touch()
    return tmp_path


def in_shell(folder: Path, shell: str, script: str) -> list[str]:
    """Run a script in a shell, in the folder of the photos; return its lines."""
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"{shell} is not installed")
    arguments = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    done = subprocess.run(
        [path, *arguments, "-c", f'PATH="{folder}/bin:$PATH"; {script}' if shell != "fish" else script],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder / "photos",
        timeout=60,
        env={"HOME": str(folder), "PATH": f"{folder}/bin:/usr/bin:/bin", "TERM": "dumb", "LANG": "C.UTF-8"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_bash(shell_folder: Path) -> None:
    cases = {
        "restore --model gpen-1": ["gpen-1024"],
        "restore --model = gpen-1": ["gpen-1024"],  # as bash splits --model=gpen-1
        "restore mo": ["models", "mother one.jpg"],
        "restore models sh": ["show"],
        "restore a.jpg gr": [],  # nothing of its own: readline completes the file
        "restore-photos models sh": ["show"],
    }
    script = 'eval "$(restore completion bash)"; complete -p restore\n'
    for words in cases:
        script += f"""
            COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
            _restore_completion ${{COMP_WORDS[0]}}
            echo "{words}"
            [ ${{#COMPREPLY[@]}} -eq 0 ] || printf '%s\\n' "${{COMPREPLY[@]}}"
        """
    expected = ["complete -o default -F _restore_completion restore"]
    expected += [line for words, offers in cases.items() for line in (words, *offers)]
    assert in_shell(shell_folder, "bash", script) == expected


def test_fish(shell_folder: Path) -> None:
    cases = {
        "restore --model gpen-1": ["gpen-1024"],
        "restore --model=gpen-1": ["--model=gpen-1024"],
        "restore mo": ["models", "mother one.jpg"],
        "restore a.jpg gr": ["grandma.jpg"],
        "restore models sh": ["show"],
    }
    script = "restore completion fish | source\n"
    script += "".join(f'echo "{line}"; complete -C "{line}"\n' for line in cases)
    lines = [line.split("\t")[0] for line in in_shell(shell_folder, "fish", script) if line]
    assert lines == [line for typed, offers in cases.items() for line in (typed, *offers)]


def test_zsh(shell_folder: Path) -> None:
    """The script is loaded in an interactive zsh of its own, and the line after Tab is read from the terminal."""
    script = """
        zmodload zsh/zpty
        zpty z zsh -f -i
        typeset shown=""
        until_shown() { local part; repeat 100; do
            zpty -r -t z part && shown+=$part; [[ $shown == *$1* ]] && return; sleep 0.1; done }
        zpty -w z 'autoload -Uz compinit; compinit -u -d zcompdump'
        zpty -w z 'eval "$(restore completion zsh)"; echo do""ne'
        until_shown done
        zpty -n -w z $'restore --model=restoref\\t'
        until_shown ormer
        zpty -n -w z $'\\x15restore gra\\t'
        until_shown ndma.jpg
        zpty -n -w z $'\\x15restore --model gpen-\\t'
        until_shown gpen-2048
        print -r -- "$shown"
    """
    shown = "\n".join(in_shell(shell_folder, "zsh", script))
    assert "ormer" in shown
    assert "ndma.jpg" in shown
    assert "gpen-2048" in shown
    assert "-- selfies" in shown


def test_each_script_says_how_it_is_loaded() -> None:
    assert all(" completion" in script for script in SCRIPTS.values())
