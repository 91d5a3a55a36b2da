"""The phone page's arithmetic is Python's: photos, quality, resizing, disc and cup, probabilities, ranges."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from catenary.data.labels import LabelSet
from catenary.io import read_image
from catenary.measures.disc import disc_of, planes_of
from catenary.measures.fundus import Field, eye_from_disc, eye_of, quality_of
from catenary.metrics.calibration import Calibration
from catenary.phantoms.faults import FAULTS, STRANGERS, spoiled, stranger
from catenary.phantoms.fundus import CAMERAS, fundus
from catenary.predict.around import Margin, around
from catenary.predict.bands import cropped
from catenary.predict.classify import span
from catenary.predict.cleaning import clean_mask
from catenary.predict.familiar import fit_familiar
from catenary.predict.frames import in_frame, margins
from catenary.predict.measure import drop_small
from catenary.predict.prediction import nest_regions, paint_regions
from catenary.predict.prepare import Normaliser, framed, normalise, prepare, working_shape
from catenary.predict.resample import resample_bands, running_argmax
from catenary.predict.tiles import Tiling, blend, in_memory, pad_to
from catenary.types import Image
from catenary.workflow.screen import _no_disc_shape
from golden import Goldens, needs_node

NAMES = ["background", "rim", "cup"]
REGIONS = {"disc": (1, 2), "cup": (2,)}
LABELS = LabelSet(names=tuple(NAMES), regions=REGIONS)


@pytest.fixture(scope="module")
def goldens(tmp_path_factory):
    needs_node()
    found = Goldens(tmp_path_factory.mktemp("goldens"))
    for add in (_resizes, _qualities, _eyes, _discs, _crops, _frames, _segments, _judges, _files):
        add(found, np.random.default_rng(5))
    found.run()
    return found


def _resizes(goldens, rng):
    image = rng.integers(0, 256, (90, 123), np.uint8)
    for size in ((45, 61), (37, 51), (30, 41), (89, 122), (23, 123)):
        goldens.add(
            f"shrink {size}", "shrink", _cv2(image, size, cv2.INTER_AREA), image=goldens.array(image), size=size
        )
    even = rng.integers(0, 256, (96, 120), np.uint8)
    for size in ((48, 60), (32, 40), (24, 30)):
        goldens.add(f"blocks {size}", "shrink", _cv2(even, size, cv2.INTER_AREA), image=goldens.array(even), size=size)
    for size in ((180, 246), (100, 140), (256, 350), (90, 200)):
        goldens.add(f"grow {size}", "grow", _cv2(image, size, cv2.INTER_LINEAR), image=goldens.array(image), size=size)


def _cv2(image, size, how):
    return cv2.resize(image, size[::-1], interpolation=how).ravel().tolist()


def _qualities(goldens, rng):
    photos = {}
    for camera in CAMERAS:
        for size in ((300, 420), (144, 160), (512, 512)):
            photos[f"{camera} {size}"] = fundus(rng, size, camera=camera).image
    photos["crop"] = fundus(rng, (400, 400), reach=3.0, aim=0.0).image
    photos["small crop"] = fundus(rng, (150, 140), reach=3.0, aim=0.0).image
    photos |= {
        f"{fault} {strength}": spoiled(photos["clinic (300, 420)"], fault, strength, rng)
        for fault in FAULTS
        for strength in (0.4, 1.0)
    }
    photos |= {kind: stranger(kind, (200, 260), rng) for kind in STRANGERS}
    for name, photo in photos.items():
        goldens.add(f"quality {name}", "quality", quality_of(photo), image=goldens.array(photo))


def _eyes(goldens, rng):
    field = Field(100.0, 100.0, 90.0)
    for k, name in enumerate(("12_OD_3", "Image_01L", "left-eye", "drishti_002", "od_vs_os", "PhotoR", "IMG_OS2", "")):
        expected = [eye_of(name), eye_from_disc((90.0, 40.0 + 20 * k), field)]
        goldens.add(f"eye {name}", "eye", expected, name=name, column=40 + 20 * k, field=field._asdict())


def _discs(goldens, rng):
    masks = {}
    for k in range(4):
        masks[f"phantom {k}"] = fundus(rng, (240, 260), view=25.0 + 5 * k).label
    empty, two, cut = (np.zeros(shape, np.uint8) for shape in ((60, 70), (120, 160), (80, 90)))
    cv2.circle(two, (40, 60), 25, 1, -1)
    cv2.circle(two, (115, 60), 22, 1, -1)
    cv2.circle(cut, (20, 8), 24, 1, -1)
    masks |= {"nothing": empty, "two": two, "cut without a cup": cut}
    speck, bar, ring = masks["phantom 0"].copy(), np.zeros((100, 200), np.uint8), np.zeros((140, 140), np.uint8)
    speck[5:9, 5:9], speck[20:22, 200:204] = 1, 2
    bar[40:60, 20:180], bar[48:52, 60:90] = 1, 2
    cv2.circle(ring, (70, 70), 50, 1, 12)
    cv2.circle(ring, (70, 70), 12, 2, -1)
    masks |= {"specks": speck, "bar": bar, "ring": ring, "ragged": _ragged(rng)}
    for name, mask in masks.items():
        for eye in (None, "right", "left"):
            found = disc_of(*planes_of(mask, LABELS), eye=eye)
            given = {"mask": goldens.array(mask), "names": NAMES, "regions": REGIONS, "eye": eye}
            goldens.add(f"disc {name} {eye}", "disc", found, **given)


def _ragged(rng):
    away = np.hypot(*np.ogrid[-80:80, -90:90]) + 9 * rng.standard_normal((160, 180))
    return (away < 60).astype(np.uint8) + (away < 25)


def _crops(goldens, rng):
    photo = fundus(rng, (240, 300), view=30.0)
    whole = photo.label > 0
    for margin in (Margin(diameters=0.5), Margin(pixels=7), Margin(diameters=3.0)):
        found = around(Image(array=photo.image), whole, margin).array
        given = {"image": goldens.array(photo.image), "mask": goldens.array(whole.astype(np.uint8))}
        expected = [*found.shape[1:], *(plane.ravel().tolist() for plane in found)]
        goldens.add(f"around {margin}", "around", expected, margin=margin.model_dump(), **given)


def _input(**changes):
    given = {
        "channels": 3, "dtype": "uint8", "normalise": "image", "mean": [150.0, 70.5, 40.25], "std": [60.0, 30.0, 11.0],
        "window": [], "size": 0, "patch": [64, 64], "frame": [1, 1], "multiple": [16, 16], "least": [32, 32],
        "tile": [512, 512], "overlap": [16, 16], "low": None, "high": None,
    }  # fmt: skip
    return given | changes


def _normaliser(given):
    numbers = {key: tuple(given[key]) for key in ("mean", "std", "window")}
    return Normaliser(mode=given["normalise"], **numbers)


def _frames(goldens, rng):
    for mode in ("image", "dataset", "range", "percentile", "none"):
        for shape, size in (((70, 90), 64), ((40, 45), 64), ((150, 110), 0), ((30, 31), 0)):
            image = rng.integers(0, 256, (3, *shape), np.uint8)
            for window in ([], [20.0, 180.0]):
                given = _input(normalise=mode, size=size, window=window)
                ready = prepare(Image(array=image), _normaliser(given), size)
                frame = framed(np.ascontiguousarray(np.moveaxis(ready.array, 0, -1)), (64, 64))
                seen = normalise(np.moveaxis(frame, -1, 0), *ready.coefficients)
                name = f"framed {mode} {shape} {size} {window}"
                goldens.add(name, "framed", seen.ravel().tolist(), image=goldens.array(image), input=given)


def _echo(x):
    """The network that `golden.test.ts` has, too."""
    down, right = (np.arange(side, dtype=np.float32) / side for side in x.shape[2:])
    mean = x.mean(1, dtype=np.float32, keepdims=True) + down[:, None] - right / 2
    return np.concatenate([1 / (1 + np.exp(-mean)), 1 / (1 + np.exp(1 - mean))], 1).astype(np.float32)


def _segments(goldens, rng):
    outputs = {
        "regions": {"task": "overlapping", "regions": REGIONS, "thresholds": [0.45, 0.7]},
        "tidied regions": {
            "task": "overlapping", "regions": REGIONS, "thresholds": [], "smallest": 9,
            "cleaning": {"disc": ["largest", "fill"], "cup": ["fill"]},
        },
        "exclusive": {"task": "exclusive", "regions": {}, "thresholds": []},
    }  # fmt: skip
    for name, output in outputs.items():
        output = {"names": NAMES, "cleaning": {}, "smallest": 0} | output
        for shape, more in (
            ((100, 140), {"size": 64}),
            ((50, 44), {"size": 96}),
            ((90, 60), {"size": 0}),
            ((150, 210), {"size": 0, "tile": [64, 80], "overlap": [16, 20]}),
            ((260, 380), {"size": 160, "tile": [64, 64]}),
            ((100, 140), {"size": 64, "frame": [57, 72]}),
            ((140, 101), {"size": 90, "frame": [64, 80], "tile": [64, 64]}),
        ):
            smooth = cv2.GaussianBlur(rng.integers(0, 256, (*shape, 3)).astype(np.float32), (0, 0), 4.0)
            image = np.clip(128 + 9 * (np.moveaxis(smooth, -1, 0) - 128), 0, 255).astype(np.uint8)
            given = _input(**more)
            expected = _segmented(image, given, output).ravel().tolist()
            model = {"input": given, "output": output}
            goldens.add(f"{name} {shape} {more}", "segment", expected, image=goldens.array(image), model=model)


def _segmented(image, given, output):
    """What `Predictor` does around its network."""
    ready = prepare(Image(array=image), _normaliser(given), given["size"])
    shape = ready.array.shape[1:]
    around_ = margins(shape, given["frame"])
    frame = in_frame(ready.array, ((0, 0), *around_))
    sides = tuple(max(pair) for pair in zip(frame.shape[1:], given["least"], strict=True))
    tiling = Tiling.of(
        sides, tile=tuple(given["tile"]), overlap=tuple(given["overlap"]), multiple=tuple(given["multiple"])
    )
    rows = in_memory(pad_to(frame, tiling.shape), tiling)
    answer = blend(
        lambda tiles: _echo(np.stack([normalise(tile, *ready.coefficients) for tile in tiles])), rows, tiling, logits=2
    )
    assert working_shape(image.shape[1:], given["size"]) == shape
    bands = resample_bands(cropped(answer, shape, tuple(first for first, _ in around_)), shape, image.shape[1:])
    found = np.concatenate([band.copy() for band in bands], 1)
    if output["task"] == "exclusive":
        return running_argmax(found)
    limits = np.array(output["thresholds"] or [0.5, 0.5], np.float32)[:, None, None]
    planes = [(plane > 0).astype(np.uint8) for plane in found > limits]
    if output["smallest"]:
        planes = [drop_small(plane, output["smallest"]) for plane in planes]
    cleaned = [
        clean_mask(plane > 0, output["cleaning"].get(name, ())) for plane, name in zip(planes, REGIONS, strict=True)
    ]
    return paint_regions(nest_regions(np.stack(cleaned), LABELS), LABELS)


def _judges(goldens, rng):
    truth = rng.integers(0, 2, 40).tolist()
    cases = [(float(np.clip(0.3 * t + rng.random() * 0.7, 0, 1)), t) for t in truth]
    cases += [(0.5, 0), (0.5, 1), (0.5, 1)]
    for score in (0.0, 0.13, 0.5, 0.77, 1.0, cases[3][0]):
        for probability in (score, 0.31 + 0.4 * score):
            plain, exact = (np.array([1 - value, value]) for value in (score, probability))
            expected = span(plain, exact, cases)
            given = {"score": score, "probability": probability, "judged": cases}
            goldens.add(f"range {score} {probability}", "range", expected, **given)
    goldens.add("range of few", "range", None, score=0.4, probability=0.4, judged=cases[:3])
    knots = ((0.1, 0.02), (0.4, 0.3), (0.45, 0.3), (0.9, 0.97))
    for fitted in (
        Calibration(), Calibration(method="temperature", temperature=2.3), Calibration(method="isotonic", knots=knots)
    ):  # fmt: skip
        for score in (0.0, 0.05, 0.42, 0.9, 1.0):
            expected = float(fitted(np.array([[1 - score, score]]))[0, 1])
            name = f"calibrated {fitted.method} {score}"
            goldens.add(name, "calibrated", expected, score=score, calibration=fitted.model_dump(mode="json"))
    known = fit_familiar(rng.normal(2, 1, (60, 24)).astype(np.float32))
    for far in (0, 1, 3):
        features = rng.normal(2 + far, 1, 24).astype(np.float32)
        expected = known.judge(features[None])[0]
        given = {"features": goldens.array(features), "familiar": known.model_dump(mode="json")}
        goldens.add(f"likeness {far}", "likeness", expected, **given)


def _files(goldens, rng):
    photo = np.moveaxis(fundus(rng, (70, 93)).image, 0, -1)
    for orientation in range(1, 9):
        exif = Pillow.Exif()
        exif[274] = orientation
        settings = {"quality": 80 + orientation, "subsampling": orientation % 3, "progressive": orientation % 2 == 0}
        _file(goldens, f"turned {orientation}", Pillow.fromarray(photo), exif=exif, **settings)
    _file(goldens, "grey", Pillow.fromarray(photo[..., 0]), expected="quality.channels")
    whole = io.BytesIO()
    Pillow.fromarray(photo).save(whole, "JPEG")
    for name, data, key in (
        ("truncated", whole.getvalue()[:900], "reading.damaged"),
        ("empty", b"", "reading.empty"),
        ("text", b"no picture at all, but some words", "reading.unknown"),
    ):
        (goldens.folder / name).write_bytes(data)
        goldens.add(name, "read", key, file=name)


def _file(goldens, name, picture, expected=None, **settings):
    path = goldens.folder / f"{name}.jpg"
    picture.save(path, **settings)
    if expected is None:
        found = read_image(path).array
        expected = [*found.shape[1:], *(plane.ravel().tolist() for plane in found)]
    goldens.add(name, "read", expected, file=path.name)


@pytest.mark.parametrize("ask", ["shrink", "grow", "around", "eye", "read"])
def test_pixels_are_the_same(goldens, ask):
    for name, expected, answer in goldens.pairs(ask):
        assert answer == expected, name


def test_networks_see_the_same(goldens):
    for name, expected, answer in goldens.pairs("framed"):
        np.testing.assert_allclose(answer, expected, rtol=1e-6, atol=1e-6, err_msg=name)


def test_photos_are_judged_alike(goldens):
    reasons = {}
    for name, expected, answer in goldens.pairs("quality"):
        assert (answer["fundus"], answer["verdict"]) == (expected.fundus, expected.verdict), name
        assert len(answer["reasons"]) == len(expected.reasons), name
        for key, words in zip(answer["reasons"], expected.reasons, strict=True):
            assert reasons.setdefault(key, words) == words
        assert (answer["field"] is None) == (expected.field is None), name
        if expected.field is not None:
            np.testing.assert_allclose(list(answer["field"].values()), expected.field, rtol=1e-6, err_msg=name)
        for number, value in (answer["numbers"] or {}).items():
            assert value == pytest.approx(getattr(expected, number), rel=1e-4, abs=1e-6), (name, number)
    assert len(reasons) >= 7  # hardly a fault is not seen


def test_discs_are_measured_alike(goldens):
    fields = {
        "ratioVertical": "cdr_vertical", "ratioHorizontal": "cdr_horizontal", "area": "disc_area",
        "height": "disc_height", "width": "disc_width", "thinnest": "rim_thinnest", "thinnestAt": "thinnest_at",
    }  # fmt: skip
    for name, expected, answer in goldens.pairs("disc"):
        assert answer["parts"] == expected.disc_parts, name
        assert len(answer["findings"]) == len([part for part in expected.finding.split("; ") if part]), name
        if expected.centre is None:
            assert answer["centre"] is None
            continue
        for mine, its in fields.items():
            assert answer[mine] == _near(getattr(expected, its)), (name, mine)
        for side, width in answer["rim"].items():
            assert width == _near(getattr(expected, f"rim_{side}")), (name, side)
        assert answer["isnt"] == (None if expected.isnt is None else bool(expected.isnt)), name
        assert answer["centre"] == pytest.approx(expected.centre), name
        assert bool(answer["fault"]) == bool(_no_disc_shape(expected)), name
    assert {answer["fault"] for _, _, answer in goldens.pairs("disc") if answer["centre"]} >= {None, "disc.long"}


def _near(value):
    return None if value is None else pytest.approx(value, rel=1e-4, abs=1e-3)


def test_masks_are_the_same(goldens):
    for name, expected, answer in goldens.pairs("segment"):
        different = np.mean(np.array(answer) != np.array(expected))
        assert different <= 5e-4, (name, different)  # pixels on a threshold, by the order of sums


def test_judgements_are_the_same(goldens):
    for ask in ("range", "calibrated"):
        for name, expected, answer in goldens.pairs(ask):
            assert answer == (None if expected is None else pytest.approx(expected, rel=1e-9, abs=1e-12)), name
    for name, expected, answer in goldens.pairs("likeness"):
        assert answer["flagged"] == expected.flagged, name
        assert answer["distance"] == pytest.approx(expected.distance, rel=1e-5), name
        assert answer["percentile"] == pytest.approx(expected.percentile, abs=1e-3), name
