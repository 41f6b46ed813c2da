"""What errors say, and to whom: options as they are typed for the command, as keywords for Python."""

from __future__ import annotations

import copy
import inspect
import pickle
import threading
from pathlib import Path
from typing import Any

import pytest

from restorer import Restorer, errors
from restorer.errors import FaceNotRestoredError, PhotoError, RestorerError, command_words, worded
from restorer.options import Options, declared
from restorer.record import Record

KINDS = [
    each
    for each in vars(errors).values()
    if inspect.isclass(each) and issubclass(each, RestorerError) and each is not RestorerError
]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("--scale 0 is too small.", "scale=0 is too small."),
        ("--scale must be a number.", "scale must be a number."),
        ("--min-face 2.5 is wrong; --min-face needs faces.", "min_face=2.5 is wrong; min_face needs faces."),
        ("Use --device auto or --device cuda:1.", 'Use device="auto" or device="cuda:1".'),
        ("Use a smaller --tile, --batch-size or --scale.", "Use a smaller tile, batch_size or scale."),
        ("Without weights: --model none --background lanczos.", 'Without weights: model="none", background="lanczos".'),
        ("Try --background realesrgan-x4.", 'Try background="realesrgan-x4".'),
        ("Use it: --model /a/my net.pth", 'Use it: model="/a/my" net.pth'),
        ("Give crops with --aligned.", "Give crops with aligned=True."),
        ("Use --no-match-color here.", "Use match_color=False here."),
        ("Leave --fidelity out.", "Leave fidelity out."),
        ("chosen by --faces 2,5", 'chosen by faces="2,5"'),
        ("Type `restore models pull tiny --force` -- or not.", "Type `restore models pull tiny --force` -- or not."),
        ("Use --overwrite, or another -o or --name.", "Use overwrite=True, or another name."),
        ("Choose another place with -o.", "Choose another place."),
        ("a file--name.jpg and b --", "a file--name.jpg and b --"),
    ],
)  # fmt: skip
def test_python_reads_options_as_keywords(text: str, wanted: str) -> None:
    assert worded(text) == wanted
    with command_words():
        assert worded(text) == text
        with command_words():
            pass
        assert worded(text) == text
    assert worded(text) == wanted


def test_the_words_hold_for_all_threads() -> None:
    """Photos are read and written by threads of their own."""
    heard: list[str] = []

    def speak() -> None:
        record = Record("a.jpg")
        record.warn("--faces asks")
        heard.extend([PhotoError(None, "--scale 0", "Use --scale 2.").message, *record.warnings])

    with command_words():
        thread = threading.Thread(target=speak)
        thread.start()
        thread.join()
    speak()
    assert heard == ["--scale 0", "--faces asks", "scale=0", "faces asks"]


@pytest.mark.parametrize("name", declared(Options))
def test_no_error_about_an_option_speaks_the_command_line_from_python(name: str) -> None:
    for value in (object(), -5, "no-such-value", 2.5, [], float("nan")):
        given: dict[str, Any] = {"model": "none", "background": "lanczos", name: value}
        try:
            Restorer(**given).restore(b"")
        except RestorerError as error:
            text = f"{error} {error.remedy}"
            assert "--" not in text, text
            assert " -o" not in text, text


@pytest.mark.parametrize("kind", KINDS)
def test_errors_can_be_sent_to_other_processes(kind: type[RestorerError]) -> None:
    make: Any = kind
    first = [] if kind.__init__ is RestorerError.__init__ else ["what it is about"]
    error = make(*first, "What happened.", "Do --scale 2.")
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 - our own
        assert type(other) is kind
        assert vars(other) == vars(error)
        assert (str(other), other.args) == (str(error), error.args)


def test_what_an_error_knows_beyond_its_message_goes_along() -> None:
    error = FaceNotRestoredError(Path("a.jpg"), "Face 2 was not restored.", faces=[2], reasons=["NaN"])
    other = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert (other.path, other.faces, other.reasons, other.kind) == (Path("a.jpg"), (2,), ("NaN",), "FaceNotRestored")


def test_messages_hold_nothing_that_a_terminal_obeys() -> None:
    """A decoder's own words, and a file's name, in errors and warnings: record, screen and page say the same."""
    name = "in/two\nFailed: lines\x1b[2J.png"
    error = PhotoError(name, f"{name} cannot be read: item '\x03\b\u202e' is none.\nSecond line.", f"Look at {name}.")
    assert error.message == (
        "in/two\\nFailed: lines\\x1b[2J.png cannot be read: item '\\x03\\x08\\u202e' is none.\nSecond line."
    )
    record = Record(name)
    record.warn("The profile is called \x9b31m\ud800.")
    record.fail(error)
    assert record.warnings == ["The profile is called \\x9b31m\\ud800."]
    assert (record.error or {})["message"] == error.message
    assert error.path == name, "facts are what they are"
    assert worded("é 日本 \U0001f469\u200d\U0001f467") == "é 日本 \U0001f469\u200d\U0001f467"
