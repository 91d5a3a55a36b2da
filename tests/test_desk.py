"""The page at the desk in a real browser, on a real server with tiny networks: each kind of result, what goes wrong."""

import base64
import math
import re
from pathlib import Path

import httpx
import numpy as np
import pytest
import rasterio
import rasterio.windows
from PIL import Image

from browser import chromium, differ, needs_browser, opened, served, shot
from catenary.data.labels import LabelSet
from catenary.io import write_image
from catenary.phantoms.fundus import fundus
from catenary.types import Grid
from catenary.workflow import pipeline
from serving import send as post
from serving import serving, write_model

PHASES = LabelSet(names=("pore", "ceramic", "nickel"))
EYE = LabelSet(names=("background", "rim", "cup"), regions={"disc": (1, 2), "cup": (2,)})
GRADES = LabelSet(names=("background", "no-damage", "destroyed"))
SICK = LabelSet(names=("healthy", "sick"), scope="image")
#: Reads the pixel of a 2D canvas at shares of its width and height.
PIXEL = """([x, y]) => {
  const canvas = document.querySelector(".viewer canvas");
  return [...canvas.getContext("2d").getImageData(x * canvas.width, y * canvas.height, 1, 1).data];
}"""
#: Drops files, given by name and base64, on the first element that a selector finds.
DROP = """([files, target]) => {
  const data = new DataTransfer();
  const bytes = (content) => Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  for (const [name, content] of files) data.items.add(new File([bytes(content)], name));
  const told = { dataTransfer: data, bubbles: true, cancelable: true };
  const place = document.querySelector(target);
  for (const kind of ["dragenter", "dragover", "drop"]) place.dispatchEvent(new DragEvent(kind, told));
}"""
BLIND = """
const own = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, ...more) {
  return kind === "webgl2" ? null : own.call(this, kind, ...more);
};
"""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A photo, one too large to be done at once, a volume, two dates of a city with its buildings, a broken photo."""
    from catenary.workflow.city import write_city

    needs_browser()
    folder = tmp_path_factory.mktemp("inputs")
    rng = np.random.default_rng(3)
    write_image(folder / "eye.png", fundus(rng, (120, 160)).image)
    write_image(folder / "large.png", np.resize(np.arange(256, dtype=np.uint8), (3, 3000, 3000)))
    z, y, x = np.mgrid[-1:1:20j, -1:1:24j, -1:1:28j]
    ball = 60 + 120 * (x**2 + y**2 + z**2 < 0.5) + rng.normal(0, 8, x.shape)
    grid = Grid(spacing=(3.0, 3.0, 3.0), unit="mm")
    write_image(folder / "ball.nii.gz", ball[None].clip(0, 255).astype(np.float32), grid=grid)
    write_city(folder / "city", shape=(200, 260), seed=4)
    (folder / "broken.png").write_bytes((folder / "eye.png").read_bytes()[:900])
    return folder


@pytest.fixture(scope="module")
def address(inputs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    models = {
        "phases": write_model(folder / "phases.safetensors", PHASES, seed=1),
        "eye": write_model(folder / "eye.safetensors", EYE, seed=2),
        "scan": write_model(folder / "scan.safetensors", PHASES, channels=1, rank=3, seed=3),
        "storm": write_model(folder / "storm.safetensors", GRADES, channels=6, seed=4, model__fusion="feature"),
        "sick": write_model(folder / "sick.safetensors", SICK, seed=5, model__name="classifier", prepare__size=32),
    }
    models["screen"] = pipeline(folder / "screen", disc=models["eye"], glaucoma=models["sick"], quality="off").path
    with served(tmp_path_factory.mktemp("served"), **models) as url:
        yield url


@pytest.fixture(scope="module")
def answered(address, inputs):
    """The server's address, when it has answered a job of each kind."""
    asked = {
        "phases": {"image": "eye.png"},
        "scan": {"image": "ball.nii.gz"},
        "storm": {"image": "city/pre.tif", "post": "city/post.tif", "footprints": "city/buildings.gpkg"},
        "sick": {"image": "eye.png"},
    }
    for model, files in asked.items():
        sent = [(field, (Path(name).name, (inputs / name).read_bytes())) for field, name in files.items()]
        done = httpx.post(f"{address.rstrip('/')}/api/jobs?wait=60", data={"model": model}, files=sent, timeout=90)
        assert done.json().get("status") == "done", done.text
    return address


