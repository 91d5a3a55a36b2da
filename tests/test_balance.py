"""Class weights from shares: values by hand, what is invariant, and how the planner fills them in."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catenary.data.balance import class_weights_from
from catenary.data.cases import Dataset
from catenary.data.facts import CaseFacts, image_facts, label_facts
from catenary.data.fingerprint import Fingerprint, fingerprint
from catenary.data.labels import LabelSet
from catenary.data.survey import Survey
from catenary.errors import InputError
from catenary.plan import Budget, plan
from catenary.recipe import Recipe, override

SHARES = st.lists(st.floats(1e-4, 1), min_size=2, max_size=6)
HOW = pytest.mark.parametrize("how", ["sqrt", "median"])


def test_weights_by_hand():
    shares = (0.9, 0.09, 0.01)
    assert class_weights_from(shares, "exclusive", cap=100) == pytest.approx((1, 10**0.5, 90**0.5))
    assert class_weights_from(shares, "exclusive", "median", cap=100) == pytest.approx((0.1, 1, 9))
    assert class_weights_from(shares, "exclusive", "median", cap=3) == pytest.approx((1 / 3, 1, 3))
    assert class_weights_from((0.9, 0.1), "binary") == pytest.approx((3,))
    assert class_weights_from((0.9, 0.1), "binary", "median") == pytest.approx((9,))
    assert class_weights_from((0.2, 0.5, 0.9), "overlapping", "median") == pytest.approx((4, 1, 1 / 9))


@HOW
@given(shares=SHARES)
def test_rarer_classes_weigh_more_and_units_do_not_matter(shares, how):
    weights = class_weights_from(shares, "exclusive", how)
    order = np.argsort(shares)
    assert (np.diff(np.array(weights)[order]) <= 1e-12).all()
    assert class_weights_from([1000 * s for s in shares], "exclusive", how) == pytest.approx(weights)
    assert all(0.1 <= w <= 10 for w in weights)


@HOW
def test_median_and_root_on_even_and_absent_classes(how):
    assert class_weights_from((0.25,) * 4, "exclusive", how) == (1,) * 4
    assert class_weights_from((0.5, 0.5, 0), "exclusive", how) == (1, 1, 1)
    assert class_weights_from((1.0, 0.0), "binary", how) == (1,)


@pytest.mark.parametrize("shares", [(), (0, 0), (0.5, -0.1), (0.2, 0.3, 0.5)])
def test_shares_that_cannot_be(shares):
    with pytest.raises(InputError, match=r"count pixels|give two"):
        class_weights_from(shares, "binary")


def facts(name, counts):
    """A square image whose pixels are in the classes 0, 1, ... so many times."""
    label = np.repeat(np.arange(len(counts), dtype=np.uint8), counts).reshape(10, -1)
    return CaseFacts(name=name, group=name, **image_facts(label[None]), **label_facts(label, classes=len(counts)))


def known(**changes):
    values = {
        "cases": 100, "groups": 100, "rank": 2, "channels": 1, "dtype": "uint8",
        "size_min": (256, 256), "size_median": (256, 256), "size_max": (256, 256),
        "mean": (100.0,), "std": (40.0,), "low": (5.0,), "high": (250.0,),
        "image_means_spread": 0.2, "class_names": ("background", "a", "b"), "class_shares": (0.9, 0.09, 0.01),
        "class_presence": (1.0, 0.5, 0.1), "object_diameter": (20.0,) * 2, "object_count": (12.0,) * 2,
        "thickness": (14.0,) * 2, "foreground_share": 0.1, "task": "exclusive", "logits": 3,
    }  # fmt: skip
    return Fingerprint(**(values | changes))


def planned(settings=(), **changes):
    return plan(known(**changes), Budget(steps=10), override(Recipe(), settings))


def test_the_planner_fills_in_weights_on_request_only():
    default = planned()
    assert default.recipe.loss.class_weights == ()
    assert "loss.class_weights" not in default.reasons
    found = planned(["loss.balance=sqrt"])
    assert found.recipe.loss.class_weights == pytest.approx((1, 10**0.5, 90**0.5))
    assert "inverse square root" in found.reasons["loss.class_weights"]
    assert "b 1 %" in found.reasons["loss.class_weights"]
    # shares among the images that have the class: .9, .18, .1
    median = planned(["loss.balance=median"])
    assert median.recipe.loss.class_weights == pytest.approx((0.2, 1, 1.8))
    set_already = planned(["loss.balance=sqrt", "loss.class_weights=[1,2,3]"])
    assert set_already.recipe.loss.class_weights == (1, 2, 3)


def test_a_binary_plan_has_one_weight():
    binary = {
        "class_names": ("background", "cell"), "class_shares": (0.8, 0.2), "class_presence": (1.0, 1.0),
        "object_diameter": (20.0,), "object_count": (12.0,), "thickness": (14.0,), "task": "binary", "logits": 1,
    }  # fmt: skip
    assert planned(["loss.balance=sqrt"], **binary).recipe.loss.class_weights == pytest.approx((2.0,))


def test_regions_weigh_by_the_classes_they_are_made_of(tmp_path):
    labels = LabelSet(names=("background", "rim", "cup"), regions={"disc": (1, 2), "cup": (2,)})
    dataset = Dataset(root=tmp_path, name="eyes", layout="", cases=(), labels=labels)
    eyes = [facts("a", (50, 30, 20)), facts("b", (90, 10, 0))]
    found = fingerprint(dataset, Survey(facts=tuple(eyes)), ["a", "b"])
    assert found.region_shares == pytest.approx({"disc": 0.3, "cup": 0.1})
    assert found.region_presence == {"disc": 1, "cup": 0.5}
    assert type(found).model_validate_json(found.model_dump_json()) == found

    def weigh(*settings):
        return plan(found, Budget(steps=10), override(Recipe(), settings))

    assert weigh("loss.balance=sqrt").recipe.loss.class_weights == pytest.approx(((7 / 3) ** 0.5, 3))
    median = weigh("loss.balance=median")  # the cup: among the images that have one
    assert median.recipe.loss.class_weights == pytest.approx((7 / 3, 4))
    assert "disc 30 %, cup 20 %" in median.reasons["loss.class_weights"]
    assert weigh("loss.balance=sqrt", "loss.class_weights=[2,5]").recipe.loss.class_weights == (2, 5)


@HOW
def test_an_absent_and_a_full_region_weigh_one(how):
    assert class_weights_from((0.0, 1.0), "overlapping", how) == (1, 1)
    assert class_weights_from((0.0, 0.0), "overlapping", how) == (1, 1)


def test_shares_that_regions_cannot_have():
    for shares in ((), (0.5, -0.1), (0.5, 1.2)):
        with pytest.raises(InputError, match="shares of regions"):
            class_weights_from(shares, "overlapping")
