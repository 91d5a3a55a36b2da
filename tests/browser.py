"""A real browser for tests of the pages, Debian's Chromium driven by Playwright, and a real server in its own process.

Tests skip, and say why, where a browser or the built page cannot be had.
"""

import contextlib
import io
import shutil
import subprocess
import sys
from importlib.resources import files

import numpy as np
import pytest
from PIL import Image as Pillow

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
#: No sandbox: containers run as root. Nothing is fetched in the background. WebGL is drawn by the processor.
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-quic",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
]  # fmt: skip


def needs_browser():
    """The path of a Chromium; the test is skipped where something is missing."""
    pytest.importorskip("playwright", reason="no Playwright: pip install playwright")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("no Chromium: apt-get install chromium")
    if not files("catenary.serve").joinpath("static", "index.html").is_file():
        pytest.skip("the pages are not built: make web")
    return path


@contextlib.contextmanager
def chromium(*more):
    """A browser; `more` are further arguments. One at a time: it keeps an event loop while it is open."""
    path = needs_browser()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=[*ARGUMENTS, *more])
        yield browser
        browser.close()


@contextlib.contextmanager
def opened(browser, url, *, allow=(), init="", **context):
    """A page in a context of its own that may speak with the server of `url` only, and whose scripts may not fail.

    Args:
        browser: From `chromium`.
        url: What is opened.
        allow: Parts of messages on the console that are expected.
        init: A script that runs before the page's own.
        context: Of the browser context: viewport, color_scheme, ...
    """
    place = browser.new_context(**({"viewport": {"width": 1280, "height": 860}} | context))
    place.set_default_timeout(60_000)
    page = place.new_page()
    troubles, asked = [], []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda told: troubles.append(told.text) if told.type == "error" else None)
    page.on("request", lambda request: asked.append(request.url))
    if init:
        page.add_init_script(init)
    page.goto(url)
    page.asked = asked
    yield page
    place.close()
    assert not [one for one in troubles if not any(part in one for part in allow)]
    home = url.split("/", 3)[2]
    assert not [one for one in asked if one.split(":", 1)[0] not in ("blob", "data") and one.split("/", 3)[2] != home]


@contextlib.contextmanager
def served(folder, **models):
    """`catenary serve` as people start it, on a free port; gives its address.

    Args:
        folder: For jobs and results.
        models: Name and place of each model.
    """
    pytest.importorskip("fastapi", reason="no FastAPI: pip install 'catenary[web]'")
    named = [f"{name}={path}" for name, path in models.items()]
    words = ["serve", *named, "--port", "0", "--data", str(folder), "--engine", "torch"]
    process = subprocess.Popen(
        [sys.executable, "-m", "catenary", *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        line = next((text for text in process.stdout if "http://" in text), None)
        assert line, "the server did not start"
        yield next(word for word in line.split() if word.startswith("http://")).rstrip("/.,") + "/"
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


def shot(locator):
    """What an element looks like, ``(h, w, 3)``."""
    return np.asarray(Pillow.open(io.BytesIO(locator.screenshot())).convert("RGB"))


def differ(one, other, more_than=8):
    """Share of the pixels of two pictures that differ."""
    assert one.shape == other.shape
    return float((np.abs(one.astype(int) - other).max(-1) > more_than).mean())