@pytest.fixture(scope="module")
def browser(inputs):
    with chromium() as one:
        yield one


@pytest.fixture
def page(browser, address):
    with opened(browser, address, allow=("status of 4",)) as one:
        one.wait_for_selector(".drop")
        yield one


def send(page, model, *paths):
    page.select_option("#model", model)
    page.set_input_files("#files", [str(path) for path in paths])


def drop(page, target, *paths):
    files = [[path.name, base64.b64encode(path.read_bytes()).decode()] for path in paths]
    page.evaluate(DROP, [files, target])


def pixel(page, x=0.5, y=0.5):
    page.wait_for_timeout(60)  # the next frame
    return page.evaluate(PIXEL, [x, y])


def slide(page, label, value):
    page.get_by_role("slider", name=label, exact=True).evaluate(
        "(input, value) => { input.value = value; input.dispatchEvent(new Event('input', { bubbles: true })); }", value
    )


def sideways(page):
    return page.evaluate("document.documentElement.scrollWidth > innerWidth")


def test_a_photo_with_threshold_switch_swipe_and_zoom(page, inputs):
    send(page, "phases", inputs / "eye.png")
    page.wait_for_selector(".viewer canvas")
    shares = page.locator(".class .share")
    assert all(re.fullmatch(r"\d+\.\d %", text) for text in shares.all_inner_texts())
    own = pixel(page)
    # p >= 0 is every pixel, p >= 1 none
    slide(page, "Threshold of ceramic", 0)
    covered = pixel(page)
    assert shares.first.inner_text() == "100.0 %"
    slide(page, "Threshold of ceramic", 1)
    bare = pixel(page)
    assert shares.first.inner_text() == "0.0 %"
    assert covered != bare
    slide(page, "Threshold of ceramic", 0)
    page.get_by_label("ceramic").first.uncheck()
    assert pixel(page) == bare
    page.get_by_label("ceramic").first.check()
    slide(page, "Opacity", 0)
    assert pixel(page) == bare
    slide(page, "Opacity", 1)
    assert pixel(page) == [230, 159, 0, 255]
    page.get_by_label("Swipe").check()
    assert pixel(page, 0.7) == [230, 159, 0, 255]
    assert pixel(page, 0.3) != [230, 159, 0, 255]
    page.locator(".grip:visible").focus()
    page.keyboard.press("Home")
    assert pixel(page, 0.3) == [230, 159, 0, 255]
    page.keyboard.press("End")
    assert pixel(page, 0.7) != [230, 159, 0, 255]
    page.get_by_role("radio", name="Whole").check()
    slide(page, "Opacity", 0.5)
    page.get_by_role("button", name="Back to the model's own").click()
    assert pixel(page) == own
    canvas = page.locator(".viewer canvas")
    canvas.hover()
    assert re.search(r"x \d+, y \d+\n.*\np\(ceramic\) 0\.\d\d", page.locator(".readout").inner_text())
    before = shot(canvas)
    page.mouse.wheel(0, -400)
    page.wait_for_timeout(100)
    assert differ(before, shot(canvas)) > 0.2
    with page.expect_download() as got:
        page.get_by_role("button", name="Download mask.png").click()
    assert Path(got.value.path()).read_bytes()[1:4] == b"PNG"
    with page.expect_download() as got:
        page.get_by_role("button", name="Download all as zip").click()
    assert got.value.suggested_filename == "eye.zip"


def test_files_are_dropped_on_the_page(page, inputs):
    page.select_option("#model", "phases")
    page.evaluate("document.querySelector('.drop').addEventListener('drop', () => (window.marked = true))")
    drop(page, ".drop", inputs / "eye.png")
    page.wait_for_selector(".viewer canvas")
    first = page.url
    assert page.evaluate("window.marked")
    drop(page, ".stage", inputs / "eye.png", inputs / "eye.png")  # beside the marked place, it counts, too
    page.wait_for_function("first => location.href !== first", arg=first)
    page.wait_for_selector(".viewer canvas")
    jobs = page.request.get(page.url.partition("#")[0] + "api/jobs").json()["jobs"]
    assert [one["name"] for one in jobs[:3]] == ["eye.png"] * 3


