"""`restore man`: the manual page, also where no installation has put it among the system's own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import typer

from restorer.cli.settings import Command
from restorer.errors import UsageError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command(cls=Command)
def man() -> None:
    """Show this page; where the output is no terminal, print it as roff."""
    from restorer.cli import manpage

    page = manpage.page()
    if not sys.stdout.isatty():
        print(page, end="")
        return
    viewer = shutil.which("man")
    if viewer is None:
        raise UsageError(
            "This system has no `man` to show the page with.",
            "`restore --help` and `restore COMMAND --help` say the same; `restore man > restore.1` writes the page.",
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "restore.1"
        path.write_text(page, encoding="ascii")
        code = subprocess.run([viewer, str(path)], check=False).returncode
    raise typer.Exit(1 if code else 0)
