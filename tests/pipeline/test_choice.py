"""What "auto" means, as a table of cases: options, what is missing, photo and device go in, a choice comes out."""

from __future__ import annotations

from typing import Any

import pytest

from restorer import weights
from restorer.errors import UsageError
from restorer.options import Options
from restorer.pipeline.choice import Available, Choice, candidates, choose, plain_run, wanted
from restorer.pipeline.fallbacks import fallback_line, fallback_reasons

SMALL, LARGE = (640, 480), (12_000, 9_000)
GFPGAN, GLEAN, R50, PARSER = "gfpgan-1.4", "glean-128", "retinaface-r50", "parsenet"
TINY, FINDER, ENLARGER = "tiny", "tiny-detector-free", "tiny-upscaler"
GENERAL, X2, X4 = "realesr-general", "realesrgan-x2", "realesrgan-x4"
OFFLINE = weights.Absence("offline", "--offline forbids fetching it")
SILENT = weights.Absence("network", "a host: its name cannot be resolved")
ALL_GONE = (GFPGAN, GLEAN, R50, PARSER, GENERAL, X2, X4)


def chosen(
    given: dict[str, Any],
    missing: tuple[str, ...] = (),
    size: tuple[int, int] = SMALL,
    device: str = "cpu",
    absence: weights.Absence = OFFLINE,
) -> Choice:
    available = Available(weights.tables(), dict.fromkeys(missing, absence))
    return choose(Options(**given), available, size=size, device=device)


@pytest.mark.parametrize(
    ("given", "missing", "size", "device", "expected"),
    [
        ({}, (), SMALL, "cpu", (GFPGAN, R50, PARSER, GENERAL)),
        ({"scale": 7.9}, (), SMALL, "cpu", (GFPGAN, R50, PARSER, GENERAL)),
        ({"scale": 8}, (), SMALL, "cpu", (GLEAN, R50, PARSER, GENERAL)),
        ({"scale": 16}, (), SMALL, "cuda", (GLEAN, R50, PARSER, X4)),
        ({"scale": 2}, (), LARGE, "cuda", (GFPGAN, R50, PARSER, X2)),
        ({"scale": 2.1}, (), SMALL, "mps", (GFPGAN, R50, PARSER, X4)),
        ({}, (), LARGE, "cpu", (GFPGAN, R50, PARSER, "lanczos")),
        ({"scale": 1}, (), SMALL, "cpu", (GFPGAN, R50, PARSER, "lanczos")),
        ({}, ALL_GONE, SMALL, "cpu", (TINY, FINDER, "landmarks", ENLARGER)),
        ({}, ALL_GONE, LARGE, "cpu", (TINY, FINDER, "landmarks", "lanczos")),
        ({}, (GFPGAN,), SMALL, "cpu", (TINY, R50, "landmarks", GENERAL)),
        ({}, (GLEAN,), SMALL, "cpu", (GFPGAN, R50, PARSER, GENERAL)),
        ({}, (R50,), SMALL, "cpu", (GFPGAN, FINDER, PARSER, GENERAL)),
        ({}, (GENERAL,), SMALL, "cpu", (GFPGAN, R50, PARSER, ENLARGER)),
        ({}, (X2,), LARGE, "cuda", (GFPGAN, R50, PARSER, ENLARGER)),
        ({"model": TINY}, (), SMALL, "cpu", (TINY, FINDER, "landmarks", ENLARGER)),
        ({"model": TINY, "detector": R50}, (), SMALL, "cpu", (TINY, R50, "landmarks", ENLARGER)),
        ({"model": TINY, "background": "lanczos"}, (), SMALL, "cuda", (TINY, FINDER, "landmarks", "lanczos")),
        ({"model": GFPGAN}, ALL_GONE, SMALL, "cpu", (GFPGAN, FINDER, PARSER, ENLARGER)),
        ({"detector": "retinaface-mobilenet0.25"}, (), SMALL, "cpu",
         (GFPGAN, "retinaface-mobilenet0.25", PARSER, GENERAL)),
        ({"background": X4}, ALL_GONE, LARGE, "cpu", (TINY, FINDER, "landmarks", X4)),
        ({"model": "none"}, (), SMALL, "cpu", ("none", None, PARSER, GENERAL)),
        ({"aligned": True}, (R50,), SMALL, "cpu", (GFPGAN, None, PARSER, GENERAL)),
    ],
)  # fmt: skip
def test_what_is_chosen(
    given: dict[str, Any],
    missing: tuple[str, ...],
    size: tuple[int, int],
    device: str,
    expected: tuple[str, str | None, str, str],
) -> None:
    found = chosen(given, missing, size, device)
    assert (found.model, found.detector, found.mask, found.background) == expected


