"""What the page offers beside the restoration itself: presets, tries, a box by keys; and that anybody can use it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.server.conftest import BROKEN
from tests.server.test_serve import DONE, SAYS, choose_files, serving, visit, wait_for
from tests.support.browser import Browser, axe_core

OFFERED = "--model tiny --detector tiny-detector --background lanczos --offline"
LAST = "return document.querySelector('#panel a.main').hasAttribute('href')"


@pytest.fixture
def family(tmp_path: Path, shared: Path) -> Path:
    """Four men, small enough to be quick."""
    photo = tmp_path / "family.png"
    with Image.open(shared / "data" / "photos" / "codeformer_whole_00.jpg") as whole:
        whole.convert("RGB").resize((368, 232)).save(photo)
    return photo


def slide(browser: Browser, control: str, value: float) -> None:
    browser.run(
        "const s = document.querySelector(arguments[0]); s.value = arguments[1]; s.dispatchEvent(new Event('input'))",
        control, value,
    )  # fmt: skip


def choose(browser: Browser, control: str, value: str) -> None:
    browser.run(
        "const s = document.querySelector(arguments[0]); s.value = arguments[1]; s.dispatchEvent(new Event('change'))",
        control, value,
    )  # fmt: skip


def test_presets_tries_a_box_by_keys_and_the_strength_of_all_faces(tmp_path: Path, family: Path) -> None:
    with (
        serving(tmp_path, "serve", "--port", "0", *OFFERED.split()) as (_process, address),
        Browser(tmp_path / "browser") as browser,
    ):
        visit(browser, address)
        choose_files(browser, family)
        wait_for(browser, DONE, "the result")
        wait_for(browser, "return document.querySelector('#after').naturalWidth === 736", "the result's picture")
        # all restored faces are blended anew at once, before the whole result with that strength is there
        shown = browser.run("return document.querySelector('#after').src")
        restored = int(browser.run("return document.querySelectorAll('#boxes button:not(.left-alone)').length"))
        assert restored >= 3
        browser.run("window.most = 0; new MutationObserver(() => {"
                    "window.most = Math.max(window.most, document.querySelectorAll('#patches img').length)})"
                    ".observe(document.querySelector('#patches'), {childList: true})")  # fmt: skip
        slide(browser, "#option-strength", 0.3)
        wait_for(browser, f"return window.most === {restored}", "a part for each face")
        assert browser.run("return performance.getEntriesByName('blend').length") >= 1
        wait_for(browser, f"return document.querySelector('#after').src !== {json.dumps(shown)}", "the whole result")
        wait_for(browser, SAYS + "includes('--strength 0.3')", "the strength in the command")
        # a preset sets its options, and takes them back
        names = browser.run("return [...document.querySelectorAll('#preset option')].map(each => each.value)")
        assert {"", "archive", "old-photo"} <= set(names)
        choose(browser, "#preset", "old-photo")
        wanted = "--repair auto --tone auto"
        wait_for(browser, SAYS + f"includes({json.dumps(wanted)})", "the preset in the command")
        assert browser.run("return document.querySelector('#option-tone').value") == "auto"
        choose(browser, "#option-tone", "none")
        wait_for(browser, "return document.querySelector('#preset').value === ''", "the preset is none any more")
        choose(browser, "#preset", "")
        gone = SAYS.replace("return ", "return !") + "includes('--repair')"
        wait_for(browser, gone, "the preset taken back")
        # a box by keys alone
        browser.run("document.querySelector('#draw-face').click()")
        assert browser.run("return document.activeElement.id") == "viewer"
        browser.press("enter", "right", "right", "down")
        assert browser.run("return document.querySelector('#rubber').hidden") is False
        browser.press("escape")
        assert browser.run("return document.querySelector('#rubber').hidden") is True
        browser.run("document.querySelector('#draw-face').click()")
        browser.press("enter", "left")
        browser.run("document.querySelector('#viewer').dispatchEvent(new KeyboardEvent('keydown',"
                    "{key: 'ArrowDown', shiftKey: true, bubbles: true}))")  # fmt: skip
        browser.press("enter")
        wait_for(browser, SAYS + "includes('--face ')", "the box in the command")
        box = str(browser.run(SAYS + "match(/--face (\\d+),(\\d+),(\\d+),(\\d+)/).slice(1).join()"))
        x, y, width, height = map(int, box.split(","))
        assert (width, height) == (46, 50)  # a fifth of the shorter side, and a step of a hundredth of the longer one
        assert abs(x + width / 2 - 180) < 12  # the middle of what was seen, a step to the left of it
        assert 0 <= y <= 232 - height
        # a face in several ways, on one sheet; one is taken for it alone
        browser.run("document.querySelector('#boxes button:nth-child(1)').click()")
        wait_for(browser, DONE, "the result with the box")
        browser.run("document.querySelector('.several').click()")
        assert browser.run("return document.querySelector('#tries').open") is True
        wait_for(browser, "return document.querySelectorAll('#tries-list button').length >= 3", "the tries")
        wait_for(
            browser, "return ![...document.querySelectorAll('#tries img')].some(each => !each.naturalWidth)", "them"
        )
        ends = browser.run("return [...document.querySelectorAll('#tries-list button')].map(each => each.disabled)")
        assert ends[:3] == [True, False, False]  # the photo as it is, then what can be chosen
        browser.run("document.querySelectorAll('#tries-list button')[1].click()")
        assert browser.run("return document.querySelector('#tries').open") is False
        wait_for(browser, SAYS + "includes('--adjust 1:')", "what was chosen in the command")
        wait_for(browser, SAYS + "includes('strength=0.5')", "its strength")
        wait_for(browser, LAST, "the link to save")
        assert browser.complaints() == []


def violations(browser: Browser, axe: str) -> list[Any]:
    """Return what axe-core finds on the page as it is: rule, weight, and one element."""
    browser.run(axe)
    found = browser.run_async("axe.run().then(arguments[0])")
    return [(each["id"], each["impact"], each["nodes"][0]["html"][:200]) for each in found["violations"]]


@pytest.mark.parametrize(
    "dark", [pytest.param(False, id="light"), pytest.param(True, id="dark phone", marks=pytest.mark.slow)]
)
def test_no_violation_of_accessibility_in_any_state(tmp_path: Path, family: Path, dark: bool) -> None:
    axe = axe_core()
    (tmp_path / "broken.png").write_bytes(BROKEN)
    size = (390, 844) if dark else (1360, 860)
    with (
        serving(tmp_path, "serve", "--port", "0", *OFFERED.split()) as (_process, address),
        Browser(tmp_path / "browser", size, dark=dark, touch=dark) as browser,
    ):
        visit(browser, address)
        found = {"empty": violations(browser, axe)}
        choose_files(browser, family)
        wait_for(browser, DONE, "the result")
        found["done"] = violations(browser, axe)
        browser.run("document.querySelector('#boxes button:nth-child(1)').click();"
                    "document.querySelector('#panel details').open = true")  # fmt: skip
        found["a face"] = violations(browser, axe)
        browser.run("document.querySelector('#draw-face').click()")
        found["a box"] = violations(browser, axe)
        browser.run("document.querySelector('#draw-damage').click()")
        found["damage"] = violations(browser, axe)
        browser.press("escape")
        browser.run("document.querySelector('.several').click()")
        wait_for(browser, "return document.querySelectorAll('#tries-list button').length >= 3", "the tries")
        found["tries"] = violations(browser, axe)
        assert browser.run("return document.documentElement.scrollWidth") <= size[0]
        browser.run("document.querySelector('#tries-close').click()")
        choose_files(browser, tmp_path / "broken.png")
        wait_for(browser, "return document.querySelector('#strip .failed')", "the failure")
        browser.run("document.querySelectorAll('#strip .photo')[1].click()")
        found["broken"] = violations(browser, axe)
    assert {state: each for state, each in found.items() if each} == {}
