"""The planner is pure, explains itself, keeps what is set, and refuses what cannot work."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catenary.data.fingerprint import Fingerprint
from catenary.errors import ConfigError
from catenary.plan import Budget, Speed, candidates, plan
from catenary.recipe import Recipe, choose, fields, override, parse


def fingerprint(**changes):
    values = {
        "cases": 100, "groups": 100, "rank": 2, "channels": 3, "dtype": "uint8",
        "size_min": (256, 256), "size_median": (256, 256), "size_max": (256, 256),
        "mean": (100.0,) * 3, "std": (40.0,) * 3, "low": (5.0,) * 3, "high": (250.0,) * 3,
        "image_means_spread": 0.2, "class_names": ("background", "cell"), "class_shares": (0.8, 0.2),
        "class_presence": (1.0, 1.0), "object_diameter": (20.0,), "object_count": (12.0,), "thickness": (14.0,),
        "foreground_share": 0.2, "task": "binary", "logits": 1,
    }  # fmt: skip
    channels = changes.get("channels", 3)
    values |= {name: values[name][:1] * channels for name in ("mean", "std", "low", "high")}
    return Fingerprint(**(values | changes))


SPEEDS = tuple(
    Speed(base=b, seconds=s, precision="bf16", channels_last=True) for b, s in ((8, 0.2), (16, 0.4), (32, 1.4))
)


def test_every_decision_has_a_reason_and_a_value():
    found = plan(fingerprint(), Budget(minutes=10, speeds=SPEEDS), Recipe())
    assert found.reasons
    assert set(found.reasons) <= set(fields())
    assert all(len(reason) > 10 for _, _, reason in found.rows())


def test_weights_of_another_run_learn_at_a_tenth_of_the_rate_unless_told():
    rates = [
        plan(fingerprint(), Budget(steps=50), override(Recipe(), wish))
        for wish in ([], ["transfer.init=run"], ["transfer.init=run", "train.lr=0.002"])
    ]
    assert [found.recipe.train.lr for found in rates] == pytest.approx([3e-3, 3e-4, 2e-3])
    assert rates[1].reasons["train.lr"].startswith("a tenth of the 0.003")


def test_more_minutes_buy_a_wider_network():
    widths = [
        plan(fingerprint(), Budget(minutes=m, speeds=SPEEDS), Recipe()).recipe.model.widths[0] for m in (1, 7, 60)
    ]
    assert widths == [8, 16, 32]


@pytest.mark.parametrize(
    ("minutes", "patch", "batch", "steps"),
    [(10, 256, 8, 3000), (1, 256, 4, 600), (0.5, 128, 8, 600), (0.2, 128, 4, 480), (0.02, 128, 4, 48)],
)
def test_where_time_is_short_a_step_sees_less(minutes, patch, batch, steps):
    large = fingerprint(size_min=(1024, 1024), size_median=(1024, 1024), size_max=(1024, 1024))
    found = plan(large, Budget(minutes=minutes, speeds=SPEEDS[:1]), Recipe())
    assert (found.recipe.sample.patch, found.recipe.sample.batch) == ((patch, patch), batch)
    assert abs(found.expected_steps - steps) <= 1


def test_what_a_step_sees_is_not_cut_below_the_objects_nor_against_the_user():
    sizes = dict.fromkeys(("size_min", "size_median", "size_max"), (1024, 1024))
    hurry = Budget(minutes=0.2, speeds=SPEEDS[:1])
    wide = plan(fingerprint(**sizes, object_diameter=(60.0,)), hurry, Recipe()).recipe.sample
    assert (wide.patch, wide.batch) == ((256, 256), 4)
    whole = plan(fingerprint(), hurry, Recipe()).recipe.sample
    assert (whole.patch, whole.batch) == ((256, 256), 4)
    given = override(Recipe(), ["sample.patch=[256,256]", "sample.batch=8"])
    kept = plan(fingerprint(**sizes), hurry, given)
    assert (kept.recipe.sample.patch, kept.recipe.sample.batch, kept.expected_steps) == ((256, 256), 8, 60)


def test_what_is_set_is_kept():
    wish = override(Recipe(), ["model.widths=[10,20,40]", "train.lr=0.123"])
    found = plan(fingerprint(), Budget(minutes=10, speeds=SPEEDS), wish)
    assert found.recipe.model.widths == (10, 20, 40)
    assert found.recipe.train.lr == 0.123
    assert found.reasons["train.lr"].startswith("set by you")


def test_large_objects_are_seen_whole_and_thin_ones_keep_their_pixels():
    large = fingerprint(size_median=(340, 512), object_diameter=(220.0,), thickness=(150.0,))
    thin = fingerprint(size_median=(960, 999), object_diameter=(220.0,), thickness=(6.0,))
    assert plan(large, Budget(steps=10), Recipe()).recipe.prepare.size == 256
    assert plan(thin, Budget(steps=10), Recipe()).recipe.prepare.size == 0


def test_brightness_that_varies_is_normalised_by_image():
    modes = [
        plan(fingerprint(image_means_spread=s), Budget(steps=10), Recipe()).recipe.prepare.normalise for s in (0.1, 2.0)
    ]
    assert modes == ["dataset", "image"]


def test_the_doubling_depth_setting():
    found = plan(fingerprint(), Budget(steps=10), override(Recipe(), ["model.depth=3"]))
    assert len(found.recipe.model.widths) == 3


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("model.depth=12", "patches of at least 4096 pixels"),
        ("model.channels=4", "images have 3"),
        ("model.classes=9", "needs 1"),
        ("prepare.mean=[1,2]", "2 numbers for 3 channels"),
        ("sample.patch=[64,64,64]", "needs 2 numbers"),
    ],
)
def test_what_cannot_work_is_refused(setting, message):
    with pytest.raises(ConfigError, match=message):
        plan(fingerprint(), Budget(steps=10), override(Recipe(), [setting]))


def test_only_minutes_need_timing():
    assert len(candidates(fingerprint(), Budget(steps=10), Recipe())) == 1
    assert len(candidates(fingerprint(), Budget(minutes=10), Recipe())) > 3
    assert len(candidates(fingerprint(), Budget(minutes=10), override(Recipe(), ["model.widths=[8,16]"]))) == 1


sizes = st.tuples(st.integers(1, 3000), st.integers(1, 3000))


@settings(max_examples=60, deadline=None)
@given(
    size=sizes, cases=st.integers(1, 500), share=st.floats(0, 1), diameter=st.floats(0, 3000),
    thickness=st.floats(0, 500), channels=st.integers(1, 9), minutes=st.sampled_from([0, 1, 600]),
    memory=st.integers(1 << 20, 1 << 36),
)  # fmt: skip
def test_any_data_gets_a_plan_that_is_stable(size, cases, share, diameter, thickness, channels, minutes, memory):
    data = fingerprint(
        size_min=size, size_median=size, size_max=size, cases=cases, class_shares=(1 - share, share), channels=channels,
        object_diameter=(diameter,), thickness=(thickness,),
    )  # fmt: skip
    budget = Budget(minutes=minutes, memory=memory, speeds=SPEEDS if minutes else ())
    first = plan(data, budget, Recipe())
    assert plan(data, budget, Recipe()) == first
    assert all(side % 32 == 0 for side in first.recipe.sample.patch)
    assert parse(first.recipe.model_dump()) == first.recipe


def test_a_network_without_a_finest_level_gets_a_batch():
    budget = Budget(steps=10, memory=800 << 20)
    batches = [
        plan(fingerprint(), budget, override(Recipe(), [f"model.widths={widths}"])).recipe.sample.batch
        for widths in ("[0,64,256]", "[16,64,256]", "[64,64,256]")
    ]
    assert batches == [5, 5, 1]


def test_all_wrong_settings_are_told_at_once():
    with pytest.raises(ConfigError) as caught:
        override(Recipe(), ["model.dept=5", "trian.lr=1", "nonsense"])
    message = str(caught.value)
    assert "did you mean 'model.depth'?" in message
    assert "did you mean 'train.lr'?" in message
    assert "'nonsense' is not a setting" in message


def test_values_out_of_range_are_refused():
    with pytest.raises(ConfigError, match=r"train\.lr"):
        choose(Recipe(), {"train.lr": -1})
