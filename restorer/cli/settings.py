"""Options out of restore.toml, put under those of the command line."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from typer.core import TyperCommand, TyperGroup

from restorer.cli import declared, presets
from restorer.cli import restore_toml as config
from restorer.cli.plain_values import read_plainly
from restorer.cli.request import PHOTO_OPTIONS
from restorer.cli.signatures import Parameter, parameters
from restorer.errors import RestorerError, UsageError
from restorer.options import Options
from restorer.options import declared as declarations
from restorer.options.sizes import SIZES, both

READ = frozenset({"files-from"})
"""Options of paths that are read; all others are written to."""
OWN = frozenset({"overwrite", "watch", "cluster"})
"""Options that replace files, never end, or send photos elsewhere: a folder's file is anybody's, and sets none."""


def photo_options() -> list[Parameter]:
    """Return the options of `restore PHOTO` that restore.toml may set."""
    return declared.parameters(PHOTO_OPTIONS)


def load(arguments: Sequence[str] = ()) -> dict[str, config.Setting]:
    """Return what the files say, and the preset that they or these arguments name.

    Raises:
        UsageError: a file is wrong, or there is no such preset.
    """
    options = _options()
    return presets.under(config.load(options), options, arguments)


def _options() -> list[config.Option]:
    """Return the options that files may set, as their reader takes them."""
    words = {each.long: each.values for owner in PHOTO_OPTIONS for each in declarations(owner).values()}
    return [
        config.Option(
            each.long,
            each.kind,
            each.many,
            words[each.long],
            each.kind is Path and each.long not in READ,
            each.long in OWN,
        )
        for each in photo_options()
    ]


def of_presets(say: Callable[[str], None]) -> dict[str, dict[str, Any]]:
    """Return what each preset sets of a photo's options, by field; one whose file is wrong is said and left out."""
    options, fields = _options(), {each.long: name for name, each in declarations(Options).items()}
    found: dict[str, dict[str, Any]] = {}
    for name in presets.names():
        try:
            settings = presets.load(name, options)
        except UsageError as error:
            say(f"The preset {name} is left out: {error.message}")
            continue
        found[name] = {fields[long]: setting.value for long, setting in settings.items() if long in fields}
    return found


typed: list[str] = []
"""The arguments of the command that runs, as they were typed."""


class Command(TyperCommand):
    """A command whose values are read as people write them: `@app.command(cls=Command)`."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Say how values are read before the command line is."""
        read_plainly(self.params)
        return super().make_context(info_name, args, parent, **extra)

    def get_help_option(self, ctx: Any) -> Any:
        """Return --help, which is an option like the others."""
        option = super().get_help_option(ctx)
        read_plainly([] if option is None else [option])
        return option


class Group(TyperGroup):
    """A command with commands below it."""

    def get_help_option(self, ctx: Any) -> Any:
        """Return --help, which is an option like the others."""
        option = super().get_help_option(ctx)
        read_plainly([] if option is None else [option])
        return option


class Configured(Command):
    """A command that takes from restore.toml what its command line leaves open: `@app.command(cls=Configured)`.

    Its options that `restore PHOTO` has too, under the same long name, are those that a file may set.
    """

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Read the files before the command line is; not for the help page, which must show whatever they hold."""
        typed[:] = args
        if "--help" not in args and not extra.get("resilient_parsing") and self.callback is not None:
            settings = load(args)
            known = parameters(self.callback)
            overruled = _other_sizes(known, args)
            mine = [each for each in known if each.long in settings and each.name not in overruled]
            extra["default_map"] = {each.name: settings[each.long].value for each in mine}
            extra["obj"] = {each.name: (each.long, settings[each.long]) for each in mine}
        return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; an error about an option names the file that set it."""
        try:
            return super().invoke(ctx)
        except RestorerError as error:
            if error.exit_code == 2:
                raise _with_origin(error, ctx) from error.__cause__
            raise


def _other_sizes(known: Sequence[Parameter], words: Sequence[str]) -> set[str]:
    """Return the options that say how large results are, where another one of them was typed: that one counts.

    Raises:
        UsageError: two of them were typed, even if one has its usual value.
    """
    flags = {flag: each.name for each in known if each.name in SIZES for flag in each.flags}
    before = words[: words.index("--")] if "--" in words else words
    given = dict.fromkeys(flags[flag] for word in before if (flag := word.partition("=")[0]) in flags)
    if len(given) > 1:
        raise both(*list(given)[:2])
    return set(SIZES) - set(given) if given else set()


def _with_origin(error: RestorerError, ctx: Any) -> RestorerError:
    """Return the error with the file in its remedy that set the option which the message speaks of."""
    for name, (long, setting) in (ctx.obj or {}).items():
        source = ctx.get_parameter_source(name)
        if source is None or source.name != "DEFAULT_MAP":
            continue
        if re.search(rf"--{re.escape(long)}(?![\w-])", error.message):
            where = f"{setting.origin} sets {long}."
            error = error.with_remedy(f"{error.remedy} {where}" if error.remedy else where)
    return error
