"""The phone page beside Python: the same photographs through both, agreement, seconds, bytes.

    python benchmarks/phone.py PIPELINE PHOTO_OR_FOLDER ... [--engine onnx] [--site FOLDER] [--json FILE]

PIPELINE is exported with the built page (`make web`) to a static site, which a headless Chromium with the screen of a
phone opens. Every photograph is screened by `catenary.workflow.screen` with the given engine and by the page; of the
page the kept record is read. Printed: photographs with the same stage stopped or the same stages answered, the largest
difference of a probability and of the vertical cup-to-disc ratio, the least intersection over union of disc and cup,
seconds a photograph, bytes of the first visit, and the time until the first touch counts and until models are open.
Engine ``onnx`` and ``torch`` compute in full precision; ``auto`` may take 16 bits or integers where the processor is
quick at them, and then differs from full precision itself.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from browser import chromium
from phones import PHONE, hosted, mask_of, ready, records


def overlap(one, other):
    """Intersection over union; 1 where both are empty."""
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 1.0


def through_python(pipeline, photos, engine):
    from catenary.workflow.screen import open_pipeline

    screener = open_pipeline(pipeline, engine=engine)
    screener(photos[0])  # the first takes longer
    return [screener(photo) for photo in photos]


def first_visit(browser, address):
    """The page, seconds until it answers a touch and until it can screen."""
    page = browser.new_context(**PHONE).new_page()
    page.set_default_timeout(300_000)
    begun = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.wait_for_selector("#language")
    page.click("#about")
    page.wait_for_selector("dialog[open]")
    usable = time.perf_counter() - begun
    page.click("dialog button.main")
    ready(page)
    return page, usable, time.perf_counter() - begun


def through_the_page(page, photos):
    spent = []
    for photo in photos:
        begun = time.perf_counter()
        page.set_input_files("#file", photo)
        page.wait_for_selector("#verdict")
        spent.append(time.perf_counter() - begun)
        page.click("#again")
    return records(page), spent


def compared(expected, found):
    """What differs in one photograph."""
    answers = {one["stage"]: one for one in found["answers"]}
    both = [(answers[stage], its) for stage, its in expected.answers.items() if stage in answers]
    row = {
        "photo": found["name"],
        "same_stop": found["stoppedAt"] == expected.stopped_at,
        "same_stages": list(answers) == list(expected.answers),
        "stopped_at": expected.stopped_at,
        "probability": max((abs(one["probability"] - float(its.probability[1])) for one, its in both), default=0.0),
        "same_classes": all(one["positive"] == (its.label == 1) for one, its in both),
        "python_seconds": expected.seconds,
        "page_seconds": found["seconds"],
    }  # fmt: skip
    if expected.vcdr and found["vcdr"]:
        row["vcdr"] = abs(expected.vcdr[0] - found["vcdr"][0])
    if expected.mask is not None:
        mask = mask_of(found)
        row["disc_iou"] = overlap(mask > 0, expected.mask > 0)
        row["cup_iou"] = overlap(mask == 2, expected.mask == 2)
    return row


def main():
    from catenary import workflow
    from catenary.predict.files import find_inputs

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pipeline", type=Path)
    parser.add_argument("photos", nargs="+")
    parser.add_argument("--engine", default="onnx")
    parser.add_argument("--site", type=Path, help="a site that was exported before")
    parser.add_argument("--json", type=Path, help="where one row a photograph is written")
    given = parser.parse_args()
    photos = [one.source for one in find_inputs(given.photos)]
    with tempfile.TemporaryDirectory() as place:
        site = given.site or Path(place) / "site"
        if given.site is None:
            workflow.export(given.pipeline, to="phone-site", out=site)
        models = sum(path.stat().st_size for path in site.glob("models/*/*"))
        answers: list[int] = []
        with hosted(site, sent=answers) as address, chromium() as browser:
            page, usable, opened = first_visit(browser, address)
            sent = sum(answers)
            found, spent = through_the_page(page, photos)
    expected = through_python(given.pipeline, photos, given.engine)
    rows = [compared(*pair) for pair in zip(expected, found, strict=True)]
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1))
    column = lambda name: [row[name] for row in rows if name in row]  # noqa: E731
    print(f"| photographs | {len(rows)}, {sum(not row['stopped_at'] for row in rows)} answered |")
    print(f"| same stage stopped, same stages answered | {sum(r['same_stop'] and r['same_stages'] for r in rows)} |")
    print(f"| same classes | {sum(column('same_classes'))} |")
    print(f"| largest difference of a probability | {max(column('probability')):.2g} |")
    print(f"| largest difference of the vertical cup-to-disc ratio | {max(column('vcdr'), default=0):.2g} |")
    disc, cup = (min(column(f"{name}_iou")) for name in ("disc", "cup"))
    print(f"| least intersection over union, disc / cup | {disc:.4f} / {cup:.4f} |")
    own = np.median(column("page_seconds"))
    print(f"| seconds a photograph, page, median: screening / until it is shown | {own:.2f} / {np.median(spent):.2f} |")
    print(f"| seconds a photograph, Python ({given.engine}) | {np.median(column('python_seconds')):.2f} |")
    print(f"| first visit | {sent / 1e6:.1f} MB, of these models {models / 1e6:.1f} MB |")
    print(f"| until the first touch counts / until it can screen | {usable:.1f} s / {opened:.1f} s |")


if __name__ == "__main__":
    main()
