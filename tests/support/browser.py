"""A headless Chromium, driven through chromedriver's WebDriver protocol with nothing but the standard library.

with Browser(tmp_path) as browser:
    browser.open(page)
    picture = browser.screenshot()
"""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pytest
from PIL import Image

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""The key under which the protocol hands out elements (W3C WebDriver, 12.1)."""
KEYS = {"left": "\ue012", "right": "\ue014", "home": "\ue011", "end": "\ue010", "tab": "\ue004", "enter": "\ue007",
        "up": "\ue013", "down": "\ue015",
        "escape": "\ue00c"}  # fmt: skip


def axe_core() -> str:
    """Return the script of the accessibility checker axe-core; the test that asks is skipped where it is not."""
    places = [Path(os.environ.get("RESTORER_AXE", "node_modules/axe-core/axe.min.js"))]
    places.append(Path(__file__).resolve().parents[2] / "node_modules/axe-core/axe.min.js")
    for place in places:
        if place.is_file():
            return place.read_text(encoding="utf-8")
    pytest.skip("axe-core is not here: `npm install axe-core`, or let $RESTORER_AXE name axe.min.js")


class Browser:
    """A browser with an empty profile of its own; use it as a context manager.

    Args:
        folder: for the profile.
        size: of the window in CSS pixels.
        dark: whether pages are told that the user likes them dark.
        touch: whether it takes itself for a phone.
    """

    def __init__(
        self, folder: Path, size: tuple[int, int] = (1280, 900), *, dark: bool = False, touch: bool = False
    ) -> None:
        self._folder = folder
        self._size = size
        self._dark = dark
        self._touch = touch
        self._session = ""

    def __enter__(self) -> Browser:
        driver, chromium = shutil.which("chromedriver"), shutil.which("chromium") or shutil.which("google-chrome")
        if driver is None or chromium is None:
            pytest.skip("chromium and chromedriver are not installed")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._address = f"http://127.0.0.1:{port}"
        self._driver = subprocess.Popen(
            [driver, f"--port={port}", "--log-level=OFF"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            self._begin(chromium)
        except BaseException:
            self._driver.kill()
            self._driver.wait()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._call("DELETE", "")
        finally:
            self._driver.kill()
            self._driver.wait()

    def _begin(self, chromium: str) -> None:
        arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
        arguments += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
        arguments += ["--disable-dev-shm-usage", "--hide-scrollbars", "--force-color-profile=srgb"]
        arguments += [f"--user-data-dir={self._folder / 'profile'}"]
        options: dict[str, Any] = {"binary": chromium, "args": arguments}
        width, height = self._size
        if self._touch:
            options["mobileEmulation"] = {
                "deviceMetrics": {"width": width, "height": height, "pixelRatio": 2.0, "touch": True}
            }
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        deadline = time.monotonic() + 30
        while True:
            try:
                answer = self._request("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
                break
            except (urllib.error.URLError, ConnectionError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        self._session = f"/session/{answer['sessionId']}"
        if not self._touch:
            self.devtools(
                "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
            )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if self._dark else "light"}
        self.devtools("Emulation.setEmulatedMedia", features=[scheme])

    def _request(self, method: str, path: str, body: object = None) -> Any:
        data = None if method in ("GET", "DELETE") else json.dumps(body or {}).encode()
        request = urllib.request.Request(
            self._address + path, data=data, method=method, headers={"Content-Type": "application/json"}
        )
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with direct.open(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {path}: {error.read().decode()[:2000]}") from error

    def _call(self, method: str, path: str, body: object = None) -> Any:
        return self._request(method, self._session + path, body)

    # ------------------------------------------------------------------------------------------------------- using it

    def open(self, page: Path) -> None:
        """Load a file."""
        self._call("POST", "/url", {"url": page.resolve().as_uri()})

    def run(self, script: str, *arguments: object) -> Any:
        """Run JavaScript, in which `arguments` are given, and return what it returns."""
        return self._call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def run_async(self, script: str) -> Any:
        """Run JavaScript that calls its last argument with the result."""
        return self._call("POST", "/execute/async", {"script": script, "args": []})

    def find(self, selector: str) -> dict[str, str]:
        """Return the first element of a CSS selector, as `run` takes it."""
        found: dict[str, str] = self._call("POST", "/element", {"using": "css selector", "value": selector})
        return found

    def press(self, *keys: str) -> None:
        """Press keys of `KEYS` one after the other, in whatever has the focus."""
        strokes = [{"type": kind, "value": KEYS[key]} for key in keys for kind in ("keyDown", "keyUp")]
        self._call("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]})

    def drag(self, start: tuple[float, float], end: tuple[float, float], *, kind: str = "mouse") -> None:
        """Move a pressed mouse or a finger ("touch") between two points of the window."""
        moves = [
            {"type": "pointerMove", "duration": 0, "x": round(start[0]), "y": round(start[1])},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerMove", "duration": 200, "x": round(end[0]), "y": round(end[1])},
            {"type": "pointerUp", "button": 0},
        ]
        pointer = {"type": "pointer", "id": kind, "parameters": {"pointerType": kind}, "actions": moves}
        self._call("POST", "/actions", {"actions": [pointer]})

    def place(self, selector: str) -> tuple[float, float, float, float]:
        """Return where an element is in the window: left, top, right, bottom in CSS pixels."""
        box = self.run("const r = document.querySelector(arguments[0]).getBoundingClientRect();"
                       "return [r.left, r.top, r.right, r.bottom]", selector)  # fmt: skip
        return box[0], box[1], box[2], box[3]

    def screenshot(self, selector: str | None = None) -> np.ndarray:
        """Return the window, or one element, as (h, w, 3) RGB in device pixels."""
        path = "/screenshot" if selector is None else f"/element/{self.find(selector)[ELEMENT]}/screenshot"
        return _pixels(self._call("GET", path))

    def whole_page(self) -> np.ndarray:
        """Return the page from top to bottom as (h, w, 3) RGB."""
        shot = self.devtools("Page.captureScreenshot", captureBeyondViewport=True)
        return _pixels(shot["data"])

    def tree(self) -> list[dict[str, Any]]:
        """Return the accessibility tree that a screen reader sees, as a list of its nodes."""
        nodes: list[dict[str, Any]] = self.devtools("Accessibility.getFullAXTree")["nodes"]
        return nodes

    def complaints(self) -> list[str]:
        """Return what the console says since the last call."""
        return [entry["message"] for entry in self._call("POST", "/se/log", {"type": "browser"})]

    def devtools(self, command: str, **parameters: object) -> Any:
        """Run a command of Chromium's DevTools protocol."""
        return self._call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})


def _pixels(data: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
