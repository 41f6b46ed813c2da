"""Every flag of every command has a test that shows what it does: here is which one, and here are those of a photo."""

from __future__ import annotations

import ast
import importlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer.main
from PIL import Image
from safetensors.torch import save_file

from restorer.cli.commands import COMMANDS
from restorer.evaluation.ageing import photograph
from restorer.models import REGISTRY
from restorer.models.base import CropSpec, FaceArchitecture
from restorer.models.templates import FACEXLIB
from restorer.photo import read_photo
from restorer.pipeline.components import Components
from restorer.weights.table import shipped_file
from tests.pipeline.test_harm import SHARP
from tests.support import golden, standins
from tests.support.hub import Hub
from tests.support.in_process import restore
from tests.support.parts import Colour, Detector, Everything, face_at
from tests.support.weights_tools import hub_of_this_process

Capture = pytest.CaptureFixture[str]
HERE = Path(__file__).parent
HERE_TOO, COMMAND, COMMANDS_TOO = "test_flags.py", "test_command.py", "test_flags_commands.py"
RESUME, FINDING, MODELS, EVALUATE = (
    "../batch/test_resume.py", "../batch/test_discovery.py", "test_models.py", "../evaluation/test_evaluate.py",
)  # fmt: skip

PROVENANCE = "../batch/test_provenance.py"
SEARCHES = "../pipeline/test_searches.py"
SERVE = "../server/test_serve.py"
SIZES = "../pipeline/test_sizes.py"
PRINTS = "../pipeline/test_prints.py"
TRIAL = "../report/test_trial.py"

