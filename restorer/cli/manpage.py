"""The manual page restore(1), made from the commands themselves; `python -m restorer.cli.manpage > docs/restore.1`.

Options, arguments and their help come from the signatures that the command line is made of, so only what no signature
tells is written here: files, variables, examples. The page is ASCII with roff's own escapes, and uses the requests of
the `man` macros alone, which groff, mandoc and troff know.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from restorer.batch import journal
from restorer.cli import restore_toml as config
from restorer.cli.commands import COMMANDS
from restorer.cli.entries import Entry, entries, groups
from restorer.cli.signatures import functions
from restorer.version import __version__

Lines = Iterator[str]

DESCRIPTION = (
    "`restore` finds the faces in each photo, restores them with a network that knows what faces look like, and puts "
    "them back into the enlarged photo. The photo itself is never changed. Without -o the result stands beside its "
    "photo; it keeps orientation, colour profile, metadata, transparency and 16-bit depth as far as its format can.",
    "An argument that names no command is a photo, a folder or a glob; a photo or folder that is called like a command "
    "is written `./models`. Folders are looked through with all folders in them, and their tree is mirrored in the "
    "output folder. Hidden files, files that are no pictures, and results of earlier runs are passed over.",
    "Weights are downloaded when they are first needed, after a word about their size, and verified before they are "
    "loaded. Where there is no network, the choice `auto` takes the built-in models, and says so; a model that is "
    "named outright is never replaced by another.",
    "A result that exists is skipped when the same photo, options and model made it; any other file in its place is "
    "left alone and makes that photo fail, unless --overwrite is given. One bad photo never stops the others.",
)

FILES = (
    (
        config.FILE,
        "Options that stay: in the working folder, or, for all folders, in the settings folder "
        "(`~/.config/restorer` on Linux, `~/Library/Application Support/restorer` on macOS, `%LOCALAPPDATA%\\restorer` "
        "on Windows). Keys are the long options without their dashes. The working folder's file wins over the other, "
        "and the command line over both; `restore config` shows what is in force.",
    ),
    (
        "weights.toml",
        "Tables of weights of your own, in the settings folder; one of a shipped name takes its place. "
        "`restore models import --name` adds to it.",
    ),
    (
        "~/.cache/restorer",
        "Downloads that do not come from the Hub, what is known of files that were verified, and locks "
        "(`~/Library/Caches/restorer` on macOS, `%LOCALAPPDATA%\\restorer\\Cache` on Windows).",
    ),
    ("~/.cache/huggingface/hub", "Downloads from the Hub, shared with every tool that uses its cache."),
    (
        journal.NAME,
        "The journal of a run over a folder, in the output folder: one JSON line for each photo, by which a later run "
        "knows what is done and what failed. Results tell that themselves too, but for those that hold no metadata.",
    ),
    (
        ".restorer-*.part",
        "A result while it is written. What a killed run has left is removed by the next one in that folder.",
    ),
    ("report.html", "What --report writes: one page without outside resources, beside the results."),
)

ENVIRONMENT = (
    ("RESTORER_CONFIG", "The settings folder."),
    ("RESTORER_CACHE", "The folder in the place of `~/.cache/restorer`."),
    ("RAY_USAGE_STATS_ENABLED", "1 lets Ray tell its makers of a cluster that a run starts; otherwise it does not."),
    ("RESTORER_WEIGHTS", "A weights.toml more, whose tables win over all others."),
    ("RESTORER_TOKEN", "The token by which programs speak to `restore serve`, where it is to stay the same."),
    ("XDG_CONFIG_HOME, XDG_CACHE_HOME", "On Linux, what `~/.config` and `~/.cache` stand for above."),
    ("HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME", "The cache of the Hub: the folder itself, or the one above it."),
    ("HF_ENDPOINT", "The address of the Hub, or of a mirror of it."),
    ("HF_TOKEN", "What to show the Hub where it asks who you are."),
    ("HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE", "1 does what --offline does, for every command."),
    ("HTTP_PROXY, HTTPS_PROXY, NO_PROXY", "Proxies for downloads."),
    ("CUDA_VISIBLE_DEVICES", "Which GPUs there are to choose from; `restore doctor` names those that it hides."),
    ("WORLD_SIZE, RANK, LOCAL_RANK", "Set by torchrun, for `restore train` on several GPUs."),
    ("OMP_NUM_THREADS", "How many threads compute, where it is set; else as many as cores that this process may use."),
    (
        "OMP_WAIT_POLICY, GOMP_SPINCOUNT, KMP_BLOCKTIME",
        "How threads wait for each other: asleep, unless one of these is set (OMP_WAIT_POLICY=active has them spin).",
    ),
    (
        "THP_MEM_ALLOC_ENABLE",
        "Large tensors lie in large pages where Linux has them, unless it is set to 0; those of CodeFormer and GLEAN "
        "do not where the kernel gives free pages back to a host, unless it is set to 1.",
    ),
    (
        "ONEDNN_PRIMITIVE_CACHE_CAPACITY",
        "How many kernels torch keeps for layers of other sizes: 320, or as it is set.",
    ),
    ("NO_COLOR, COLUMNS", "Whether, and how wide, messages are printed in colour."),
    ("TERM, TERM_PROGRAM", "Which terminal it is: `dumb` gets no bar, `dumb` and `linux` no links."),
)

EXIT_STATUS = (
    ("0", "All done. What was done already counts too."),
    ("1", "Some photos failed; each is named. `restore doctor`: something is broken."),
    ("2", "Wrong usage; nothing was done."),
    ("3", "Weights are missing, or are not what they should be."),
    ("4", "No photos were found, with --require-photos."),
    ("124", "The time of --max-time was up, and photos are left; the same command goes on where it was."),
    ("130", "Interrupted. The photo in hand leaves nothing behind; the same command goes on where it was."),
)

EXAMPLES = (
    ("Restore one photo; the result is grandma_restored.jpg beside it, twice as large:", "restore grandma.jpg"),
    ("Eight times as large, into a file of a name of your own:", "restore grandma.jpg --scale 8 -o large.png"),
    (
        "A whole album with a page to look at it; typed again, it does what is new and nothing else:",
        "restore album/ -o restored/ --report",
    ),
    ("Number the faces of a group photo, then restore two of them:", "restore faces group.jpg"),
    ("", "restore group.jpg --faces 1,2 -o group_two.jpg"),
    ("With the built-in model, and without any network:", "restore album/ -o offline/ --model tiny --offline"),
    ("Enlarge only, and look for no faces:", "restore scan.png --model none --background lanczos -o enlarged.png"),
    ("The second of four parts of an album, on the second of four machines:", "restore album/ -o parts/ --shard 2/4"),
    ("Photos that another command names, as records for a program:", "restore --files-from list.txt -o listed/ --json"),
)

SEE_ALSO = (
    "`restore COMMAND --help` shows the options of a command. The guide, the settings, the formats and the models have "
    "pages of their own in the folder docs of the source. What a result says about itself is shown by exiftool(1), and "
    "lists for --files-from are made by find(1)."
)


def page() -> str:
    """Return the manual page as roff source; the names of models are those that are known where this runs."""
    return "\n".join(_page()) + "\n"


def _page() -> Lines:
    yield f'.TH RESTORE 1 "" "restore {__version__}" "User Commands"'
    yield from (".nh", ".ad l")  # no word is divided: an option must be copied as it stands
    yield from (".SH NAME", r"restore \- restore old, small or damaged photographs of people")
    yield ".SH SYNOPSIS"
    yield from (r".B restore", r"[\fIOPTION\fR]... \fIPHOTO\fR...", ".br")
    yield from (r".B restore", r"\fICOMMAND\fR [\fIOPTION\fR]... [\fIARGUMENT\fR]...")
    yield ".SH DESCRIPTION"
    yield from _paragraphs(DESCRIPTION)
    yield ".SH OPTIONS"
    everything = entries(functions("photos")["restore"])
    for entry in everything:
        if not entry.parameter.flags:
            yield from _entry(entry)
    for heading, found in groups(everything).items():
        yield f".SS {_text(heading)}"
        for entry in found:
            yield from _entry(entry)
    yield from _tagged([(_flag("--help"), "Show the options on the terminal. Every command has this.")])
    yield ".SH COMMANDS"
    for name in COMMANDS:
        yield from _command(name)
    for heading, pairs in (("FILES", FILES), ("ENVIRONMENT", ENVIRONMENT), ("EXIT STATUS", EXIT_STATUS)):
        yield f".SH {heading}"
        yield from _tagged((rf"\fB{_escaped(tag)}\fR", text) for tag, text in pairs)
    yield ".SH EXAMPLES"
    for text, line in EXAMPLES:
        yield from _paragraphs([text] if text else [])
        yield from (".PP", ".RS 4", ".nf", _code(line), ".fi", ".RE")
    yield ".SH SEE ALSO"
    yield from _paragraphs([SEE_ALSO])


# ----------------------------------------------------------------------------------------------------- the commands


def commands() -> dict[str, Callable[..., Any]]:
    """Return the function of every command by what is typed for it: "restore", "restore models pull"."""
    found = {"restore": functions("photos")["restore"]}
    for name in COMMANDS:
        own = functions(name)
        if len(own) == 1:
            found[f"restore {name}"] = next(iter(own.values()))
        else:
            found |= {f"restore {name} {below}": function for below, function in own.items()}
    return found


def _command(name: str) -> Lines:
    """Yield the part about one command, and those below it."""
    for typed, function in commands().items():
        if typed.split()[1:2] != [name]:
            continue
        own = entries(function)
        words = [typed, *(["[OPTION]..."] if any(each.parameter.flags for each in own) else [])]
        words += [each.value for each in own if not each.parameter.flags]
        yield f".SS {_text(' '.join(words))}"
        yield from _paragraphs(re.split(r"\n\s*\n", inspect.getdoc(function) or ""))
        for each in own:
            if each.parameter.flags or each.parameter.help:
                yield from _entry(each)


def _entry(entry: Entry) -> Lines:
    """Yield an option or argument as a paragraph with its name as the tag."""
    parameter = entry.parameter
    if parameter.flags:
        tag = ", ".join(_flag(flag) for flag in entry.flags)
        if parameter.takes_value:
            tag += rf" \fI{_escaped(entry.value)}\fR"
    else:
        tag = rf"\fI{_escaped(entry.value)}\fR"
    sentences = [
        parameter.help,
        f"{entry.limits}." if entry.limits else "",
        f"Default: {_default(entry)}." if entry.default else "",
    ]
    yield from _tagged([(tag, " ".join(filter(None, sentences)))])


def _default(entry: Entry) -> str:
    return entry.default if entry.parameter.kind is bool else f"`{entry.default}`"


# ------------------------------------------------------------------------------------------------------------- roff


def _tagged(pairs: Iterable[tuple[str, str]]) -> Lines:
    """Yield a paragraph for each (tag in roff, plain text)."""
    for tag, text in pairs:
        yield from (".TP", tag)
        yield from _sentences(text) if text else [r"\&"]


def _paragraphs(texts: Iterable[str]) -> Lines:
    for text in texts:
        yield ".PP"
        yield from _sentences(" ".join(text.split()))


def _sentences(text: str) -> Lines:
    """Yield a text with each sentence on a line of its own, by which roff knows where they end."""
    for sentence in re.split(r"(?<=[.:;]) (?=[A-Z`])", text):
        yield _text(sentence)


def _text(text: str) -> str:
    """Return a line of text: `code` and options are set in bold."""
    parts = re.split(r"(`[^`]+`|(?<![\w-])--?[a-z][a-z-]*(?![\w=]))", text)
    line = "".join(_code(part.strip("`")) if i % 2 else _escaped(part) for i, part in enumerate(parts))
    return rf"\&{line}" if line.startswith(".") else line


def _flag(flag: str) -> str:
    return rf"\fB{_escaped(flag)}\fR"


def _code(text: str) -> str:
    """Return what is typed as it stands."""
    return rf"\fB{_escaped(text)}\fR"


def _escaped(text: str) -> str:
    r"""Return plain text in which roff finds nothing of its own, in ASCII; names are not divided at a minus."""
    special = {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti", '"': r"\(dq"}
    return "".join(special.get(char, char if char.isascii() else rf"\[u{ord(char):04X}]") for char in text)


if __name__ == "__main__":
    print(page(), end="")
