import json
import math
import re
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
import pytest
from pydantic import ValidationError

from catenary.data.findings import Finding
from catenary.data.fingerprint import Fingerprint
from catenary.data.labels import LabelSet
from catenary.errors import OutputError
from catenary.metrics.evaluation import Interval, Scorer
from catenary.metrics.registry import METRICS
from catenary.report import (
    GalleryCase,
    Measurement,
    ReportData,
    discrepancy,
    overlay,
    pick_cases,
    to_rgb8,
    write_report,
)
from catenary.report.charts import Bar, interval_rows
from catenary.report.document import Document, json_schema
from catenary.report.pictures import DISCREPANCY, outline
from catenary.report.words import headline
from catenary.types import IGNORE

SCRIPT = "<script>alert('&')</script>"
VOID = {"meta", "link", "img", "br", "hr", "input"}


def make_data(names=("nucleus",), *, n=8, regions=None, rivals=("majority", "thresholds"), pictures=3, skill=0.8):
    """A small but complete report: truths are random blocks, predictions and baselines are truths with errors."""
    rng = np.random.default_rng(0)
    labels = LabelSet(names=("background", *names), regions=regions or {})
    targets = labels.target_names
    scorers = {name: Scorer(labels) for name in ("model", *rivals)}
    cases, measurements = [], []
    for i in range(n):
        name = f"case_{i:02}"
        truth = np.kron(rng.integers(0, labels.count, (4, 5)), np.ones((6, 6))).astype(np.uint8)
        truth[0] = IGNORE
        for k, scorer in enumerate(scorers.values()):
            wrong = rng.random(truth.shape) > skill / (k + 1) + i / 50
            prediction = np.where(wrong | (truth == IGNORE), 0, truth).astype(np.uint8)
            scorer.add(name, f"patient {i // 2}", truth, prediction)
            if k == 0:
                image = rng.integers(0, 255, (*truth.shape, 3), dtype=np.uint8)
                cases.append(GalleryCase(name=name, image=image, truth=truth, prediction=prediction))
        measurements += [Measurement(case=name, target=t, truth=0.2 + i / 100, prediction=0.21) for t in targets]
    return ReportData(
        title="Nuclei of the liver",
        dataset="liver",
        model="U-Net with 2 levels",
        folder="liver-2020",
        licence="CC0",
        labels=labels,
        evaluation=scorers.pop("model").result("test", baselines=scorers),
        fingerprint=Fingerprint(
            cases=20,
            groups=10,
            rank=2,
            channels=1,
            dtype="uint8",
            size_min=(32, 40),
            size_median=(32, 48),
            size_max=(64, 48),
            mean=(100.0,),
            std=(20.0,),
            low=(0.0,),
            high=(200.0,),
            image_means_spread=0.1,
            class_names=labels.names,
            class_shares=(1 / labels.count,) * labels.count,
            class_presence=(1.0,) * labels.count,
            object_diameter=(12.0,) * len(names),
            object_count=(3.0,) * len(names),
            thickness=(4.0,) * len(names),
            foreground_share=0.5,
            task=labels.task,
            logits=labels.channels,
        ),
        findings=(
            finding("note", "few-cases", "there are few cases", "add some"),
            finding("warning", "near-duplicate", "two images look the same", "give them one group", ("case_01",)),
        ),
        splits={"train": ["a", "b"], "val": ["c"], "test": [case.name for case in cases]},
        split_how="by group, seed 0",
        plan=[("model.widths", "(8, 16)", "small objects need few levels")],
        history=[
            {"step": float(s), "epoch": s / 2, "train_loss": 1 / s, "val_loss": math.nan if s == 2 else 1.1 / s,
             "val_score": 1 - 0.5 / s, "lr": 1e-3 / s}
            for s in range(1, 5)
        ],
        gallery=cases[:pictures],
        measurements=measurements,
        share_errors=dict.fromkeys(targets, 0.0123),
        provenance={"command": "catenary fit liver --out runs/liver", "seed": 7, "versions": {"catenary": "0.1"}},
    )  # fmt: skip


@cache
def usual():
    return make_data()


