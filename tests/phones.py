"""A site with the phone page and tiny models, and what a phone that opens it keeps, for tests in a real browser."""

import functools
import http.server
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

STATIC = Path(__file__).resolve().parents[1] / "src" / "catenary" / "serve" / "static" / "phone"
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


def needs_phone_page():
    """Skip where the page is not built."""
    if not (STATIC / "index.html").is_file():
        pytest.skip("the pages are not built: make web")


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


class Host(http.server.SimpleHTTPRequestHandler):
    """A plain static host; with a `token` it guards the models."""

    extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | {".wasm": "application/wasm"}

    def __init__(self, *given, token="", sent=None, **more):
        self.token, self.sent = token, [] if sent is None else sent
        super().__init__(*given, **more)

    def log_message(self, *_):
        pass

    def do_GET(self):
        guarded = self.token and "/models" in self.path
        if guarded and self.headers["Authorization"] != f"Bearer {self.token}":
            self.send_error(401)
        else:
            super().do_GET()

    def copyfile(self, source, outputfile):
        data = source.read()
        self.sent.append(len(data))
        outputfile.write(data)


@contextmanager
def hosted(folder, **more):
    """The address of a folder on a `Host`."""
    handler = functools.partial(Host, directory=folder, **more)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def ready(page):
    """The page, once its models are open."""
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
