"""The report in a real browser: the slider moves, by mouse, finger and keyboard, and everybody can use it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.support.browser import Browser, axe_core
from tests.support.report_pages import AFTER, BEFORE, failed, page, plain, record

EVIL = '"><img src=x onerror="window.evil=1"><script>window.evil=1;.jpg'
SLIDER = ".compare"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return page(tmp_path_factory.mktemp("page") / "report.html", "a.jpg", EVIL)


@pytest.fixture(scope="module")
def desktop(report: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("desktop")) as browser:
        yield browser


@pytest.fixture(scope="module")
def phone(report: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("phone"), (360, 740), dark=True, touch=True) as browser:
        yield browser


def opened(browser: Browser, report: Path) -> None:
    """Load the page anew, and wait until its first pictures are decoded."""
    browser.open(report)
    browser.run("document.querySelector('.compare').scrollIntoView({block: 'center'})")
    wait_for(lambda: bool(browser.run("return [...document.querySelector('.compare').querySelectorAll('img')]"
                                      ".every(image => image.complete && image.naturalWidth > 0)")))  # fmt: skip


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def share_before(browser: Browser) -> float:
    """Return which share of the slider shows the photo as it was, measured in a screenshot of it."""
    shot = browser.screenshot(SLIDER).astype(int)
    low, high = shot.shape[0] * 7 // 10, shot.shape[0] * 9 // 10  # below the knob and the words
    row = shot[low:high].mean(axis=0)
    before = np.abs(row - BEFORE).max(axis=1) < 25
    after = np.abs(row - AFTER).max(axis=1) < 25
    assert (before | after).mean() > 0.97  # all but the line is one or the other
    edge = int(before.sum())
    assert before[: max(edge - 3, 0)].all()  # before is to the left of the line
    assert after[edge + 8 * shot.shape[1] // 600 + 8 :].all()
    return edge / int(shot.shape[1])


def value_text(browser: Browser) -> str:
    """Return what a screen reader is told about the first slider."""
    sliders = [node for node in browser.tree() if node.get("role", {}).get("value") == "slider"]
    node = sliders[0]
    assert node["name"]["value"] == "How much of a.jpg is shown as it was"
    # Newer versions of Chromium give the number as the tree's "valuetext", whatever the attribute says.
    return str(browser.run(f"return document.querySelector('{SLIDER} input').getAttribute('aria-valuetext')"))


# ------------------------------------------------------------------------------------------------------------ slider


def test_at_first_half_of_each_is_seen(desktop: Browser, report: Path) -> None:
    opened(desktop, report)
    assert share_before(desktop) == pytest.approx(0.5, abs=0.01)


def test_the_keyboard_moves_it_and_a_screen_reader_hears_it(desktop: Browser, report: Path) -> None:
    opened(desktop, report)
    desktop.run("document.querySelector('.compare input').focus({preventScroll: true})")
    desktop.press("home")
    assert share_before(desktop) == 0
    assert value_text(desktop) == "Before 0 %, after 100 %"
    desktop.press("end")
    assert share_before(desktop) > 0.99
    assert value_text(desktop) == "Before 100 %, after 0 %"
    desktop.press(*["left"] * 20)
    assert share_before(desktop) == pytest.approx(0.8, abs=0.02)
    assert value_text(desktop) == "Before 80 %, after 20 %"


def test_the_tab_key_reaches_it_and_the_focus_is_seen(desktop: Browser, report: Path) -> None:
    opened(desktop, report)
    before = desktop.screenshot()
    for _ in range(10):
        desktop.press("tab")
        if desktop.run("return document.activeElement.matches('.compare input')"):
            break
    else:
        pytest.fail("the slider is not reached with Tab")
    desktop.run("document.querySelector('.compare').scrollIntoView({block: 'center'})")
    changed = np.abs(desktop.screenshot().astype(int) - before.astype(int)).max(axis=2) > 60
    assert changed.sum() > 1000


@pytest.mark.parametrize("target", [0.1, 0.75, 0.98])
def test_the_mouse_drags_the_line_to_where_it_is(desktop: Browser, report: Path, target: float) -> None:
    opened(desktop, report)
    left, top, right, bottom = desktop.place(SLIDER)
    y = top + 0.8 * (bottom - top)
    desktop.drag(((left + right) / 2, y), (left + target * (right - left), y))
    assert share_before(desktop) == pytest.approx(target, abs=0.01)


def test_a_click_moves_the_line_there(desktop: Browser, report: Path) -> None:
    opened(desktop, report)
    left, top, right, _ = desktop.place(SLIDER)
    there = (left + 0.2 * (right - left), top + 30)
    desktop.drag(there, there)
    assert share_before(desktop) == pytest.approx(0.2, abs=0.01)


def test_a_finger_moves_it(phone: Browser, report: Path) -> None:
    opened(phone, report)
    left, top, right, bottom = phone.place(SLIDER)
    middle = (top + bottom) / 2
    phone.drag(((left + right) / 2, middle), (left + 0.85 * (right - left), middle), kind="touch")
    assert share_before(phone) == pytest.approx(0.85, abs=0.02)
    tap = (left + 0.3 * (right - left), middle)
    phone.drag(tap, tap, kind="touch")
    assert share_before(phone) == pytest.approx(0.3, abs=0.02)


def test_each_slider_moves_by_itself(desktop: Browser, report: Path) -> None:
    opened(desktop, report)
    desktop.run("document.querySelector('.compare input').focus()")
    desktop.press("home")
    values = desktop.run("return [...document.querySelectorAll('.compare')]"
                         ".map(each => getComputedStyle(each).getPropertyValue('--at'))")  # fmt: skip
    assert values == ["0%", "50%"]


# ------------------------------------------------------------------------------------------------------------ layout


def test_it_is_dark_where_the_user_likes_it_dark(desktop: Browser, phone: Browser, report: Path) -> None:
    for browser, light in ((desktop, True), (phone, False)):
        browser.open(report)
        corner = browser.screenshot()[-3:, :3].mean()
        assert bool(corner > 200) is light
        assert bool(corner < 50) is not light


def test_a_phone_scrolls_in_one_direction_only(phone: Browser, report: Path) -> None:
    opened(phone, report)
    assert phone.run("return document.documentElement.scrollWidth") <= 360
    left, _, right, _ = phone.place(SLIDER)
    assert right - left > 300


def test_a_tall_photo_fits_into_the_window(desktop: Browser, tmp_path: Path) -> None:
    from restorer.report.writer import Report

    tall = Report(tmp_path / "report.html")
    tall.add(record(faces=[]), plain(BEFORE, (100, 300)), plain(AFTER, (600, 1800)))
    opened(desktop, tall.write())
    left, top, right, bottom = desktop.place(SLIDER)
    assert bottom - top <= 900 * 0.86
    assert (bottom - top) / (right - left) == pytest.approx(3, rel=0.01)


def test_without_scripts_both_pictures_stand_side_by_side(tmp_path: Path, report: Path) -> None:
    with Browser(tmp_path) as browser:
        browser.devtools("Emulation.setScriptExecutionDisabled", value=True)
        browser.open(report)

        def seen() -> list[int]:
            shot = browser.screenshot().astype(int)
            return [int((np.abs(shot - colour).max(axis=2) < 25).sum()) for colour in (BEFORE, AFTER)]

        wait_for(lambda: min(seen()) > 50_000)
        before, after = seen()
    assert before == pytest.approx(after, rel=0.1)


# ----------------------------------------------------------------------------------------------- safety and audience


def test_nothing_is_fetched_nothing_complains_and_no_name_runs(desktop: Browser, report: Path) -> None:
    desktop.complaints()
    opened(desktop, report)
    desktop.run("window.scrollTo(0, 1e6)")
    wait_for(lambda: bool(desktop.run("return document.images[document.images.length - 1].complete")))
    fetched = desktop.run("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert [name for name in fetched if not name.startswith("data:")] == []
    assert desktop.complaints() == []
    assert desktop.run("return window.evil === undefined")
    assert EVIL in desktop.run("return document.body.innerText")


def test_a_name_that_gets_past_the_escaping_would_still_not_run(desktop: Browser, tmp_path: Path, report: Path) -> None:
    """The page's own policy is the second wall: scripts put into it by hand do nothing."""
    text = report.read_text().replace(
        "</main>", '<script>window.evil = 1</script><img src="x" onerror="window.evil = 1"></main>'
    )
    (tmp_path / "report.html").write_text(text)
    desktop.open(tmp_path / "report.html")
    assert desktop.run("return window.evil === undefined")
    assert any("Content Security Policy" in line for line in desktop.complaints())