def finding(level, code, message, remedy, cases=()):
    return Finding(level=level, code=code, message=message, remedy=remedy, cases=cases)


class Page(HTMLParser):
    """Parses strictly: every tag is closed in order, no id stands twice."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.words = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []
        ids = [attributes["id"] for _, attributes in self.tags if "id" in attributes]
        assert len(ids) == len(set(ids))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def find(self, wanted):
        return [attributes for tag, attributes in self.tags if tag == wanted]


def written(data, folder):
    path = write_report(data, folder)
    assert path == folder / "report.html"
    text = path.read_text("utf-8")
    return text, Page(text), json.loads((folder / "report.json").read_text("utf-8"))


CASES = {
    "one class": usual,
    "twelve classes": lambda: make_data([f"tissue {i}" for i in range(12)]),
    "regions": lambda: make_data(["rim", "cup"], regions={"disc": (1, 2), "cup": (2,)}),
    "no gallery": lambda: make_data(pictures=0),
    "no baselines": lambda: make_data(rivals=()),
    "one case": lambda: make_data(n=1, pictures=1),
    "bare": lambda: ReportData(
        title="t",
        dataset="d",
        labels=LabelSet(names=("background", "nucleus")),
        evaluation=usual().evaluation,
    ),
}


@pytest.mark.parametrize("kind", CASES)
def test_every_kind_of_report_is_whole_and_needs_nothing_else(kind, tmp_path):
    text, page, record = written(CASES[kind](), tmp_path / "deep" / "run")
    assert len(text) < 3_000_000
    assert not re.search(r"https?://|//[a-z]|@import|url\((?!#)", re.sub(r'"data:image/[^"]+"', '""', text))
    assert not page.find("script")
    for _, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "data", "action", "poster", "srcset"):
            assert attributes.get(name, "#").startswith(("#", "data:"))
    ids = {attributes.get("id") for _, attributes in page.tags}
    assert all(a["href"][1:] in ids for a in page.find("a") + page.find("use"))
    Document.model_validate(record)
    for target in record["dataset"]["targets"]:
        assert target in page.text
    assert sorted(path.name for path in (tmp_path / "deep" / "run").iterdir()) == ["report.html", "report.json"]


def test_everything_told_is_on_the_page_and_in_the_record(tmp_path):
    data = make_data(["nucleus", "membrane"])
    _, page, record = written(data, tmp_path)
    for words in (
        "Nuclei of the liver", "liver", "CC0", "nucleus", "membrane", "Two images look the same.",
        "give them one group", "few cases", "model.widths", "small objects need few levels",
        "Nothing to find and nothing found is perfect",
        "U-Net with 2 levels",
        "catenary fit liver --out runs/liver", "catenary 0.1", "By group, seed 0.", "case_01", "majority", "thresholds",
        "Empty masks", "Objects:",
    ):  # fmt: skip
        assert words in page.text, words
    dice = data.evaluation.classes["nucleus"]["dice"]
    assert f"{dice.value:.3f}" in page.text
    assert f"{dice.low:.3f} to {dice.high:.3f}" in page.text
    assert record["classes"]["nucleus"]["dice"] == {"value": dice.value, "low": dice.low, "high": dice.high, "n": 8}
    assert record["mean"]["dice"]["value"] == data.evaluation.mean["dice"].value
    assert record["baselines"]["thresholds"]["mean"]["dice"]["value"] < record["mean"]["dice"]["value"]
    assert (record["split"], record["n"], record["groups"]) == ("test", 8, 4)
    assert record["splits"]["train"] == ["a", "b"]
    assert record["history"][1]["val_loss"] is None
    assert record["provenance"]["seed"] == 7
    assert record["format"] == "catenary.report/1"


def test_names_are_text_and_never_markup(tmp_path):
    data = make_data([SCRIPT, "b"], rivals=(SCRIPT,))
    measured = data.evaluation.model_copy(
        update={
            "cases": [case.model_copy(update={"name": SCRIPT, "group": SCRIPT}) for case in data.evaluation.cases[:1]],
            "conventions": {SCRIPT: SCRIPT},
            "unit": SCRIPT,
            "split": SCRIPT,
        }
    )
    data = replace(
        data,
        title=SCRIPT,
        dataset=SCRIPT,
        folder=SCRIPT,
        model=SCRIPT,
        licence=SCRIPT,
        evaluation=measured,
        findings=(finding("warning", SCRIPT, SCRIPT, SCRIPT, (SCRIPT,)),),
        plan=[(SCRIPT, SCRIPT, SCRIPT)],
        splits={"train": [SCRIPT]},
        split_how=SCRIPT,
        provenance={"command": SCRIPT, SCRIPT: {SCRIPT: SCRIPT}},
        gallery=[replace(case, name=SCRIPT) for case in data.gallery[:1]],
        monitor=SCRIPT,
    )
    text, page, record = written(data, tmp_path)
    assert "<script" not in text
    assert not page.find("script")
    assert page.text.count(SCRIPT) > 12
    assert SCRIPT in record["classes"]


def test_pictures_and_charts_are_told_in_words(tmp_path):
    _, page, _ = written(usual(), tmp_path)
    images = page.find("img")
    assert len(images) == 4 * 3
    assert all(len(image["alt"]) > 8 and image["width"] and image["height"] for image in images)
    charts = page.find("svg")
    assert len(charts) == 6
    assert all(chart["role"] == "img" and len(chart["aria-label"]) > 20 for chart in charts)
    assert all(table.get("tabindex") == "0" for table in page.find("div") if table.get("class") == "scroll")
    assert page.find("html")[0]["lang"] == "en"


def test_page_suits_paper_phone_and_dark(tmp_path):
    text, page, _ = written(usual(), tmp_path)
    assert "@media print" in text
    assert "prefers-color-scheme: dark" in text
    assert re.search(r"@media \(max-width: \d+rem\)", text)
    assert any(meta.get("name") == "viewport" for meta in page.find("meta"))
    # Nothing in a chart has a colour of its own that would vanish in the dark.
    for chart in re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL):
        assert not re.search(r"#[0-9a-f]{6}\b", chart)
        assert "var(--accent)" in chart


def test_same_data_gives_the_same_bytes_and_leaves_matplotlib_alone(tmp_path):
    with mpl.rc_context({"font.size": 33.0, "svg.fonttype": "path"}):
        before = dict(mpl.rcParams)
        write_report(make_data(), tmp_path / "a")
        assert dict(mpl.rcParams) == before
    write_report(make_data(), tmp_path / "b")
    for name in ("report.html", "report.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_unwritable_folder_is_told_and_leaves_nothing(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(OutputError, match="taken"):
        write_report(usual(), tmp_path / "taken")
    assert (tmp_path / "taken").read_text() == "a file"


def test_schema_describes_every_field_and_refuses_strangers():
    schema = json_schema()
    assert {"split", "n", "classes", "mean", "baselines", "plan", "findings", "splits"} <= set(schema["required"])
    assert set(schema["$defs"]["Interval"]["properties"]) == {"value", "low", "high", "n"}
    with pytest.raises(ValidationError):
        Document.model_validate({"title": "t", "surprise": 1})


def say(**changes):
    facts = {
        "dataset": "liver",
        "split": "test",
        "n": 40,
        "groups": 40,
        "mean": Interval(value=0.9, low=0.88, high=0.92, n=40),
        "baselines": {"majority_class": 0.0, "threshold": 0.8},
        "weak_classes": [],
        "absent_classes": [],
        "warnings": 0,
    }
    return headline(**facts | changes)


def test_a_clear_result_is_said_plainly_and_without_caution():
    said = say()
    assert said.sentence == (
        "On 40 test images of liver, the model reaches a mean Dice of 0.900 (95 % interval 0.880 to 0.920), "
        "above the 0.800 of the best answer that needs no learning (threshold)."
    )
    assert (said.verdict, said.baseline, said.cautions) == ("above", "threshold", [])


def test_all_cases_of_another_place_are_unseen_and_those_of_training_are_named():
    said = say(split="all")
    assert said.sentence.startswith("On all 40 images of liver, the model")
    assert not said.cautions
    assert "trained on 1 of the 40 scored images (a)" in say(split="all", trained_on=["a"]).cautions[0]


@pytest.mark.parametrize(
    ("changes", "verdict", "words"),
    [
        ({"baselines": {"threshold": 0.89}}, "unclear", "does not lie above the trivial baseline"),
        ({"baselines": {"threshold": 0.95}}, "below", "Do not rely on this model"),
        ({"baselines": {}}, "alone", None),
        ({"n": 7, "groups": 7}, "above", "Only 7 images"),
        ({"groups": 3}, "above", "only 3 groups"),
        ({"split": "val"}, "above", "not unseen test cases"),
        ({"mean": Interval(value=0.9, n=40)}, "above", "There is no interval"),
        ({"mean": Interval(value=0.9, low=0.82, high=0.95, n=40)}, "above", "wide"),
        ({"weak_classes": ["crack"]}, "above", "crack"),
        ({"absent_classes": ["crack"]}, "above", "No test case holds: crack"),
        ({"warnings": 2}, "above", "2 warnings"),
        ({"mean": Interval(value=None, n=0)}, "alone", None),
    ],
)
def test_doubts_are_said(changes, verdict, words):
    said = say(**changes)
    assert said.verdict == verdict
    assert (words is None and not said.cautions) or any(words in caution for caution in said.cautions)


def test_undefined_scores_are_null_in_the_record_and_a_dash_on_the_page(tmp_path):
    labels = LabelSet(names=("background", "nucleus", "crack"))
    scorer = Scorer(labels)
    truth = np.kron([[0, 1], [1, 0]], np.ones((8, 8))).astype(np.uint8)
    for i in range(3):
        scorer.add(f"case {i}", "", truth, truth)
    scorer.add("blank", "", np.full_like(truth, IGNORE), truth)
    data = ReportData(title="t", dataset="d", labels=labels, evaluation=scorer.result("test"))
    _, page, record = written(data, tmp_path)
    assert record["classes"]["crack"]["sensitivity"]["value"] is None
    assert next(case for case in record["cases"] if case["name"] == "blank")["classes"]["nucleus"]["dice"] is None
    assert "No test case holds: crack" in page.text
    assert "blank – – –" in page.text
    assert not re.search(r"\bnan\b|\bNone\b", page.text)


def test_gallery_names_best_median_and_worst(tmp_path):
    data = make_data(n=9, pictures=9)
    picked = pick_cases(data.evaluation, 5)
    dice = {case.name: case.classes["nucleus"]["dice"] for case in data.evaluation.cases}
    ranked = sorted(dice, key=dice.get, reverse=True)
    assert len(picked) == 5
    assert picked[0] == ranked[0]
    assert picked[-1] == ranked[-1]
    assert ranked[4] in picked
    assert picked == sorted(picked, key=ranked.index)
    shown = [case for case in data.gallery if case.name in picked]
    _, page, _ = written(replace(data, gallery=shown), tmp_path)
    places = [page.text.index(f"{role}: {name}") for role, name in
              (("Best", ranked[0]), ("Median", ranked[4]), ("Worst", ranked[-1]))]  # fmt: skip
    assert places == sorted(places)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 10])
def test_pick_cases_takes_what_there_is(n):
    picked = pick_cases(make_data(n=n).evaluation, 4)
    assert len(picked) == len(set(picked)) == min(n, 4)


def test_discrepancy_shows_each_kind_of_pixel_in_its_colour():
    truth = np.array([[0, 1, 1, 0, 1, IGNORE]], np.uint8)
    prediction = np.array([[0, 1, 0, 1, 2, 1]], np.uint8)
    drawn = discrepancy(truth, prediction, np.full((1, 6, 3), 100, np.uint8))[0].astype(int)
    assert drawn[0].tolist() == [100, 100, 100]
    kinds = ("found", "false negative", "false positive", "wrong class")
    for pixel, kind in zip(drawn[1:5], kinds, strict=True):
        distances = {name: np.abs(pixel - colour).sum() for name, colour in DISCREPANCY.items()}
        assert min(distances, key=distances.get) == kind
    assert drawn[5].max() < 50


def test_discrepancy_colours_differ_for_colour_blind_readers():
    # Viénot 1999: what a reader without red (or green) receptors sees, in linear RGB.
    protan = np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]])
    deutan = np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]])
    colours = (np.array(list(DISCREPANCY.values())) / 255) ** 2.2
    for view in (protan, deutan):
        seen = np.clip(colours @ view.T, 0, 1).astype(np.float32)
        lab = cv2.cvtColor(seen[None] ** np.float32(1 / 2.2), cv2.COLOR_RGB2LAB)[0]
        apart = np.linalg.norm(lab[:, None] - lab[None], axis=-1)
        assert apart[np.triu_indices(4, 1)].min() > 20


def test_overlay_leaves_the_background_and_marks_edges():
    labels = LabelSet(names=("background", "a", "b"))
    image = np.full((20, 20, 3), 60, np.uint8)
    label = np.zeros((20, 20), np.uint8)
    label[5:15, 5:15] = 2
    drawn = overlay(image, label, labels)
    assert (drawn[:3] == 60).all()
    assert drawn[5, 10].tolist() == list(labels.display_colour(2))
    inside = drawn[10, 10].astype(int)
    assert np.abs(inside - (60 * 0.65 + 0.35 * np.array(labels.display_colour(2)))).max() <= 1
    assert (image == 60).all()


def test_outline_does_not_run_along_the_frame():
    labels = LabelSet(names=("background", "a"))
    label = np.zeros((10, 10), np.uint8)
    label[:, :5] = 1
    drawn = outline(np.zeros((10, 10, 3), np.uint8), label, labels)
    assert drawn[5, 0].tolist() == [0, 0, 0]
    assert drawn[0, 4].tolist() == [230, 159, 0]


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32, bool])
def test_any_image_can_be_looked_at(channels, dtype):
    rng = np.random.default_rng(0)
    values = rng.random((channels, 9, 11))
    image = values > 0.5 if dtype is bool else (values * 200).astype(dtype)
    shown = to_rgb8(image)
    assert shown.shape == (9, 11, 3)
    assert shown.dtype == np.uint8
    assert shown.max() > 180


def test_values_without_meaning_are_black_and_constants_grey():
    image = np.array([[[0.0, 1.0, math.nan, math.inf]]], np.float32)
    assert to_rgb8(image)[0, :, 0].tolist() == [0, 255, 0, 0]
    assert to_rgb8(np.full((1, 2, 2), math.nan, np.float32)).max() == 0
    assert to_rgb8(np.full((1, 2, 2), 7, np.uint16)).tolist() == np.full((2, 2, 3), 128).tolist()


def test_a_photo_keeps_its_colours_and_a_dark_one_is_brightened():
    ramp = np.tile(np.arange(20, 220, dtype=np.uint8), (3, 4, 1))
    assert (to_rgb8(ramp) == ramp.transpose(1, 2, 0)).all()
    assert to_rgb8(ramp // 8).max() > 250


def test_chart_letters_are_text_of_the_page():
    chart = interval_rows([Bar("$a_1$ <b> 細胞", 0.9, 0.8, 0.95, math.nan)], name="x", alt='say "so"', label="Dice")
    assert "$a_1$ &lt;b&gt; 細胞" in chart
    assert "font-family" not in chart
    assert 'aria-label="say &quot;so&quot;"' in chart
    assert "nan" not in chart


def test_every_field_is_documented():
    page = (Path(__file__).parents[1] / "docs" / "report-json.md").read_text("utf-8")
    page = re.sub(r"```.*?```", "", page, flags=re.DOTALL)
    schema = json_schema()
    models = [schema, *(schema["$defs"][name] for name in ("Interval", "Headline", "DatasetEntry", "Splits", "Empty",
              "ObjectTotals", "CaseScores", "MeasurementEntry", "FindingEntry", "PlanEntry"))]  # fmt: skip
    fields = {field for model in models for field in model["properties"]}
    written_fields = set(re.findall(r"\w+", " ".join(re.findall(r"`[^`]+`|\{[^}]+\}", page))))
    assert fields <= written_fields
    assert set(METRICS) <= written_fields