TESTS: dict[str, dict[str, tuple[str, str]]] = {
    "": {
        "-o/--out": (HERE_TOO, "test_out"),
        "--adjust": ("../pipeline/test_adjusted.py", "test_one_face_in_its_own_way_as_it_is_typed"),
        "--always": (HERE_TOO, "test_always"),
        "--watch": ("test_inbox.py", "test_a_watch_goes_on_until_it_is_asked_to_stop"),
        "--prior": (SEARCHES, "test_what_makes_no_sense_is_wrong_usage"),
        "--variants": (SEARCHES, "test_two_answers_and_how_well_each_agrees"),
        "--steps": (SEARCHES, "test_two_answers_and_how_well_each_agrees"),
        "--preview": (SEARCHES, "test_two_answers_and_how_well_each_agrees"),
        "--time-limit": (SEARCHES, "test_what_makes_no_sense_is_wrong_usage"),
        "--task": ("../pipeline/test_tasks.py", "test_a_wrong_hole_is_wrong_usage_for_the_command"),
        "--hole": ("../pipeline/test_tasks.py", "test_a_wrong_hole_is_wrong_usage_for_the_command"),
        "--scale": (COMMAND, "test_options_may_stand_before_the_photo"),
        "--long-side": (SIZES, "test_a_folder_a_dry_run_a_second_run_and_another_size"),
        "--megapixels": (SIZES, "test_a_plan_is_followed_at_any_size"),
        "--print": (SIZES, "test_photos_through_a_pipe"),
        "--color-strength": ("../upscaling/test_colouring.py", "test_strength_tone_and_colours_of_its_own"),
        "--colorize": (
            "../upscaling/test_colouring.py",
            "test_the_photo_keeps_its_lightness_and_says_that_colours_are_guesses",
        ),
        "--repair": (PRINTS, "test_a_mask_is_filled_and_saved_and_nothing_else_changes"),
        "--mask": (PRINTS, "test_a_mask_is_filled_and_saved_and_nothing_else_changes"),
        "--save-mask": (PRINTS, "test_a_mask_is_filled_and_saved_and_nothing_else_changes"),
        "--split": ("../batch/test_prints.py", "test_each_print_is_a_photo_of_its_own"),
        "--preset": ("test_presets.py", "test_a_run_with_a_preset_does_what_it_sets_and_what_is_typed_wins"),
        "--tone": (PRINTS, "test_the_command_says_what_it_measured_and_did"),
        "--model": (HERE_TOO, "test_model"),
        "--fidelity": (HERE_TOO, "test_fidelity"),
        "--strength": (HERE_TOO, "test_strength"),
        "--faces": (HERE_TOO, "test_faces"),
        "--face": ("../faces/test_outlined.py", "test_the_commands_show_it_restore_it_and_find_it_again"),
        "--min-face": (HERE_TOO, "test_faces"),
        "--max-faces": (HERE_TOO, "test_faces"),
        "--min-score": (HERE_TOO, "test_detector_and_min_score"),
        "--min-likeness": (
            "../faces/test_likeness.py",
            "test_the_command_names_the_face_in_record_verbose_lines_and_report",
        ),
        "--reference": (
            "../pipeline/test_references.py",
            "test_the_command_says_it_in_record_summary_and_report",
        ),
        "--aligned": (COMMAND, "test_the_first_run_downloads_and_the_second_does_not"),
        "--detector": (HERE_TOO, "test_detector_and_min_score"),
        "--background": (HERE_TOO, "test_background_and_tile"),
        "--clean": ("../pipeline/test_cleaning.py", "test_the_command_says_what_it_did_and_finds_it_again"),
        "--tile": (HERE_TOO, "test_background_and_tile"),
        "--format": ("../pipeline/test_peers.py", "test_one_stem_with_two_suffixes_gives_two_outputs"),
        "--quality": (COMMAND, "test_quality_and_metadata_options"),
        "--strip-metadata": (COMMAND, "test_quality_and_metadata_options"),
        "--layers": ("../photo/test_layers.py", "test_the_command_writes_a_tiff_for_any_photo"),
        "--sheet": ("../report/test_sheet.py", "test_the_command_writes_a_page_for_each_photo"),
        "--pages": ("../batch/test_pages.py", "test_each_page_is_a_result_of_its_own"),
        "--name": (COMMAND, "test_globs_names_and_odd_paths"),
        "--open": ("test_viewer.py", "test_open_shows_the_picture_the_report_or_the_folder"),
        "--notify/--no-notify": ("test_viewer.py", "test_a_long_run_is_told_and_may_be_told_not_to"),
        "--overwrite": (COMMAND, "test_a_second_run_skips_what_is_done_and_nothing_else"),
        "--files-from": (FINDING, "test_files_from_a_list_and_from_stdin"),
        "--shard": (FINDING, "test_shards_agree_on_names_and_together_make_one_whole_run"),
        "--cluster": ("../cluster/test_run.py", "test_the_same_files_records_summary_and_journal"),
        "--workers": ("../cluster/test_order.py", "test_options_that_contradict_each_other_are_refused"),
        "--worker-cpus": ("../cluster/test_order.py", "test_options_that_contradict_each_other_are_refused"),
        "--worker-gpus": ("../cluster/test_order.py", "test_options_that_contradict_each_other_are_refused"),
        "--resume/--no-resume": (HERE_TOO, "test_resume"),
        "--retry-failed": (RESUME, "test_failed_photos_are_named_again_and_tried_again_when_asked"),
        "--require-photos": (PROVENANCE.replace("provenance", "servers"), "test_no_photos_can_be_an_error"),
        "--max-time": (PROVENANCE.replace("provenance", "servers"), "test_a_run_ends_when_its_time_is_up_and_goes_on"),
        "--jobs": (
            "../batch/test_jobs.py",
            "test_the_same_bytes_records_and_journal_as_one_by_one_on_sixteen_cores",
        ),
        "--threads": (PROVENANCE.replace("provenance", "servers"), "test_threads"),
        "--report-sample": ("../report/test_sample.py", "test_a_sample_of_a_run_is_a_report"),
        "--log": ("test_watching.py", "test_a_log_tells_of_a_run_also_when_it_is_quiet"),
        "--metrics": ("test_watching.py", "test_figures_tell_new_failures_from_known_ones"),
        "--redo": (PROVENANCE, "test_what_built_in_models_did_is_made_anew_when_better_ones_are_here"),
        "--dry-run": (COMMAND, "test_dry_run_writes_nothing"),
        "--match-color/--no-match-color": (HERE_TOO, "test_match_color"),
        "--grain": (HERE_TOO, "test_grain"),
        "--report": (COMMAND, "test_a_report_is_written_where_the_results_are"),
        "--json": (COMMAND, "test_the_record_has_all_documented_fields"),
        "--device": (HERE_TOO, "test_device_and_precision"),
        "--precision": (HERE_TOO, "test_device_and_precision"),
        "--engine": ("../engine/test_exported.py", "test_the_command_says_which_engine_ran_what"),
        "--batch-size": (HERE_TOO, "test_batch_size"),
        "--low-memory": ("../engine/test_mapped.py", "test_the_command_says_that_it_took_less_memory"),
        "--seed": (HERE_TOO, "test_seed"),
        "--offline": (HERE_TOO, "test_offline"),
        "--license": ("../pipeline/test_licences.py", "test_weights_that_are_named_are_refused_with_the_alternatives"),
        "--fallback/--no-fallback": (
            "../pipeline/test_builtin.py",
            "test_a_quiet_run_says_that_it_falls_back_and_a_strict_one_does_not_fall_back",
        ),
        "-q/--quiet": (HERE_TOO, "test_quiet_and_verbose"),
        "-v/--verbose": (HERE_TOO, "test_quiet_and_verbose"),
        "-V/--version": (COMMAND, "test_version_answers_without_loading_anything"),
    },
    "plan": {
        "-o/--out": ("../batch/test_servers.py", "test_parts_of_a_plan_make_one_whole_run"),
        "--name": ("../batch/test_servers.py", "test_a_run_that_would_name_results_otherwise_is_refused"),
        "--format": ("../batch/test_servers.py", "test_parts_of_a_plan_make_one_whole_run"),
        "--scale": ("../batch/test_servers.py", "test_a_run_that_would_name_results_otherwise_is_refused"),
    },
    "models list": {
        "--all": (MODELS, "test_a_pipe_has_everything_anyhow"),
        "--json": (MODELS, "test_list_as_json"),
    },
    "models show": {"--json": (MODELS, "test_show_says_everything")},
    "models path": {},
    "models pull": {
        "--accept-license": (MODELS, "test_terms_must_be_accepted"),
        "--offline": (COMMANDS_TOO, "test_pull_offline"),
    },
    "models import": {
        "--name": (MODELS, "test_import_under_a_name_and_remove"),
        "--architecture": (COMMANDS_TOO, "test_import_with_what_the_file_does_not_tell"),
        "--argument": (COMMANDS_TOO, "test_import_with_what_the_file_does_not_tell"),
        "-o/--out": (COMMANDS_TOO, "test_import_to_another_place"),
        "--overwrite": (COMMANDS_TOO, "test_import_to_another_place"),
        "--accept-license": (
            "../models/test_dmdnet.py",
            "test_an_import_asks_for_the_terms_that_a_download_asks_for",
        ),
    },
    "models export": {
        "-o/--out": ("../models/test_exporter.py", "test_the_command_exports_the_built_in_upscaler"),
        "--side": ("../models/test_exporter.py", "test_the_command_exports_the_built_in_upscaler"),
        "--overwrite": ("../models/test_exporter.py", "test_the_command_exports_the_built_in_upscaler"),
        "--offline": ("../models/test_exporter.py", "test_the_command_exports_the_built_in_upscaler"),
    },
    "models verify": {},
    "models remove": {"--yes/-y": (COMMANDS_TOO, "test_remove_without_being_asked")},
    "demo": {
        "-o/--out": (COMMANDS_TOO, "test_demo"),
        "--scale": (COMMANDS_TOO, "test_demo"),
        "--seed": (COMMANDS_TOO, "test_demo"),
        "--device": (COMMANDS_TOO, "test_demo"),
        "--overwrite": ("test_demo.py", "test_the_demo_finds_and_restores_the_face"),
        "--json": ("test_demo.py", "test_the_demo_finds_and_restores_the_face"),
    },
    "try": {
        "-o/--out": (TRIAL, "test_nothing_is_overwritten_and_folders_pass_the_sheet_over"),
        "--models": (TRIAL, "test_models_that_are_not_here_are_left_out_by_name"),
        "--strengths": (TRIAL, "test_the_sheet_its_figures_and_commands_that_do_the_same"),
        "--fidelities": (TRIAL, "test_what_makes_no_sense_is_wrong_usage"),
        "--faces": (TRIAL, "test_what_makes_no_sense_is_wrong_usage"),
        "--face": (TRIAL, "test_a_face_that_is_pointed_at_is_the_one_that_is_tried"),
        "--min-face": (TRIAL, "test_its_other_flags_are_those_of_a_restoration"),
        "--offline": (TRIAL, "test_its_other_flags_are_those_of_a_restoration"),
        "--scale": (TRIAL, "test_its_other_flags_are_those_of_a_restoration"),
        "--background": (TRIAL, "test_its_other_flags_are_those_of_a_restoration"),
        "--detector": (TRIAL, "test_its_other_flags_are_those_of_a_restoration"),
        "--min-score": (TRIAL, "test_its_other_flags_are_those_of_a_restoration"),
        "--device": (TRIAL, "test_its_other_flags_are_those_of_a_restoration"),
        "--engine": (TRIAL, "test_its_other_flags_are_those_of_a_restoration"),
        "--precision": (TRIAL, "test_its_other_flags_are_those_of_a_restoration"),
        "--open": (TRIAL, "test_open_shows_the_sheet"),
        "--json": (TRIAL, "test_the_sheet_its_figures_and_commands_that_do_the_same"),
    },
    "faces": {
        "-o/--out": (COMMANDS_TOO, "test_faces_out"),
        "--json": ("test_faces.py", "test_json_draws_nothing_and_says_nothing_unless_a_picture_is_named"),
        "--detector": (COMMANDS_TOO, "test_faces_detector_and_min_score"),
        "--min-score": (COMMANDS_TOO, "test_faces_detector_and_min_score"),
        "--face": ("../faces/test_outlined.py", "test_the_commands_show_it_restore_it_and_find_it_again"),
        "--min-face": ("test_faces.py", "test_faces_below_min_face_are_listed_with_the_reason"),
        "--overwrite": ("test_faces.py", "test_a_drawing_is_drawn_again_and_anything_else_kept"),
        "--device": (COMMANDS_TOO, "test_faces_device_and_offline"),
        "--engine": (COMMANDS_TOO, "test_faces_precision"),
        "--precision": (COMMANDS_TOO, "test_faces_precision"),
        "--offline": (COMMANDS_TOO, "test_faces_device_and_offline"),
    },
    "doctor": {
        "--json": ("test_doctor.py", "test_the_command_prints_checks_and_remedies"),
        "--offline": ("test_doctor.py", "test_offline_reaches_the_checks"),
        "--measure": ("test_engines.py", "test_the_command_measures_a_models_networks"),
        "--model": ("test_engines.py", "test_the_command_measures_a_models_networks"),
    },
    "config": {
        "--json": ("test_config.py", "test_config_shows_each_value_and_where_it_comes_from"),
        "--preset": (
            "test_presets.py",
            "test_ones_own_preset_takes_the_place_of_a_shipped_one_and_config_names_its_file",
        ),
    },
    "completion": {},
    "man": {},
    "train": {
        "--data": (COMMANDS_TOO, "test_train"),
        "-o/--out": (COMMANDS_TOO, "test_train"),
        "--device": (COMMANDS_TOO, "test_train"),
        "--threads": (COMMANDS_TOO, "test_train"),
        "--resume/--no-resume": (COMMANDS_TOO, "test_train"),
        "--until": (COMMANDS_TOO, "test_train"),
        "--time-limit": (COMMANDS_TOO, "test_train_time_limit_and_pack"),
        "--pack": (COMMANDS_TOO, "test_train_time_limit_and_pack"),
    },
    "sample": {
        "--walk": ("../training/test_sampling.py", "test_the_command_writes_a_strip"),
        "-o/--out": (COMMANDS_TOO, "test_sample"),
        "--count": (EVALUATE, "test_samples_are_drawn_by_the_seed"),
        "--truncation": (COMMANDS_TOO, "test_sample"),
        "--seed": (COMMANDS_TOO, "test_sample"),
        "--detector": (COMMANDS_TOO, "test_sample_measured"),
        "--identity-weights": (COMMANDS_TOO, "test_sample_measured"),
        "--neighbours": (EVALUATE, "test_the_built_in_prior_is_measured_by_the_command"),
        "--json": (EVALUATE, "test_the_built_in_prior_is_measured_by_the_command"),
        "--device": (COMMANDS_TOO, "test_sample"),
        "--overwrite": (COMMANDS_TOO, "test_sample"),
        "--offline": (COMMANDS_TOO, "test_sample_and_evaluate_offline"),
    },
    "serve": {
        "--host": (SERVE, "test_serve_restores_saves_and_ends"),
        "--port": (SERVE, "test_serve_restores_saves_and_ends"),
        "-o/--out": (SERVE, "test_serve_restores_saves_and_ends"),
        "--allow-host": (SERVE, "test_serve_restores_saves_and_ends"),
        "--model": (SERVE, "test_serve_restores_saves_and_ends"),
        "--detector": (SERVE, "test_serve_restores_saves_and_ends"),
        "--background": (SERVE, "test_serve_restores_saves_and_ends"),
        "--device": (SERVE, "test_serve_restores_saves_and_ends"),
        "--engine": (SERVE, "test_serve_restores_saves_and_ends"),
        "--precision": (SERVE, "test_serve_restores_saves_and_ends"),
        "--license": (SERVE, "test_serve_restores_saves_and_ends"),
        "--fallback/--no-fallback": (SERVE, "test_serve_restores_saves_and_ends"),
        "--offline": (SERVE, "test_serve_restores_saves_and_ends"),
        "--open": (SERVE, "test_serve_opens_the_page"),
    },
    "evaluate": {
        "--judge": ("../evaluation/test_judge.py", "test_the_command_asks_it_before_anything_is_computed"),
        "--steps": (EVALUATE, "test_searches_are_measured"),
        "--prior": (EVALUATE, "test_searches_are_measured"),
        "--task": (EVALUATE, "test_searches_are_measured"),
        "--size": (EVALUATE, "test_searches_are_measured"),
        "--degrade": (EVALUATE, "test_the_command_prints_the_promised_json"),
        "--kept-by": (COMMANDS_TOO, "test_evaluate"),
        "--by": ("../evaluation/test_groups.py", "test_the_command_gives_figures_by_group"),
        "--limit": (EVALUATE, "test_the_command_prints_the_promised_json"),
        "--seed": (COMMANDS_TOO, "test_evaluate"),
        "--identity-weights": (COMMANDS_TOO, "test_evaluate_with_more_weights"),
        "--detector": (COMMANDS_TOO, "test_evaluate_with_more_weights"),
        "--lpips-weights": (COMMANDS_TOO, "test_evaluate_with_more_weights"),
        "--sheet": (EVALUATE, "test_the_command_prints_the_promised_json"),
        "--json": (EVALUATE, "test_the_command_prints_the_promised_json"),
        "--device": (COMMANDS_TOO, "test_evaluate"),
        "--engine": (COMMANDS_TOO, "test_evaluate"),
        "--precision": (COMMANDS_TOO, "test_evaluate"),
        "--offline": (COMMANDS_TOO, "test_sample_and_evaluate_offline"),
    },
}
"""By command and flag, as the help page spells it: the file and the function that show what it does."""


