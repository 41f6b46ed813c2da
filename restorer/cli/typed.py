"""What a person typed before any command sees it: whether help is asked for, and slips that can be told at once.

Errors of the parser come out in the same plain look as all others: what happened, and what to type.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import typer

from restorer.cli.commands import COMMANDS
from restorer.cli.signatures import Parameter, functions, parameters
from restorer.errors import UsageError
from restorer.formatting import nearest

ParserError: type[Any] = typer.BadParameter.__mro__[2]
"""What the parser raises for anything that it cannot take: click's ClickException, wherever typer keeps it."""

Unanswered = typer.Abort
"""What is raised when a question gets no answer."""
HELP = ("-h", "--help")


def asks_for_help(words: Sequence[str]) -> bool:
    """Tell whether a command is asked for its help page."""
    return any(word in HELP for word in _before_dashes(words))


def show_help(words: Sequence[str]) -> None:
    """Print the help page of a command: of `restore` where none is named.

    Raises:
        UsageError: there is no such command.
    """
    from restorer.cli import help

    named = [word for word in _before_dashes(words) if word not in HELP]
    if not named or named[0].startswith("-"):
        help.show_page("restore", functions("photos")["restore"])
        return
    if named[0] not in COMMANDS:
        raise _unknown("command", named[0], COMMANDS, "restore")
    found = functions(named[0])
    typed = f"restore {named[0]}"
    if len(found) == 1:
        help.show_page(typed, next(iter(found.values())))
    elif len(named) > 1 and not named[1].startswith("-"):
        if named[1] not in found:
            raise _unknown(f"command of {typed}", named[1], found, typed)
        help.show_page(f"{typed} {named[1]}", found[named[1]])
    else:
        help.show_group(typed, f"{COMMANDS[named[0]][:1].upper()}{COMMANDS[named[0]][1:]}.", found)


def is_group(name: str) -> bool:
    """Tell whether there are commands below a command."""
    return len(functions(name)) > 1


def check(name: str, words: Sequence[str]) -> None:
    """Look for slips before anything else is done.

    Args:
        name: the command; "photos" where none is named.
        words: behind it.

    Raises:
        UsageError: a word is nearly a command, or a long option has one dash.
    """
    function = _function(name, words)
    if function is None:
        return
    if name == "photos" and words and _looks_like_a_command(words[0]):
        near = nearest(words[0], (*COMMANDS, "help", "version"))
        if near:
            message = f"{words[0]}: there is no such file or folder, and no such command."
            raise UsageError(message, f"Did you mean `restore {near[0]}`?")
    long = {
        flag[2:]: flag for each in parameters(function) for flag in (*each.flags, *each.negative) if flag[:2] == "--"
    }
    for word in _before_dashes(words):
        slip = re.fullmatch(r"-([a-z][a-z-]+)(=.*)?", word)
        if slip and slip[1] in long:
            raise UsageError(f"{word} is no option.", f"Did you mean {long[slip[1]]}? Long options have two dashes.")


def explained(error: Any, name: str, words: Sequence[str]) -> UsageError:
    """Return what the parser found wrong in plain words, with what to type."""
    function = _function(name, words)
    typed = _typed(name, words)
    known = parameters(function) if function is not None else []
    page = f"`{typed} --help` shows all options."
    kind = type(error).__name__
    param = getattr(error, "param", None)
    if kind == "NoSuchOption":
        given = str(error.option_name)
        flags = [flag for each in known if not each.hidden for flag in (*each.flags, *each.negative)]
        near = nearest(given, flags, 0.7) if given.startswith("--") else []
        hint = f"Did you mean {' or '.join(near[:2])}? " if near else ""
        return UsageError(f"There is no option {given}.", hint + page)
    if kind == "BadOptionUsage":
        option = next((each for each in known if str(error.option_name) in (*each.flags, *each.negative)), None)
        if option is not None and option.takes_value:
            return UsageError(f"{error.option_name} needs a value.", page)
        return UsageError(f"{error.option_name} takes no value.", page)
    if kind == "MissingParameter" and param is not None:
        wanted = getattr(param, "metavar", None) or str(param.name).upper()
        return UsageError(f"{wanted} is missing.", f"Write it as: {typed} {_arguments(known, function)}")
    if kind == "BadParameter" and param is not None:
        flag = max(getattr(param, "opts", None) or [str(param.name)], key=len)
        return UsageError(f"{flag}: {_sentence(str(error.message))}", page)
    extra = re.search(r"unexpected extra argument.*?\((?!s\))(.*)\)", error.format_message())
    if extra:
        return UsageError(f"{extra[1]} is too much for `{typed}`.", f"Quote names with spaces. {page}")
    return UsageError(_sentence(error.format_message()), page)


def _function(name: str, words: Sequence[str]) -> Callable[..., Any] | None:
    """Return the function of a command; None where one below it is not named, or not known.

    Raises:
        UsageError: what is named below it is no command.
    """
    found = functions(name)
    if len(found) == 1:
        return next(iter(found.values()))
    below = next(iter(words), "")
    if below and not below.startswith("-") and below not in found:
        raise _unknown(f"command of restore {name}", below, found, f"restore {name}")
    return found.get(below)


def _typed(name: str, words: Sequence[str]) -> str:
    """Return how a command is typed."""
    if name == "photos":
        return "restore"
    return f"restore {name} {words[0]}" if is_group(name) and words else f"restore {name}"


def _arguments(known: Iterable[Parameter], function: Callable[..., Any] | None) -> str:
    from restorer.cli.entries import entries

    return " ".join(each.value for each in entries(function) if not each.flags) if function is not None else ""


def _unknown(what: str, word: str, names: Iterable[str], typed: str) -> UsageError:
    names = list(names)
    near = nearest(word, names)
    hint = f"Did you mean `{typed} {near[0]}`?" if near else f"There are: {', '.join(names)}."
    return UsageError(f"{word} is no {what}.", hint)


def _looks_like_a_command(word: str) -> bool:
    """Tell whether a word may be a slip of a command: letters alone, and no file's name."""
    return word.isalpha() and not os.path.lexists(word)


def _before_dashes(words: Sequence[str]) -> Sequence[str]:
    """Return the words before "--", behind which nothing is an option."""
    return words[: words.index("--")] if "--" in words else words


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."