def test_two_fingers_zoom(browser, answered):
    with opened(browser, answered, has_touch=True, viewport={"width": 400, "height": 800}) as page:
        page.wait_for_selector(".entry")
        page.locator(".entry", has_text="phases").first.get_by_role("button").first.click()
        page.wait_for_selector(".viewer canvas")
        slide(page, "Opacity", 0)
        page.locator(".viewer canvas").scroll_into_view_if_needed()
        page.wait_for_timeout(200)
        whole = shot(page.locator(".viewer canvas"))
        box = page.locator(".viewer canvas").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        wire = page.context.new_cdp_session(page)

        def touch(kind, *offsets):
            points = [{"x": x + offset, "y": y, "id": number} for number, offset in enumerate(offsets)]
            wire.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        touch("touchStart", -20, 20)
        for apart in (30, 40, 60, 80):
            touch("touchMove", -apart, apart)
        touch("touchEnd")
        page.wait_for_timeout(200)
        near = shot(page.locator(".viewer canvas"))
        assert differ(whole, near) > 0.2
        # four times as near: what was an eighth of the width from the middle is half of it away
        height, width = whole.shape[:2]
        part = np.asarray(Image.fromarray(whole).resize((4 * width, 4 * height), Image.Resampling.NEAREST))
        top, left = (4 * height - height) // 2, (4 * width - width) // 2
        part = part[top : top + height, left : left + width]
        middle = np.s_[height // 4 : 3 * height // 4, width // 8 : 3 * width // 4]  # without the buttons
        assert np.abs(part[middle].astype(int) - near[middle]).mean() < 5
        page.get_by_role("button", name="Show the whole image").tap()
        page.wait_for_timeout(200)
        assert differ(whole, shot(page.locator(".viewer canvas"))) < 0.01


def test_two_pictures_of_a_place_are_swiped(page, inputs, tmp_path):
    """Pictures without a place on the earth: the earlier one left of the edge, the later one right of it."""
    pre = np.full((3, 90, 120), 40, np.uint8)
    pre[:, 45:] = 200
    write_image(tmp_path / "pre.png", pre)
    write_image(tmp_path / "post.png", pre[:, ::-1])
    send(page, "storm", tmp_path / "post.png", tmp_path / "pre.png")
    page.wait_for_selector(".viewer canvas")
    slide(page, "Opacity", 0)

    def bright():
        return [pixel(page, x, 0.4)[0] > 128 for x in (0.3, 0.7)]

    assert bright() == [True, True]
    page.get_by_role("radio", name="Before").check(force=True)
    assert bright() == [False, False]
    page.get_by_role("radio", name="Swipe").check(force=True)
    assert bright() == [False, True]
    page.get_by_role("slider", name="Edge between Before and After").press("End")
    assert bright() == [False, False]


def test_regions_lie_in_one_another(page, inputs):
    send(page, "eye", inputs / "eye.png")
    page.wait_for_selector(".viewer canvas")
    slide(page, "Opacity", 1)
    slide(page, "Threshold of disc", 0)
    slide(page, "Threshold of cup", 0)
    cup = pixel(page)
    page.locator(".class").nth(1).get_by_role("checkbox").uncheck()
    rim = pixel(page)
    page.locator(".class").nth(0).get_by_role("checkbox").uncheck()
    photo = pixel(page)
    assert len({tuple(cup), tuple(rim), tuple(photo)}) == 3
    assert page.locator(".class .share").all_inner_texts() == ["100.0 %", "100.0 %"]


def test_a_volume_in_three_planes(page, inputs):
    send(page, "scan", inputs / "ball.nii.gz")
    page.wait_for_selector(".controls fieldset")
    canvas, readout = page.locator(".viewer canvas"), page.locator(".readout")
    slide(page, "Axial", 9)
    assert re.match(r"voxel \d+, \d+, 9\n.* mm\nintensity \d+", readout.inner_text())
    slide(page, "Opacity", 0)
    page.wait_for_timeout(200)
    first = shot(canvas)
    canvas.focus()
    for _ in range(5):
        page.keyboard.press("PageUp")
    page.wait_for_timeout(200)
    assert re.match(r"voxel \d+, \d+, 14\n", readout.inner_text())
    assert page.get_by_role("slider", name="Axial").input_value() == "14"
    second = shot(canvas)
    assert differ(first, second) > 0.01
    page.keyboard.press("ArrowUp")
    slide(page, "Width", 20)
    page.wait_for_timeout(200)
    assert differ(second, shot(canvas)) > 0.05
    page.get_by_role("radio", name="Coronal").check(force=True)
    page.wait_for_timeout(200)
    assert differ(second, shot(canvas)) > 0.05
    assert page.get_by_role("region", name="Measurements").locator("tbody tr").count() == 2


def test_a_damage_map_with_layers_swipe_and_buildings(page, inputs, address):
    city = inputs / "city"
    send(page, "storm", city / "post.tif", city / "buildings.gpkg", city / "pre.tif")  # told by their names
    page.wait_for_selector(".maplibregl-canvas")
    page.wait_for_timeout(1500)
    viewer = page.locator(".viewer")
    every = shot(viewer)
    assert len(np.unique(every.reshape(-1, 3), axis=0)) > 50
    page.get_by_label(re.compile("^Buildings, ")).uncheck()
    page.wait_for_timeout(300)
    bare = shot(viewer)
    assert differ(every, bare) > 0.002
    page.get_by_label("Confidence", exact=True).check()
    page.wait_for_timeout(800)
    assert differ(bare, shot(viewer)) > 0.05
    page.get_by_label("Confidence", exact=True).uncheck()
    page.get_by_label(re.compile("^Buildings, ")).check()
    page.get_by_label("Swipe").check(force=True)
    page.wait_for_timeout(1000)
    changed = shot(viewer)
    half = every.shape[1] // 2
    assert differ(every[:, : half - 40], changed[:, : half - 40]) > 0.05
    assert differ(every[:, half + 90 :], changed[:, half + 90 :]) < 0.05
    page.get_by_label("After", exact=True).check(force=True)
    job = page.request.get(f"{address}api/jobs/{page.url.partition('#')[2]}").json()
    x, y = place_of_a_building(page, address, job["view"], viewer.bounding_box())
    page.mouse.click(x, y)
    popup = page.locator(".maplibregl-popup")
    popup.wait_for()
    assert re.match(r"Damage\n(no-damage|destroyed|no grade)\n", popup.inner_text())
    assert page.locator("tbody tr").last.inner_text().startswith("All\t")


def test_where_the_later_photo_ends_the_swipe_shows_nothing(page, inputs, tmp_path):
    with rasterio.open(inputs / "city" / "post.tif") as whole:
        half = rasterio.windows.Window(0, 0, whole.width // 2, whole.height)
        profile = whole.profile | {"width": half.width}
        with rasterio.open(tmp_path / "post.tif", "w", **profile) as part:
            part.write(whole.read(window=half))
    send(page, "storm", inputs / "city" / "pre.tif", tmp_path / "post.tif")
    page.wait_for_selector(".maplibregl-canvas")
    page.get_by_label("Damage", exact=True).uncheck()
    page.get_by_label("Swipe").check(force=True)
    page.wait_for_timeout(1500)

    def spread(left, right):
        seen = shot(page.locator(".viewer"))
        height, width = seen.shape[:2]
        return seen[height // 3 : 2 * height // 3, int(left * width) : int(right * width)].std((0, 1)).max()

    assert spread(0.65, 0.85) < 1  # nothing is known of after, and before is not shown for it
    assert spread(0.2, 0.4) > 5
    page.get_by_role("slider", name="Edge between Before and After").press("End")
    page.wait_for_timeout(300)
    assert spread(0.65, 0.85) > 5


def place_of_a_building(page, address, view, box):
    """Where on the screen the first building lies, when all of the map is shown."""
    features = page.request.get(address + view["buildings"][1:]).json()["features"]
    west, south, east, north = view["bounds"]
    inside = [
        corners.mean(0)
        for corners in (np.array(one["geometry"]["coordinates"][0]).reshape(-1, 2) for one in features)
        if (corners > (west, south)).all() and (corners < (east, north)).all()
    ]
    tall = lambda lat: math.degrees(math.log(math.tan(math.pi / 4 + math.radians(lat) / 2)))  # noqa: E731
    scale = min((box["width"] - 48) / (east - west), (box["height"] - 48) / (tall(north) - tall(south)))
    lon, lat = inside[0]
    x = box["x"] + box["width"] / 2 + (lon - (west + east) / 2) * scale
    return x, box["y"] + box["height"] / 2 - (tall(lat) - (tall(north) + tall(south)) / 2) * scale


def test_pairs_without_dates_in_their_names_wait_for_the_reader(page, inputs, tmp_path):
    for name, source in (("one.tif", "pre.tif"), ("two.tif", "post.tif")):
        (tmp_path / name).write_bytes((inputs / "city" / source).read_bytes())
    send(page, "storm", tmp_path / "one.tif", tmp_path / "two.tif")
    assert page.locator(".slot .file").all_inner_texts() == ["one.tif", "two.tif", "none yet"]
    assert page.locator(".entry .name", has_text="one.tif").count() == 0
    page.get_by_role("button", name="Swap dates").click()
    assert page.locator(".slot .file").all_inner_texts() == ["two.tif", "one.tif", "none yet"]
    assert page.get_by_role("button", name="Compare").is_enabled()


def test_the_class_of_an_image(page, inputs):
    send(page, "sick", inputs / "eye.png")
    page.wait_for_selector(".answer")
    assert page.locator(".answer").inner_text() in SICK.names
    assert len(re.findall(r"\d+\.\d %", page.locator(".bars").inner_text())) == 2

    assert page.locator("figure").count() == 2
    looked = page.get_by_role("img", name=re.compile("Grad-CAM"))
    assert looked.evaluate("(image) => image.complete && image.naturalWidth") == 160


def test_a_photo_goes_through_a_screening(page, inputs, address):
    send(page, "screen", inputs / "eye.png")
    page.wait_for_selector(".answer")
    job = page.request.get(f"{address}api/jobs/{page.url.partition('#')[2]}").json()
    row, stages = job["view"]["row"], job["view"]["stages"]
    assert page.locator(".answer").inner_text() == row["result"]
    assert "no diagnosis" in page.locator(".stage").inner_text()
    assert page.locator(".stages li").all_inner_texts() == [f"{one['name'].title()}\n{one['state']}" for one in stages]
    shown = page.locator(".pictures img").evaluate_all("all => all.map((one) => one.complete && one.naturalWidth)")
    assert shown == [160] * (2 if job["view"]["contours"] else 1)
    page.get_by_text("Result sheet, to read or print").click()
    sheet = page.frame_locator("iframe.sheet")
    sheet.locator("body").wait_for()
    assert "eye.png" in sheet.locator("body").inner_text()


def test_what_is_wrong_is_said_beside_the_file(page, inputs, tmp_path):
    (tmp_path / "song.png").write_bytes(b"ID3 this is no picture")
    send(page, "phases", inputs / "broken.png", tmp_path / "song.png")
    rows = page.locator(".entry")
    song, broken = (rows.filter(has_text=name).first for name in ("song.png", "broken.png"))
    song.locator(".problem:not([hidden])").wait_for()
    broken.locator(".problem:not([hidden])").wait_for()
    assert "'song.png'" in song.locator(".problem").inner_text()
    assert "broken.png" in broken.locator(".problem").inner_text()
    song.get_by_role("button", name="Delete song.png").click()
    song.wait_for(state="detached") if song.count() else None


def test_a_job_can_be_cancelled_and_deleted(page, inputs):
    send(page, "phases", inputs / "large.png")
    row = page.locator(".entry", has_text="large.png").first
    row.locator("progress:not([hidden])").wait_for()
    page.wait_for_url(re.compile("#[0-9a-f]{20}$"))  # the server has it
    page.locator(".running").get_by_role("button", name="Cancel").click()
    row.locator(".note", has_text="cancelled").wait_for()
    assert "cancelled" in page.locator(".stage .caution").inner_text()
    row.get_by_role("button", name="Delete large.png").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    row.wait_for(state="detached")
    assert page.locator(".welcome").count() == 1


def test_a_token_is_asked_for_and_kept(browser, tmp_path):
    with serving(tmp_path, token="correct horse") as client:
        client.headers["authorization"] = "Bearer correct horse"
        post(client, "eye.png", wait=30)
        with opened(browser, str(client.base_url), allow=("status of 401",)) as page:
            for word, wrong in (("battery", False), ("correct horse", True)):
                page.locator("dialog", has_text="was not right" if wrong else "Whoever started").locator("input").fill(
                    word
                )
                page.keyboard.press("Enter")
            page.locator(".entry", has_text="eye.png").wait_for()
            assert page.evaluate("sessionStorage.getItem('catenary.token')") == "correct horse"
            page.reload()
            page.locator(".entry", has_text="eye.png").wait_for()
            assert page.locator("dialog").count() == 0


def test_the_keyboard_alone_is_enough(page, inputs):
    page.select_option("#model", "phases")

    def tab_to(wanted):
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("(wanted) => document.activeElement?.matches(wanted)", wanted):
                return
        raise AssertionError(f"the tab key does not reach {wanted}")

    page.locator("body").focus()
    tab_to(".skip")
    assert page.locator(".skip").bounding_box()["x"] >= 0
    tab_to(".drop button")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    with page.expect_file_chooser() as chooser:
        # a slow browser has to know that the chooser is waited for before the key arrives
        assert page.evaluate("document.activeElement.matches('.drop button')")
        page.keyboard.press("Enter")
    chooser.value.set_files(str(inputs / "eye.png"))
    page.wait_for_selector(".viewer canvas")
    tab_to(".viewer canvas")
    before = shot(page.locator(".viewer canvas"))
    page.keyboard.press("+")
    page.keyboard.press("ArrowLeft")
    page.wait_for_timeout(100)
    assert differ(before, shot(page.locator(".viewer canvas"))) > 0.1
    assert page.locator(".readout").inner_text().startswith("x ")
    tab_to("input[aria-label='Threshold of ceramic']")
    text = page.locator(".class .share").first.inner_text()
    page.keyboard.press("Home")
    assert page.locator(".class .share").first.inner_text() == "100.0 %" != text


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen_in_both_colours(browser, answered, scheme):
    with opened(browser, answered, viewport={"width": 360, "height": 740}, color_scheme=scheme) as page:
        page.wait_for_selector(".entry")
        assert not sideways(page)
        background = "getComputedStyle(document.body).backgroundColor"
        assert (sum(map(int, re.findall(r"\d+", page.evaluate(background)))) < 128) == (scheme == "dark")
        page.get_by_label("Colours").select_option({"light": "dark", "dark": "light"}[scheme])
        assert (sum(map(int, re.findall(r"\d+", page.evaluate(background)))) < 128) == (scheme == "light")
        for kind in ("phases", "scan", "storm", "sick") if scheme == "light" else ():
            row = page.locator(".entry", has_text=f"{kind} · done").first
            row.locator(".open").click()
            page.wait_for_selector(".stage .files")
            assert not sideways(page), kind


def test_little_is_loaded_at_first_and_nothing_twice(browser, address):
    with opened(browser, address) as page:
        page.wait_for_selector(".drop")
        loaded = [one for one in page.asked if "/api/" not in one]
        sizes = {one: len(page.request.get(one).body()) for one in loaded}
        print(f"first load: {sum(sizes.values())} bytes in {len(sizes)} files")
        assert len(loaded) == len(sizes)
        assert sum(sizes.values()) < 80_000
        assert not [one for one in loaded if re.search("niivue|maplibre|ort", one)]


def test_a_browser_without_webgl_or_too_old_is_told_so(browser, answered):
    with opened(browser, answered, init=BLIND) as page:
        page.wait_for_selector(".drop")
        page.locator(".entry", has_text="scan · done").first.locator(".open").click()
        page.get_by_text("cannot draw volumes and maps, since WebGL2 is missing").wait_for()
        assert page.get_by_role("button", name="Download mask.nii.gz").count() == 1
    with opened(browser, answered, init="delete window.OffscreenCanvas") as page:
        page.get_by_text("This browser is too old for the page").wait_for()
    with opened(browser, answered, java_script_enabled=False) as page:
        assert "use a current Firefox" in page.locator(".unsupported").inner_text()