# ------------------------------------------------------------------------------------------------- the table itself


def tree() -> Iterator[tuple[str, Any]]:
    """Yield every command that can be typed, by its words ("" restores photos), as Typer makes it."""
    for name in ("photos", *COMMANDS):
        command = typer.main.get_command(importlib.import_module(f"restorer.cli.{name}").app)
        subcommands = getattr(command, "commands", None)
        if subcommands:
            yield from ((f"{name} {word}", subcommand) for word, subcommand in subcommands.items())
        else:
            yield ("" if name == "photos" else name), command


def test_the_table_has_exactly_the_flags_of_the_commands() -> None:
    found = {
        words: ["/".join([*each.opts, *each.secondary_opts]) for each in command.params if each.opts[0][0] == "-"]
        for words, command in tree()
    }
    assert {words: sorted(flags) for words, flags in TESTS.items()} == {w: sorted(f) for w, f in found.items()}


ROWS = [(words, flag, *test) for words, flags in TESTS.items() for flag, test in flags.items()]


@pytest.mark.parametrize(
    ("words", "flag", "file", "function"), ROWS, ids=[f"{row[0]} {row[1]}".strip() for row in ROWS]
)
def test_the_test_of_a_flag_types_it(words: str, flag: str, file: str, function: str) -> None:
    """In every spelling, as a word of its own, and with the word of its subcommand."""
    typed = typed_in(HERE / file, function)
    assert set(flag.split("/")) <= typed, f"{file}::{function} does not type {flag}"
    if words:
        assert words.split()[-1] in typed, f"{file}::{function} does not type {words}"


