"""A site with the phone page and tiny models, and a phone that opens it, for tests in a real browser."""

import functools
import http.server
import shutil
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

STATIC = Path(__file__).resolve().parents[1] / "src" / "catenary" / "serve" / "static" / "phone"
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run", "--disable-quic",
]  # fmt: skip
PHONE = {
    "viewport": {"width": 360, "height": 740}, "device_scale_factor": 2, "has_touch": True, "is_mobile": True,
    "locale": "en-GB", "accept_downloads": True,
}  # fmt: skip
DISC = [
    "model.widths=[8,16,32]", "sample.patch=[80,96]", "sample.batch=8", "train.validations=2", "train.lr=0.008",
    "train.precision=fp32", "train.channels_last=on", "predict.engine=onnx", "prepare.size=96", "split.val=0.2",
    "split.test=0.2",
]  # fmt: skip
CLASSES = [
    "model.widths=[8,16]", "prepare.size=48", "sample.patch=[48,48]", "sample.batch=8", "train.validations=1",
    "train.precision=fp32", "train.channels_last=on", "predict.engine=onnx", "split.val=0.4", "split.test=0.1",
]  # fmt: skip


def needs_browser():
    """The browser's program; the test is skipped where there is none, or no built page."""
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    if not (STATIC / "index.html").is_file():
        pytest.skip("the pages are not built: run `make web`")
    found = next((path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("there is no Chromium: on Debian and Ubuntu, apt install chromium")
    return found


def tiny_pipeline(folder):
    """Made-up photos, and a pipeline of tiny models that finds discs in them."""
    from catenary import workflow
    from catenary.workflow.fundus import write_fundus

    photos = write_fundus(folder / "photos", patients=12, size=(192, 224), seed=3)
    disc = workflow.fit(photos / "segmentation", out=folder / "disc", recipe="glaucoma", steps=100, settings=DISC)
    judge = workflow.fit(
        photos / "classes", out=folder / "judge", recipe="glaucoma-detection", steps=20, settings=CLASSES
    )
    joined = workflow.pipeline(
        folder / "screening", disc=disc.path, glaucoma=judge.path, progression=judge.path, margin="0.6"
    )
    return photos, joined.path


class _Quiet(http.server.SimpleHTTPRequestHandler):
    extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | {".wasm": "application/wasm"}

    def log_message(self, *_):
        pass


@contextmanager
def hosted(folder):
    """The address of a folder on a plain static host."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def launcher():
    """Starts browsers, with further arguments; all end with it."""
    program = needs_browser()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        begun = []

        def launch(*arguments):
            begun.append(driver.chromium.launch(executable_path=program, args=[*ARGUMENTS, *arguments]))
            return begun[-1]

        try:
            yield launch
        finally:
            for browser in begun:
                browser.close()


def opened(context, address):
    """The page, once its models are open; errors in it fail the test."""
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.on("pageerror", lambda error: pytest.fail(f"the page broke: {error}"))
    page.goto(address)
    page.wait_for_selector("#choose:not([disabled])")
    return page


def screened(page, photo):
    """Have a photo screened; the result's text."""
    page.set_input_files("#file", photo)
    page.wait_for_selector("#verdict")
    return page.inner_text(".result")


def records(page):
    """What the page keeps on the device."""
    return page.evaluate(
        """() => new Promise((resolve, reject) => {
          const asked = indexedDB.open("catenary-screening");
          asked.onerror = () => reject(asked.error);
          asked.onsuccess = () => {
            const all = asked.result.transaction("results").objectStore("results").getAll();
            all.onsuccess = () => {
              resolve(all.result.map(({ finding, picture }) => ({ ...finding, picture: picture?.size ?? 0 })));
              asked.result.close();
            };
          };
        })"""
    )


def mask_of(finding):
    """The label map of a kept result, from its outlines: 0 background, 1 rim, 2 cup."""
    import numpy as np

    mask = np.zeros((finding["height"], finding["width"]), np.uint8)
    for value, name in ((1, "disc"), (2, "cup")):
        crossings = np.zeros((mask.shape[0], mask.shape[1] + 1), np.int32)
        for line in finding["outlines"][name]:
            points = np.reshape(line, (-1, 2)).astype(int)
            for (x, y), (u, v) in zip(points, np.roll(points, -1, 0), strict=True):
                if x == u:
                    crossings[min(y, v) : max(y, v), x] += 1
        inside = np.cumsum(crossings, 1)[:, :-1] % 2 == 1
        mask[inside] = value
    return mask
