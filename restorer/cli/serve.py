"""`restore serve`: a page and an HTTP interface on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from restorer.cli.console import messages, note, say, shown
from restorer.cli.declared import shared
from restorer.cli.paths import out_path
from restorer.cli.settings import Configured, of_presets
from restorer.errors import UsageError
from restorer.options import Options

TOKEN = "RESTORER_TOKEN"
"""The variable of the environment that holds the token for programs, where it is to stay the same."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command(cls=Configured)
def serve(
    host: Annotated[str, typer.Option(help="Where it is reached; 0.0.0.0 = from other machines too.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Its port; 0 = any that is free.")] = 8321,
    open: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="FOLDER", parser=out_path, help="Where the page may save results."),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A name by which it is called too, such as that of a proxy before it."),
    ] = None,
    model: Annotated[str, shared("model", "Face restorer where a request names none.")] = Options.model,
    detector: Annotated[str, shared("detector", "Face detector where a request names none.")] = Options.detector,
    background: Annotated[str, shared("background", "What enlarges, where a request does not say.")] = (
        Options.background
    ),
    device: Annotated[str, shared("device")] = Options.device,
    engine: Annotated[str, shared("engine")] = Options.engine,
    precision: Annotated[str, shared("precision")] = Options.precision,
    license: Annotated[str, shared("license")] = Options.license,
    fallback: Annotated[bool, shared("fallback")] = Options.fallback,
    offline: Annotated[bool, shared("offline")] = Options.offline,
) -> None:
    """Show a page on this machine: drop photos, compare, choose, save. Nothing leaves the machine.

    Programs use the same by HTTP: `curl -F photo=@a.jpg http://127.0.0.1:8321/restore -o b.jpg`; /docs has all of it.
    From other machines every request needs the token that is printed, or that $RESTORER_TOKEN holds.
    """
    from restorer.cli.signals import hear_signals
    from restorer.server.serving import Place, Server, names

    if out is not None and out.exists() and not out.is_dir():
        raise UsageError(f"-o {out} is a file.", "Name a folder.")
    options = Options(
        model=model,
        detector=detector,
        background=background,
        device=device,
        engine=engine,
        precision=precision,
        license=license,
        fallback=fallback,
        offline=offline,
    )
    token = os.environ.get(TOKEN) or None
    place = Place(host, port, names(allow_host or ()), token)
    server = Server(options, place, out=out, presets=of_presets(note), say=say)
    address = server.address()

    def ready() -> None:
        messages.print(shown(f"Open {address}"))
        if place.is_open:
            named = f"that of ${TOKEN}" if token else server.keys.token
            messages.print(shown(f"Token for programs: {named}"))
            note(
                "Other machines reach this server. What they send and get is not encrypted; a proxy with TLS does that."
            )
        messages.print(shown(f"Interface: {server.base}/docs. Ctrl-C ends it, and removes what was sent."))
        if open:
            import webbrowser

            webbrowser.open(address)

    hear_signals()
    try:
        server.run(ready)
    except KeyboardInterrupt:  # what every server is ended by
        messages.print("Ended; what was sent is removed.")