def typed_in(path: Path, function: str) -> set[str]:
    """Return the texts in a test function and its decorators, split at blanks and equals signs, in its code only."""
    (found,) = [
        node
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name == function
    ]
    assert function.startswith("test_")
    if ast.get_docstring(found) is not None:
        del found.body[0]
    texts = [node.value for node in ast.walk(found) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    called = [
        node.func.id for node in ast.walk(found) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    return {word for text in [*texts, *called] for word in re.split(r"[\s=]+", text)}


@pytest.mark.parametrize(("words", "command"), list(tree()), ids=[words for words, _ in tree()])
def test_the_help_page_shows_every_flag(words: str, command: Any, capsys: Capture) -> None:
    page = restore(capsys, *words.split(), "--help").out
    for each in command.params:
        for flag in (*each.opts, *each.secondary_opts) if each.opts[0][0] == "-" else ():
            assert re.search(rf"(?<![\w-]){flag}(?![\w-])", page), flag


# ------------------------------------------------------------------------------------------------- flags of a photo

FACES = [face_at((55, 60), 20), face_at((145, 60), 10)]
COMMON = ("--model", "tiny", "--background", "lanczos", "--offline", "--overwrite")
RED = ("--no-match-color",)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a photo."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.tile(np.array([100, 90, 80], np.uint8), (120, 200, 1))).save("a.png")
    return tmp_path


@pytest.fixture
def painter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Colour:
    """What stands for every model: the command finds two faces in the photo, and paints them red."""
    made = Colour()
    monkeypatch.setattr(Components, "detector", lambda _self: Detector(FACES))
    monkeypatch.setattr(Components, "face_model", lambda _self: made)
    monkeypatch.setattr(Components, "mask", lambda _self: (Everything(), None))
    return made


def pixels(name: str = "out.png") -> np.ndarray:
    return read_photo(Path(name)).pixels.astype(int)


def painted(name: str = "out.png") -> list[bool]:
    """Return which of the faces are red in a result that is twice as large."""
    result = pixels(name)
    middles = [result[120, 110], result[120, 290]]
    return [bool(red > 200 and green < 40) for red, green, _blue in middles]


def test_out(folder: Path, capsys: Capture) -> None:
    plain = ("a.png", "--model", "none", "--background", "lanczos")
    restore(capsys, *plain, "-o", "one.png")
    restore(capsys, *plain, "--out", "two.webp")
    restore(capsys, *plain, "--out", "there")
    assert read_photo(Path("one.png")).format == "PNG"
    assert read_photo(Path("two.webp")).format == "WEBP"
    assert [path.name for path in Path("there").iterdir()] == ["a_restored.png"]


def test_model(painter: Colour, capsys: Capture) -> None:
    restore(capsys, "a.png", "-o", "out.png", "--model", "tiny", "--background", "lanczos", "--offline", *RED)
    assert painted() == [True, True]
    done = restore(capsys, "a.png", "-o", "none.png", "--model", "none", "--background", "lanczos", "--json")
    assert painted("none.png") == [False, False]
    assert json.loads(done.out)["model"] == "none"


def test_faces(painter: Colour, capsys: Capture) -> None:
    shown = {}
    for more in ("--faces 2", "--faces largest", "--faces all", "--min-face 30", "--min-face 10", "--max-faces 1"):
        restore(capsys, "a.png", "-o", "out.png", *COMMON, *RED, *more.split())
        shown[more] = painted()
    assert shown == {
        "--faces 2": [False, True],
        "--faces largest": [True, False],
        "--faces all": [True, True],
        "--min-face 30": [True, False],
        "--min-face 10": [True, True],
        "--max-faces 1": [True, False],
    }


def test_always(painter: Colour, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    face = face_at((SHARP.shape[1] / 2, SHARP.shape[0] / 2), 64.0)
    monkeypatch.setattr(Components, "detector", lambda _self: Detector([face]))
    Image.fromarray(SHARP).save("sharp.png")
    command = ("sharp.png", "--scale", "1", "-o", "out.png", *COMMON, *RED)
    restore(capsys, *command)
    assert np.array_equal(pixels(), SHARP), "a good face is left alone"
    restore(capsys, *command, "--always")
    assert not np.array_equal(pixels(), SHARP)


def test_strength(painter: Colour, capsys: Capture) -> None:
    reds = []
    for strength in ("0", "0.5", "1"):
        restore(capsys, "a.png", "-o", "out.png", *COMMON, *RED, "--strength", strength)
        reds.append(int(pixels()[120, 110, 0]))
    assert reds == [100, 178, 255]


def test_match_color(painter: Colour, capsys: Capture) -> None:
    Path("restore.toml").write_text("match-color = false\n")
    distances = []
    for more in (("--no-match-color",), (), ("--match-color",)):
        restore(capsys, "a.png", "-o", "out.png", *COMMON, *more)
        distances.append(int(np.abs(pixels()[120, 110] - [100, 90, 80]).sum()))
    assert distances[0] == distances[1] == 325  # pure red
    assert distances[2] < 0.6 * 325


def test_grain(painter: Colour, capsys: Capture) -> None:
    noise = np.random.default_rng(0).normal(0, 12, (120, 200, 1))
    Image.fromarray(np.clip(np.array([120, 100, 90]) + noise, 0, 255).astype(np.uint8)).save("a.png")
    spread = []
    for more in ((), ("--grain",)):
        restore(capsys, "a.png", "-o", "out.png", *COMMON, *more)
        spread.append(float(pixels()[110:130, 100:120, 1].std()))
    assert spread[1] > spread[0] + 2


def test_batch_size(painter: Colour, capsys: Capture) -> None:
    restore(capsys, "a.png", "-o", "out.png", *COMMON, "--device", "cpu")
    assert painter.batches == [1, 1]
    restore(capsys, "a.png", "-o", "out.png", *COMMON, "--device", "cpu", "--batch-size", "2")
    assert painter.batches == [1, 1, 2]


def test_quiet_and_verbose(painter: Colour, capsys: Capture) -> None:
    for quiet in ("-q", "--quiet"):
        done = restore(capsys, "a.png", "-o", "out.png", *COMMON, quiet)
        assert (done.out, done.err) == ("", "")
    assert "face 1 at" not in restore(capsys, "a.png", "-o", "out.png", *COMMON).err
    for verbose in ("-v", "--verbose"):
        done = restore(capsys, "a.png", "-o", "out.png", *COMMON, verbose)
        assert "out.png" in done.out
        assert "face 1 at 31, 36, 79, 84, score 0.99: restored" in done.err
        assert "paste" in done.err


def test_resume(folder: Path, capsys: Capture) -> None:
    plain = ("a.png", "--model", "none", "--background", "lanczos")
    restore(capsys, *plain)
    assert "exists already" in restore(capsys, *plain, "--no-resume", code=1).err
    Path("restore.toml").write_text("resume = false\n")
    assert "exists already" in restore(capsys, *plain, code=1).err
    assert "done already" in restore(capsys, *plain, "--resume").out


# ------------------------------------------------------------------------------------- flags that reach a network


@pytest.fixture
def portrait(folder: Path) -> str:
    """A photo of one face."""
    Image.fromarray(photograph()).crop((120, 20, 320, 240)).save("face.png")
    return "face.png"


def test_detector_and_min_score(portrait: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    built_in = shipped_file().parent / "restorer/data/tiny-detector.safetensors"
    Path("own.toml").write_text(standins.table("mine", "tinydetector", built_in, widths=[16, 24, 48, 64, 64], head=48))
    monkeypatch.setenv("RESTORER_WEIGHTS", "own.toml")
    found = {}
    for score in ("0.9", "1"):
        command = (portrait, "-o", "out.png", *COMMON, "--always", "--json")
        done = restore(capsys, *command, "--detector", "mine", "--min-score", score)
        record = json.loads(done.out)
        assert record["detector"] == "mine"
        found[score] = [face["restored"] for face in record["faces"]]
    assert found == {"0.9": [True], "1": []}


def test_background_and_tile(folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    from restorer.models.tinyupscaler import TinyUpscalerArchitecture
    from restorer.networks.tinyupscaler import TinyUpscaler

    overlap = TinyUpscalerArchitecture.overlap
    sides: list[int] = []
    forward = TinyUpscaler.forward

    def seen(network: TinyUpscaler, given: torch.Tensor, factor: int) -> torch.Tensor:
        sides.append(max(given.shape[-2:]))
        return forward(network, given, factor)

    monkeypatch.setattr(TinyUpscaler, "forward", seen)
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (130, 260, 3), np.uint8)).save("noise.png")
    results = []
    for more in (("lanczos",), ("tiny-upscaler",), ("tiny-upscaler", "--tile", "48")):
        sides.clear()
        done = restore(
            capsys, "noise.png", "-o", "out.png", "--model", "none", "--overwrite", "--json", "--background", *more
        )
        results.append((json.loads(done.out)["background"], len(sides), max(sides, default=0), pixels()))
    assert [row[0] for row in results] == ["lanczos", "tiny-upscaler", "tiny-upscaler"]
    assert [row[1] for row in results[:2]] == [0, 1]
    assert results[2][1] > 4
    assert results[2][2] <= 48 + 2 * overlap < results[1][2]
    assert np.abs(results[0][3] - results[1][3]).mean() > 5
    assert np.abs(results[1][3] - results[2][3]).max() <= 3


def test_device_and_precision(portrait: str, capsys: Capture) -> None:
    records = []
    for precision in ("fp32", "bf16"):
        command = (portrait, "-o", f"{precision}.png", *COMMON, "--always", "--json")
        done = restore(capsys, *command, "--device", "cpu", "--precision", precision)
        records.append(json.loads(done.out))
    assert [(record["device"], record["precision"]) for record in records] == [("cpu", "fp32"), ("cpu", "bf16")]
    assert (pixels("fp32.png") != pixels("bf16.png")).any()
    assert "cuda:99" in restore(capsys, portrait, *COMMON, "--device", "cuda:99", code=2).err


def test_seed(folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    golden.Record.read(golden.FOLDER / "gfpgan_clean_64_narrow.json").write(folder / "narrow.pth")
    arguments: dict[str, Any] = {"out_size": 64, "channel_multiplier": 1, "narrow": 0.125}
    Path("own.toml").write_text(standins.table("narrow", "gfpgan", folder / "narrow.pth", **arguments))
    monkeypatch.setenv("RESTORER_WEIGHTS", "own.toml")
    Image.fromarray(photograph()[:64, :64]).save("crop.png")
    common = ("--aligned", "--model", "narrow", "--background", "lanczos", "--precision", "fp32", "--scale", "1")
    for name, more in (("none", ()), ("one", ("--seed", "1")), ("again", ("--seed", "1")), ("two", ("--seed", "2"))):
        restore(capsys, "crop.png", "-o", f"{name}.png", *common, *more)
    assert np.array_equal(pixels("one.png"), pixels("again.png"))
    assert len({pixels(f"{name}.png").tobytes() for name in ("none", "one", "two")}) == 3


class Brightened(FaceArchitecture):
    """Adds as much light as its fidelity says."""

    name = "brightened"
    controls = ("fidelity",)

    def crop(self, arguments: Any) -> CropSpec:
        return CropSpec(64, 64, 64, FACEXLIB)

    def build(self, arguments: Any) -> torch.nn.Module:
        return torch.nn.Conv2d(3, 3, 1)

    def restore(
        self, network: Any, crops: torch.Tensor, *, fidelity: float | None = None, seed: int | None = None
    ) -> torch.Tensor:
        return crops + (0.5 if fidelity is None else fidelity)


def test_fidelity(folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    REGISTRY.add(Brightened())
    try:
        save_file({"weight": torch.zeros(3, 3, 1, 1), "bias": torch.zeros(3)}, folder / "b.safetensors")
        Path("own.toml").write_text(standins.table("bright", "brightened", folder / "b.safetensors"))
        monkeypatch.setenv("RESTORER_WEIGHTS", "own.toml")
        common = ("a.png", "-o", "out.png", "--aligned", "--model", "bright", "--background", "lanczos", "--overwrite")
        reds = []
        for more in ((), ("--fidelity", "0"), ("--fidelity", "1")):
            restore(capsys, *common, *RED, *more)
            reds.append(int(pixels()[120, 200, 0]))
        assert reds == [164, 100, 228]
    finally:
        REGISTRY._architectures.pop("brightened")


def test_offline(folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    data = io.BytesIO()
    torch.save({"weight": torch.zeros(1)}, data)
    with hub_of_this_process(monkeypatch) as hub:
        served(hub, data.getvalue(), folder, monkeypatch)
        arguments = ("a.png", "--model", "none", "--background", "far")
        assert "--offline forbids fetching it" in restore(capsys, *arguments, "--offline", code=3).err
        assert hub.requests == []
        restore(capsys, *arguments, code=3)  # what is fetched is no upscaler
        assert hub.downloads("far.pth") == 1


def served(hub: Hub, data: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the stand-in of the Hub serve the table "far"."""
    (folder / "far.pth").write_bytes(data)
    source = hub.add("owner/repo", "far.pth", data)
    (folder / "far.toml").write_text(standins.table("far", "srvggnet", folder / "far.pth", source))
    monkeypatch.setenv("RESTORER_WEIGHTS", str(folder / "far.toml"))
