"""Runs the `restore` command inside the test's own process: quick, and its parts can be replaced."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from restorer.cli import main


@dataclass(frozen=True)
class Done:
    """How a run of the command ended."""

    code: int
    out: str
    err: str


def restore(capsys: pytest.CaptureFixture[str], *arguments: str, code: int | None = 0) -> Done:
    """Run `restore ARGUMENTS` and return its exit code and what it printed; another code than `code` is a failure."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    out, err = capsys.readouterr()
    done = Done(int(ended.value.code or 0), out, err)
    assert code is None or done.code == code, done.out + done.err
    return done
