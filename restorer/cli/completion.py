"""`restore completion SHELL`: what lets a shell complete subcommands, options, names of models, and photos.

The script of each shell hands the words of the line to `restore completion suggest`, which answers with lines
"VALUE<tab>HELP", and with `:files` where a file may stand. It loads neither torch nor OpenCV.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from restorer import options
from restorer.cli import declared
from restorer.cli.commands import COMMANDS
from restorer.cli.request import PHOTO_OPTIONS
from restorer.cli.settings import Command
from restorer.cli.signatures import Parameter, functions, parameters
from restorer.errors import RestorerError, UsageError
from restorer.options import Option

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

FILES = ":files"

BASH = r"""
# Completion of `restore` for bash. Load it with: eval "$(restore completion bash)"
_restore_completion() {
    local word="${COMP_WORDS[COMP_CWORD]}" line names="" files=""
    while IFS= read -r line; do
        if [ "$line" = ":files" ]; then files=1; else names+="${line%%$'\t'*}"$'\n'; fi
    done < <("$1" completion suggest -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    [ "$word" = "=" ] && word=""
    local IFS=$'\n'
    COMPREPLY=( $names )
    # Where only files may stand, readline completes them itself.
    if [ -n "$files" ] && [ -n "$names" ]; then
        compopt -o filenames 2>/dev/null
        COMPREPLY+=( $(compgen -f -- "$word") )
    elif [ -z "$files" ]; then
        compopt +o default 2>/dev/null
    fi
}
complete -o default -F _restore_completion restore restore-photos
"""

ZSH = r"""
#compdef restore restore-photos
# Completion of `restore` for zsh. Load it with: eval "$(restore completion zsh)", after compinit.
_restore() {
    local line files
    local -a names
    for line in "${(@f)$("${(Q)words[1]}" completion suggest -- "${(@Q)words[2,CURRENT]}" 2>/dev/null)}"; do
        case $line in
            (:files) files=1 ;;
            (?*) names+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}") ;;
        esac
    done
    [[ $PREFIX == --*=* ]] && compset -P '*='
    (( $#names )) && _describe -V restore names
    [[ -n $files ]] && _files
}
if [[ ${funcstack[1]} == _restore ]]; then _restore "$@"; else compdef _restore restore restore-photos; fi
"""

FISH = r"""
# Completion of `restore` for fish. Save it as ~/.config/fish/completions/restore.fish
function __restore_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l start (string match -r -- '^--[^=]+=' "$current")
    for line in ($words[1] completion suggest -- $words[2..-1] "$current" 2>/dev/null)
        if test "$line" = :files
            for file in (__fish_complete_path (string replace -r -- '^--[^=]+=' '' "$current"))
                echo "$start$file"
            end
        else
            echo "$start$line"
        end
    end
end
complete --command restore --command restore-photos --no-files --keep-order --arguments '(__restore_complete)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


@app.command(cls=Command)
def completion(
    shell: Annotated[str, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
    words: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
) -> None:
    """Print the script that lets a shell complete options, names of models, and photos.

    bash: eval "$(restore completion bash)" in ~/.bashrc

    zsh: eval "$(restore completion zsh)" in ~/.zshrc, after compinit

    fish: restore completion fish > ~/.config/fish/completions/restore.fish
    """
    if shell == "suggest":
        try:
            suggestions = suggest(words or [""])
        except RestorerError:  # a broken weights.toml is reported by the run, not in the middle of a line
            suggestions = [ANY_FILE]
        for suggestion in suggestions:
            print(suggestion.line())
        return
    if shell not in SCRIPTS:
        raise UsageError(f"There is no completion for {shell!r}.", f"Use one of: {', '.join(SCRIPTS)}.")
    print(SCRIPTS[shell].strip())


# -------------------------------------------------------------------------------------------------- what may stand


@dataclass(frozen=True)
class Suggestion:
    """A word that may stand at the cursor, with what it means; `:files` stands for any file."""

    word: str
    help: str = ""

    def line(self) -> str:
        """Return it as the shells' scripts read it."""
        meaning = textwrap.shorten(self.help, 90, placeholder=" ...")
        return f"{self.word}\t{meaning}" if meaning else self.word


ANY_FILE = Suggestion(FILES)
WORDS = {"help": "Show the help page of a command.", "version": "Print the version."}
"""First words that are neither a command nor a photo."""
Suggestions = Iterable[Suggestion]


def suggest(words: Sequence[str]) -> list[Suggestion]:
    """Return what may stand in the place of the last word.

    Args:
        words: the line up to the cursor, without `restore`; the last one is what is typed of the word at the cursor.
            An option and its value may be one word with "=", or three, as bash splits them.
    """
    *before, current = _without_equals(words)
    possible = list(_possible(before, current))
    return [each for each in possible if each.word.startswith(current) or each is ANY_FILE]


def _without_equals(words: Sequence[str]) -> list[str]:
    """Return the words with option and value apart, whichever way the shell gave them."""
    apart: list[str] = []
    for i, word in enumerate(words):
        if word == "=":
            if i == len(words) - 1:
                apart.append("")
        elif word.startswith("--") and "=" in word:
            apart += word.split("=", 1)
        else:
            apart.append(word)
    return apart


def _possible(before: list[str], current: str) -> Suggestions:
    """Yield all that fits behind the complete words."""
    if not before:
        if current.startswith("-"):
            yield Suggestion("--version", "Print the version.")
        else:
            yield from (Suggestion(name, text) for name, text in (*COMMANDS.items(), *WORDS.items()))
    if before[:1] == ["help"]:
        yield from _below_help(before[1:])
        return
    if before[:1] == ["version"]:
        return
    name, rest = (before[0], before[1:]) if before and before[0] in COMMANDS else ("photos", before)
    found = functions(name)
    if len(found) > 1:
        below = next((word for word in rest if word in found), None)
        if below is None:
            yield from (Suggestion(each, _first_line(function)) for each, function in found.items())
            return
        name, rest = f"{name} {below}", rest[rest.index(below) + 1 :]
        function = found[below]
    else:
        function = next(iter(found.values()))
    yield from _of_command(name, parameters(function), rest, current)


def _below_help(before: list[str]) -> Suggestions:
    """Yield what `restore help` explains: commands, and the commands below one."""
    if not before:
        yield from (Suggestion(name, text) for name, text in COMMANDS.items())
    elif len(before) == 1 and before[0] in COMMANDS and len(found := functions(before[0])) > 1:
        yield from (Suggestion(each, _first_line(function)) for each, function in found.items())


def _of_command(name: str, known: list[Parameter], before: list[str], current: str) -> Suggestions:
    """Yield what fits behind the words of one command."""
    by_flag = {flag: each for each in known for flag in each.flags}
    position, pending, only_arguments = 0, None, False
    for word in before:
        if pending is not None:
            pending = None
        elif word == "--" and not only_arguments:
            only_arguments = True
        elif word.startswith("-") and word != "-" and not only_arguments:
            option = by_flag.get(word)
            pending = option if option is not None and option.takes_value else None
        else:
            position += 1
    if pending is not None:
        yield from _values(name, pending)
    elif current.startswith("-") and not only_arguments:
        for each in known:
            if not each.hidden:
                yield from (Suggestion(flag, each.help) for flag in (*each.flags, *each.negative) if flag[:2] == "--")
        yield Suggestion("--help", "Show the help page.")
    else:
        arguments = [each for each in known if not each.flags and not each.hidden]
        if arguments and (position < len(arguments) or arguments[-1].many):
            yield from _values(name, arguments[min(position, len(arguments) - 1)])


def _first_line(function: Callable[..., Any]) -> str:
    return (function.__doc__ or "").strip().split("\n")[0]


# ----------------------------------------------------------------------------------------------------------- values


def _values(command: str, parameter: Parameter) -> Suggestions:
    """Yield the values of an option or argument that can be told."""
    option = OPTIONS.get(parameter.long) if parameter.flags else None
    if (command, parameter.long) in NAMED:
        yield from NAMED[command, parameter.long]()
    elif option is not None and (option.values or option.role):
        yield from _declared(option)
    elif parameter.kind is Path or (command, parameter.long) == ("photos", "photos"):
        yield ANY_FILE


def _declared(option: Option) -> Suggestions:
    """Yield the values of an option that says them."""
    yield from (Suggestion(word) for word in option.values)
    yield from (Suggestion(word, meaning) for word, meaning in option.words)
    if option.role in (declared.FORMATS, declared.CLEANERS):
        yield from map(Suggestion, declared.names_of(option.role))
    elif option.role is not None:
        more = ("inpainter",) if option.role == "damage finder" else ()  # --repair takes what fills, too
        yield from _tables(option.role, *more)()
    if option.files:
        yield ANY_FILE


def _tables(*roles: str, files: bool = False) -> Callable[[], Suggestions]:
    """Return what yields the names of weights with one of the roles (none: all), and whether files are values too."""

    def names() -> Suggestions:
        from restorer import weights
        from restorer.models import REGISTRY

        for table in weights.tables().values():
            architecture = REGISTRY.get(table.architecture)
            if not roles or (architecture is not None and architecture.role in roles):
                yield from (Suggestion(each, table.trained_for or "") for each in (table.name, *table.aliases))
        if files:
            yield ANY_FILE

    return names


def _recipes() -> Suggestions:
    from restorer.training.recipe import recipe_names

    yield from map(Suggestion, recipe_names())
    yield ANY_FILE


OPTIONS = {each.long: each for owner in PHOTO_OPTIONS for each in options.declared(owner).values()}
"""What the options of a photo say of their values, by long name; other commands call the same things the same."""

NAMED: dict[tuple[str, str], Callable[[], Suggestions]] = {
    **{("models " + each, "name"): _tables() for each in ("show", "path")},
    **{("models " + each, "names"): _tables() for each in ("pull", "verify", "remove")},
    ("evaluate", "model"): _tables("face restorer", files=True),
    ("sample", "prior"): _tables("prior", files=True),
    ("train", "recipe"): _recipes,
}
"""Names that an option or argument of one command takes."""
