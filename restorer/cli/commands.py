"""Which subcommands there are; their modules are imported only when they run."""

COMMANDS = {
    "models": "list, download, verify and import weights",
    "demo": "try it: age a photograph and restore it, without any download",
    "try": "restore one face in several ways, side by side",
    "faces": "number the faces of a photo, for --faces",
    "doctor": "check this machine: versions, devices, folders, weights, network",
    "plan": "list the photos of a long run once, for several machines",
    "serve": "show a page on this machine: drop photos, compare, choose, save",
    "config": "show which options are in force, and where each comes from",
    "completion": "print what lets your shell complete options and names",
    "man": "show the manual page",
    "train": "train a model from a recipe",
    "sample": "draw pictures from a prior",
    "evaluate": "measure a model on degraded pictures whose truth is known",
}
"""Subcommands with one line each for the help page; the module of that name has the typer app of each."""