@pytest.fixture(scope="session")
def axe() -> str:
    """The accessibility checker axe-core, which is not part of this repository."""
    return axe_core()


@pytest.mark.parametrize("kind", ["desktop", "phone"])
def test_no_violation_of_accessibility(kind: str, axe: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """axe-core finds nothing at all, on the whole page with everything unfolded and laid out."""
    browser: Browser = request.getfixturevalue(kind)
    from restorer.report.writer import Report

    full = Report(tmp_path / "report.html")
    full.add(record("a.jpg", warnings=["Twice.", "Once."]), plain(BEFORE), plain(AFTER))
    full.add(record("b.jpg", warnings=["Twice."]), plain(BEFORE), plain(AFTER))
    full.add(record("c.jpg", status="skipped", reason="done already"), plain(BEFORE), plain(AFTER))
    full.add(failed("d.jpg"), plain(BEFORE))
    opened(browser, full.write())
    browser.run("document.head.insertAdjacentHTML('beforeend', '<style>.photo{content-visibility:visible}</style>');"
                "for (const each of document.querySelectorAll('details')) each.open = true")  # fmt: skip
    browser.run(axe)
    result = browser.run_async("axe.run().then(arguments[0])")
    assert [(each["id"], each["impact"], each["nodes"][0]["html"]) for each in result["violations"]] == []
    checked = {each["id"] for each in result["passes"]}
    assert {"color-contrast", "image-alt", "label", "heading-order", "region"} <= checked
    # What axe cannot judge by itself: words that stand on a picture. They have a dark ground of their own.
    unsure = [node["html"] for each in result["incomplete"] for node in each["nodes"]]
    assert all(html.startswith('<span class="tag">') for html in unsure)