GETS = "using the small built-in models; `restore models pull` gets better ones."


def test_one_short_line_whatever_was_replaced_and_the_reasons_apart() -> None:
    for missing in (ALL_GONE, (GFPGAN,), (R50,), (GENERAL,)):
        assert fallback_line(chosen({}, missing).replaced) == f"Offline, as asked for: {GETS}"
        assert fallback_line(chosen({}, missing, absence=SILENT).replaced) == f"No network: {GETS}"
    gone = weights.Absence("source", "no host has it")
    assert fallback_line(chosen({}, (GFPGAN, R50), absence=gone).replaced) == (
        f"gfpgan-1.4 and retinaface-r50 cannot be had (-v says why): {GETS}"
    )
    assert fallback_reasons(chosen({}, ALL_GONE, absence=SILENT).replaced) == [
        f"{wanted}: a host: its name cannot be resolved; {taken} takes its place."
        for wanted, taken in ((GFPGAN, TINY), (R50, FINDER), (GENERAL, ENLARGER))
    ]
    assert chosen({}).replaced == ()
    assert chosen({"model": TINY}, ALL_GONE).replaced == ()
    assert chosen({"model": "none", "background": "lanczos"}, ALL_GONE).replaced == ()


def test_what_a_plain_run_takes() -> None:
    tables = weights.tables()
    assert plain_run(tables, "cpu") == [GFPGAN, R50, PARSER, GENERAL]
    assert plain_run(tables, "cuda") == [GFPGAN, R50, PARSER, X2]
    assert plain_run(tables, "cpu", 8.0) == [GLEAN, R50, PARSER, GENERAL]


def test_why_a_background_was_chosen() -> None:
    assert chosen({}).why == "Background: realesr-general, the one that is quick on a CPU."
    assert "--background realesr-general uses one all the same" in str(chosen({}, size=LARGE).why)
    assert chosen({}, (GENERAL,)).why is None
    assert chosen({"model": TINY}).why is None
    assert chosen({"background": X2}).why is None


def test_without_a_photo_nothing_is_said_of_the_background() -> None:
    found = choose(Options(), Available(weights.tables()))
    assert (found.background, found.why) == (None, None)


def test_what_is_not_decided_is_not_asked_for() -> None:
    class Unread(dict[str, weights.Absence]):
        def get(self, *_arguments: object) -> Any:
            raise AssertionError("nobody needs to know what can be had")

    available = Available(weights.tables(), Unread())
    choose(Options(model=TINY), available)
    choose(Options(model="none", background="lanczos"), available)
    choose(Options(model=GFPGAN, detector=R50), available)
    choose(Options(model=TINY), available, size=SMALL)


def test_candidates_are_those_of_the_scale_and_upscalers_of_any_device() -> None:
    tables = Available(weights.tables()).usable
    assert set(candidates(tables, 2.0)) == {GFPGAN, R50, PARSER, GENERAL, X2, X4, "mobilefacenet"}
    assert GLEAN in candidates(tables, 8.0)


def test_a_role_without_a_table_is_an_error_in_words() -> None:
    with pytest.raises(UsageError, match="face restorer"):
        wanted({}, "face restorer", 2.0)
