"""`restore serve` as it is typed, and the page as a person uses it."""

from __future__ import annotations

import http.client
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from restorer.errors import MissingPackageError
from tests.conftest import Restore
from tests.server.conftest import picture
from tests.server.test_interface import form
from tests.support.browser import Browser
from tests.support.in_process import restore as run

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a command that begins a server, in a folder; yield the process and the address that it prints."""
    (folder / "tmp").mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "restorer", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "300", "TMPDIR": str(folder / "tmp")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = ""
        while "Interface" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        found = re.search(r"http://\S+token=\S+", said)
        assert found, said
        yield process, found[0]
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def ask(address: str, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    port = int(address.split(":")[2].split("/")[0])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, sent)
    answer = connection.getresponse()
    try:
        return answer.status, answer.read()
    finally:
        connection.close()


def test_serve_restores_saves_and_ends(tmp_path: Path, restore: Restore) -> None:
    (tmp_path / "a.jpg").write_bytes(picture((160, 120), format="JPEG"))
    options = ["--model", "none", "--background", "lanczos", "--offline", "--fallback", "--no-fallback"]
    options += ["--license", "commercial", "--device", "cpu", "--precision", "fp32", "--detector", "retinaface-r50"]
    options += ["--engine", "torch"]
    server = ["serve", "--host", "127.0.0.1", "--port", "0", "--allow-host", "photos.example", "-o", "out"]
    with serving(tmp_path, *server, *options) as (process, address):
        body, kind = form((tmp_path / "a.jpg").read_bytes(), "a.jpg", scale=3, quality=80)
        status, result = ask(address, "POST", "/restore", body, content_type=kind, host="photos.example")
        assert status == 200
        status, told = ask(address, "POST", "/photos", body, content_type=kind)
        job = json.loads(told)
        assert status == 202
        ask(address, "GET", f"/jobs/{job['job']}/events")
        assert ask(address, "POST", f"/jobs/{job['job']}/save")[0] == 200
        assert ask(address, "GET", "/about", host="other.example")[0] == 403
        assert list((tmp_path / "tmp").glob("restore-serve-*"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert list((tmp_path / "tmp").iterdir()) == []
    assert (tmp_path / "out" / "a_restored.jpg").read_bytes() == result
    words = job["command"].split()
    assert words[0] == "restore"
    restore(*words[1:], "--out", "by_command.jpg")
    assert (tmp_path / "by_command.jpg").read_bytes() == result


def test_serve_opens_the_page(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from restorer.server.serving import Server

    shown: list[str] = []
    monkeypatch.setattr("webbrowser.open", shown.append)
    monkeypatch.setattr(Server, "run", lambda _server, on_ready: on_ready())
    said = run(capsys, "serve", "--open", "--port", "0", "--offline").err
    assert shown == re.findall(r"http://\S+token=\S+", said)


def test_wrong_places_are_wrong_usage(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "is a file" in run(capsys, "serve", "-o", str(tmp_path / "file"), code=2).err
    assert "Nothing can listen at 192.0.2.1:0" in run(capsys, "serve", "--host", "192.0.2.1", "--port", "0", code=2).err


def test_without_the_extra_it_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("restorer.server.serving._NEEDED", ("no_such_package", "starlette"))
    done = run(capsys, "serve", "--port", "0", code=MissingPackageError.exit_code)
    assert "needs no_such_package" in done.err
    assert "install no-such-package starlette" in done.err


# ------------------------------------------------------------------------------------------------------- the page


def wait_for(browser: Browser, script: str, what: str) -> Any:
    """Return what a script comes to once that is true."""
    for _ in range(600):
        found = browser.run(script)
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"{what} did not come about: {browser.run('return document.body.innerText')[:2000]}")


def visit(browser: Browser, address: str) -> None:
    browser._call("POST", "/url", {"url": address})
    wait_for(browser, "return document.documentElement.dataset.ready", "the page")


def choose_files(browser: Browser, *paths: Path) -> None:
    from tests.support.browser import ELEMENT

    element = browser.find("#files")[ELEMENT]
    browser._call("POST", f"/element/{element}/value", {"text": "\n".join(str(path) for path in paths)})


SAYS = "return document.querySelector('#panel code').textContent."
DONE = "return !document.querySelector('#strip .state:not(.done)') && document.querySelectorAll('#strip li').length"


def test_a_person_restores_chooses_and_saves(tmp_path: Path, restore: Restore, shared: Path) -> None:
    photo = tmp_path / "family.png"
    with Image.open(shared / "data" / "photos" / "codeformer_whole_00.jpg") as whole:
        whole.convert("RGB").resize((368, 232)).save(photo)  # four men, small enough to be quick
    with (
        serving(tmp_path, "serve", "--port", "0", "--model", "tiny", "--offline", "--out", "out") as (
            _process,
            address,
        ),
        Browser(tmp_path / "browser") as browser,
    ):
        visit(browser, address)
        choose_files(browser, photo)
        wait_for(browser, DONE, "the result")
        faces = browser.run("return document.querySelectorAll('#boxes button').length")
        assert faces >= 3
        wait_for(browser, "return document.querySelector('#after').naturalWidth === 736", "the result's picture")
        # the divider is moved by mouse and by keys
        left, top, right, bottom = browser.place("#divider")
        start = ((left + right) / 2, (top + bottom) / 2)
        browser.drag(start, (start[0] + 150, start[1]))
        moved = int(browser.run("return document.querySelector('#divider').getAttribute('aria-valuenow')"))
        assert moved > 55
        browser.press("left")
        assert int(browser.run("return document.querySelector('#divider').getAttribute('aria-valuenow')")) == moved - 2
        # face 2 is treated otherwise than it was, the others as before; and less of what is restored is blended in
        browser.run("document.querySelector('#boxes button:nth-child(2)').click()")
        assert browser.run("return document.activeElement.id") == "face-2"
        states = "return [...document.querySelectorAll('[id^=face-]')].map(each => each.checked)"
        before = browser.run(states)
        browser.run("document.querySelector('#face-2').click()")
        after = browser.run(states)
        assert [one != other for one, other in zip(before, after, strict=True)] == [k == 1 for k in range(faces)]
        browser.run("const s = document.querySelector('#option-strength'); s.value = 0.6;"
                    "s.dispatchEvent(new Event('input'))")  # fmt: skip
        numbers = ",".join(str(number) for number, restored in enumerate(after, 1) if restored)
        assert numbers
        wanted = f"restore family.png --model tiny --strength 0.6 --faces {numbers} --offline"
        shows = f"return document.querySelector('#panel code').textContent === {json.dumps(wanted)}"
        wait_for(browser, shows, wanted)
        wait_for(browser, DONE, "the second result")
        wait_for(browser, "return document.querySelector('#panel a.main').hasAttribute('href')", "the link to save")
        link = browser.run("return document.querySelector('#panel a.main').getAttribute('href')")
        browser.run("document.querySelector('#panel .last button').click()")
        wait_for(browser, "return document.querySelector('#notices').textContent.includes('family_restored.png')", "it")
        assert browser.complaints() == []
        saved = (tmp_path / "out" / "family_restored.png").read_bytes()
        fetched = browser.run_async(
            f"fetch({json.dumps(link)}).then(a => a.arrayBuffer()).then(b => "
            "crypto.subtle.digest('SHA-256', b)).then(d => arguments[arguments.length - 1]([...new Uint8Array(d)]))"
        )
    import hashlib

    assert bytes(fetched) == hashlib.sha256(saved).digest()
    restore(*wanted.split()[1:])
    assert (tmp_path / "family_restored.png").read_bytes() == saved


@pytest.mark.slow
def test_a_face_in_its_own_way_a_box_and_damage_are_what_the_command_makes(
    tmp_path: Path, restore: Restore, shared: Path
) -> None:
    photo = tmp_path / "family.png"
    with Image.open(shared / "data" / "photos" / "codeformer_whole_00.jpg") as whole:
        whole.convert("RGB").resize((368, 232)).save(photo)
    with (
        serving(tmp_path, "serve", "--port", "0", "--model", "tiny", "--offline", "--out", "out") as (
            _process,
            address,
        ),
        Browser(tmp_path / "browser") as browser,
    ):
        visit(browser, address)
        choose_files(browser, photo)
        wait_for(browser, DONE, "the result")
        wait_for(browser, "return document.querySelector('#after').naturalWidth === 736", "the result's picture")
        # one face gets a strength of its own, and keeps it while another is looked at
        browser.run("document.querySelector('#boxes button:nth-child(1)').click()")
        browser.run("const s = document.querySelector('#own-1-strength'); s.value = 0.4;"
                    "s.dispatchEvent(new Event('input'))")  # fmt: skip
        wait_for(browser, SAYS + "includes('--adjust 1:strength=0.4')", "the face's strength")
        # a box is drawn where nothing was found
        browser.run("document.querySelector('#draw-face').click()")
        left, top, right, _ = browser.place("#sheet")
        unit = (right - left) / 368
        browser.drag((left + 4 * unit, top + 180 * unit), (left + 54 * unit, top + 228 * unit))
        wait_for(browser, SAYS + "includes('--face ')", "the box")
        # what is damaged is painted, and some of it taken away again
        browser.run("document.querySelector('#draw-damage').click()")
        left, top, right, _ = browser.place("#sheet")  # the brushes take some of its room
        unit = (right - left) / 368
        browser.drag((left + 150 * unit, top + 215 * unit), (left + 220 * unit, top + 220 * unit))
        wait_for(browser, SAYS + "includes('--mask family_mask.png')", "the drawing")
        browser.run("document.querySelector('#erase').click()")
        browser.drag((left + 200 * unit, top + 219 * unit), (left + 222 * unit, top + 219 * unit))
        browser.press("escape")
        wait_for(browser, DONE, "the last result")
        ready = "return document.querySelector('#panel a.main').hasAttribute('href')"
        wait_for(browser, ready, "the link to save")
        command = str(browser.run("return document.querySelector('#panel code').textContent"))
        photo_id = browser.run("return document.querySelector('#before').src.split('/')[4]")
        mask = browser.run_async(
            f"fetch('/photos/{photo_id}/mask').then(a => a.arrayBuffer())"
            ".then(b => arguments[arguments.length - 1]([...new Uint8Array(b)]))"
        )
        browser.run("document.querySelector('#panel .last button').click()")
        wait_for(browser, "return document.querySelector('#notices').textContent.includes('family_restored.png')", "it")
        assert browser.complaints() == []
    (tmp_path / "family_mask.png").write_bytes(bytes(mask))
    with Image.open(tmp_path / "family_mask.png") as drawn:
        white = np.asarray(drawn.convert("L")) > 127
        assert drawn.size == (368, 232)
    assert white[216, 160:180].all()
    assert not white[219, 208:218].any()
    restore(*shlex.split(command)[1:])
    assert (tmp_path / "family_restored.png").read_bytes() == (tmp_path / "out" / "family_restored.png").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(("size", "dark"), [((1360, 860), False), ((390, 844), True)])
def test_the_page_fits_phone_and_desk_and_speaks_five_languages(
    tmp_path: Path, size: tuple[int, int], dark: bool
) -> None:
    (tmp_path / "a.png").write_bytes(picture((200, 150)))
    (tmp_path / "b.png").write_bytes(picture((120, 180), seed=1))
    plain = ("serve", "--port", "0", "--model", "none", "--background", "lanczos", "--offline")
    with (
        serving(tmp_path, *plain) as (_process, address),
        Browser(tmp_path / "browser", size, dark=dark, touch=dark) as browser,
    ):
        visit(browser, address)
        choose_files(browser, tmp_path / "a.png", tmp_path / "b.png")
        wait_for(browser, DONE + " === 2", "both results")
        assert browser.run("return document.documentElement.scrollWidth") <= size[0]
        dim = browser.run("return getComputedStyle(document.body).backgroundColor")
        level = np.mean([int(each) for each in re.findall(r"\d+", dim)[:3]])
        assert (level < 100) == dark
        unnamed = [
            node
            for node in browser.tree()
            if not node.get("ignored")
            and node.get("role", {}).get("value") in ("button", "link", "slider", "combobox", "checkbox", "spinbutton")
            and not node.get("name", {}).get("value")
        ]
        assert unnamed == []
        words = set()
        for language in ("de", "es", "fr", "zh", "en"):
            browser.run(
                "const s = document.querySelector('#language'); s.value = arguments[0];"
                "s.dispatchEvent(new Event('change'))",
                language,
            )
            wait_for(browser, f"return document.documentElement.lang === '{language}'", language)
            words.add(browser.run("return document.querySelector('#panel a.main').textContent"))
        assert len(words) == 5
        assert browser.complaints() == []
