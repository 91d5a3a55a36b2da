"""The phone page in a real browser: photos from file and camera, results, history, languages, no network."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image as Pillow

from browser import chromium, needs_browser, opened
from catenary import workflow
from catenary.phantoms.faults import stranger
from catenary.phantoms.fundus import fundus
from catenary.workflow.screen import open_pipeline
from phones import PHONE, hosted, mask_of, needs_phone_page, ready, records, screened, tiny_pipeline
from serving import until


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    needs_browser()
    needs_phone_page()
    folder = tmp_path_factory.mktemp("phone")
    photos, pipeline = tiny_pipeline(folder)
    workflow.export(pipeline, to="phone-site", out=folder / "site")
    rng = np.random.default_rng(0)
    for kind in ("portrait", "black"):
        Pillow.fromarray(np.moveaxis(stranger(kind, (192, 224), rng), 0, -1)).save(folder / f"{kind}.png")
    return {"folder": folder, "photos": sorted((photos / "classes").glob("*/*.jpg")), "pipeline": pipeline}


@pytest.fixture(scope="module")
def address(made):
    with hosted(made["folder"] / "site") as found:
        yield found


@pytest.fixture(scope="module")
def browser(made):
    """A browser whose camera sees a phantom."""
    photo = fundus(np.random.default_rng(4), (480, 640), aim=0.3).image
    frame, film = made["folder"] / "frame.jpg", made["folder"] / "film.mjpeg"
    Pillow.fromarray(np.moveaxis(photo, 0, -1)).save(frame, quality=95)
    film.write_bytes(frame.read_bytes() * 5)
    with chromium(f"--use-file-for-fake-video-capture={film}") as found:
        yield found


@pytest.fixture
def page(browser, address):
    """The page on a phone, its models open; it speaks with its own host only."""
    with opened(browser, address, allow=("ERR_INTERNET_DISCONNECTED",), **PHONE) as found:
        yield ready(found)


def test_the_page_answers_as_python_does(made, page):
    given = [*made["photos"][::6], made["folder"] / "portrait.png", made["folder"] / "black.png"]
    screener = open_pipeline(made["pipeline"], engine="onnx")
    for photo in given:
        screened(page, photo)
        page.click("#again")
        expected, found = screener(photo), records(page)[-1]
        assert (found["name"], found["stoppedAt"]) == (photo.name, expected.stopped_at)
        assert [one["stage"] for one in found["answers"]] == list(expected.answers)
        for one in found["answers"]:
            its = expected.answers[one["stage"]]
            assert one["probability"] == pytest.approx(float(its.probability[1]), abs=1e-3)
            assert one["positive"] == (its.label == 1)
            assert one["interval"] == (None if its.interval is None else pytest.approx(its.interval, abs=1e-6))
            assert one["likeness"]["flagged"] == its.likeness.flagged
        assert found["vcdr"] == (None if expected.vcdr is None else pytest.approx(expected.vcdr, abs=5e-3))
        if expected.mask is not None:
            mask = mask_of(found)
            for least in (1, 2):
                joined = np.count_nonzero((mask >= least) | (expected.mask >= least))
                assert np.count_nonzero((mask >= least) & (expected.mask >= least)) >= 0.99 * joined
    kept = records(page)
    assert {one["stoppedAt"] for one in kept} == {"", "quality"}
    assert [bool(one["picture"]) for one in kept] == [True] * len(given)
    with page.expect_download() as saved:
        page.click("#export")
    rows = list(csv.DictReader(saved.value.path().read_text("utf-8").splitlines()))
    workflow.screen(made["pipeline"], given, out=made["folder"] / "answers", engine="onnx")
    with (made["folder"] / "answers" / "screening.csv").open(newline="") as file:
        wanted = list(csv.DictReader(file))
    assert list(rows[0]) == list(wanted[0])
    for row, its in zip(rows, wanted, strict=True):
        for column in ("photo", "result", "stopped_at", "reason", "quality", "eye", "glaucoma", "glaucoma_threshold"):
            assert row[column] == its[column], column


def test_it_works_with_the_network_off(made, page):
    assert "without a network" in page.inner_text("#ready")
    page.context.set_offline(True)
    page.reload()
    ready(page)
    assert "Glaucoma" in screened(page, made["photos"][0])
    page.click("#about")
    about = page.inner_text("dialog")
    bundle = json.loads((made["folder"] / "site/models/screening/bundle.json").read_text())
    assert bundle["version"][:12] in about
    assert bundle["stages"][1]["model"]["sha256"][:12] in about


def test_the_history_is_kept_and_deleted(made, page):
    for photo in made["photos"][:2]:
        screened(page, photo)
        page.click("#again")
    page.reload()
    page.wait_for_selector(".history li")
    assert page.locator(".history li").count() == 2
    page.locator(".history .row").last.click()
    assert page.evaluate("document.activeElement.id") == "verdict"
    page.locator(".history .small").first.click()
    until(lambda: page.locator(".history li").count() == 1)
    assert [one["name"] for one in records(page)] == [made["photos"][0].name]
    page.on("dialog", lambda dialog: dialog.accept())
    page.click("#delete-all")
    until(lambda: page.locator(".history li").count() == 0)
    assert records(page) == []


def test_no_answer_says_why_in_each_language(made, page):
    told = {"en": "not a photo of the back of the eye", "tr": "göz dibi fotoğrafı değil", "hi": "फ़ोटो नहीं है"}
    screened(page, made["folder"] / "portrait.png")
    for language, words in told.items():
        page.select_option("#language", language)
        assert words in page.inner_text(".result").lower()
        assert page.evaluate("document.documentElement.lang") == language
    page.reload()
    page.wait_for_selector("#choose:not([disabled])")
    assert page.inner_text("h1") == "आँख की जाँच"
    assert page.locator("#app").evaluate("e => e.scrollWidth") <= 360


def test_a_photo_is_taken_with_the_camera(page):
    page.click("#camera")
    page.wait_for_selector("#hint[data-verdict=good], #hint[data-verdict=usable]")
    page.click("#take:not([disabled])")
    page.wait_for_selector("#verdict")
    (found,) = records(page)
    assert (found["height"], found["width"]) == (480, 640)
    assert found["quality"]["fundus"]
    assert found["stoppedAt"] in ("", "disc")


def test_a_camera_that_is_refused_is_said(page):
    refuse = "async () => { throw new DOMException('', 'NotAllowedError') }"
    page.evaluate(f"() => {{ navigator.mediaDevices.getUserMedia = {refuse} }}")
    page.click("#camera")
    page.wait_for_selector("[role=alert]")
    assert "Allow it in the browser's settings" in page.inner_text("[role=alert]")
    assert page.locator("#choose").is_enabled()


def test_models_that_are_not_what_was_promised_are_thrown_away(made, browser, tmp_path):
    site = shutil.copytree(made["folder"] / "site", tmp_path / "site")
    model = site / "models/screening/disc.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"?")
    with hosted(site) as address, opened(browser, address, **PHONE) as page:
        page.wait_for_selector("[role=alert]")
        assert "its hash is wrong" in page.inner_text("[role=alert]")
        assert page.locator("#choose").is_disabled()
        shutil.copy(made["folder"] / "site/models/screening/disc.onnx", model)
        page.click("[role=alert] button")
        ready(page)


def test_new_models_are_offered(made, browser, tmp_path):
    site = shutil.copytree(made["folder"] / "site", tmp_path / "site")
    with hosted(site) as address, opened(browser, address, **PHONE) as page:
        ready(page)
        for path in (site / "models.json", site / "models/screening/bundle.json"):
            told = json.loads(path.read_text())
            (told[0] if isinstance(told, list) else told)["version"] = "f" * 64
            path.write_text(json.dumps(told))
        page.reload()
        page.click(".notice button")
        page.wait_for_selector(".notice", state="detached")
        page.wait_for_selector("#ready")
        page.click("#about")
        assert "f" * 12 in page.inner_text("dialog")


def page_caches(page):
    return [name for name in page.evaluate("caches.keys()") if name.startswith("catenary-page-")]


def test_a_new_version_of_the_page_is_offered(made, browser, tmp_path):
    site = shutil.copytree(made["folder"] / "site", tmp_path / "site")
    with hosted(site) as address, opened(browser, address, **PHONE) as page:
        ready(page)
        script = site / "sw.js"
        script.write_text(script.read_text().replace('self.VERSION="', 'self.VERSION="new'))
        page.reload()
        page.click(".notice button")
        page.wait_for_selector(".notice", state="detached")
        ready(page)
        # The new version serves before it has thrown the old one's files away.
        until(lambda: [name.startswith("catenary-page-new") for name in page_caches(page)] == [True])


def test_full_storage_is_said_and_the_result_is_shown(made, page):
    full = "() => { throw new DOMException('', 'QuotaExceededError') }"
    page.evaluate(f"() => {{ IDBObjectStore.prototype.add = {full} }}")
    assert "Glaucoma" in screened(page, made["photos"][0])
    assert "storage of this phone is full" in page.inner_text("[role=alert]")


def test_a_guarded_server_is_told_its_code(made, browser, tmp_path):
    with hosted(made["folder"] / "site", token="secret") as address:
        with opened(browser, address, allow=("401",), **PHONE) as page:
            page.fill("#token", "secret")
            page.press("#token", "Enter")
            ready(page)
        with opened(browser, f"{address}#token=secret", **PHONE) as page:
            ready(page)
            assert page.url == address


def test_a_browser_that_cannot_is_told_so(address, browser):
    with opened(browser, address, init="delete window.OffscreenCanvas", **PHONE) as page:
        page.wait_for_selector("[role=alert]")
        assert "OffscreenCanvas" in page.inner_text("[role=alert]")
        assert page.locator("#choose").count() == 0
