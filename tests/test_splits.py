"""Division into parts: groups, balance, order, folds, the data set's own parts."""

import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catenary.data.cases import Case, Dataset
from catenary.data.facts import CaseFacts
from catenary.data.hashing import pack
from catenary.data.labels import LabelSet
from catenary.data.splits import Splits, in_order, split_cases
from catenary.data.survey import Survey
from catenary.errors import ConfigError, DataError
from catenary.types import Grid


def fact(name, group=None, split=None, foreground=0.3, classes=2, scene=None, content=None, present=(), **more):
    number = zlib.crc32(name.encode()) * 2654435761 if scene is None else scene
    counts = [
        1000 - int(1000 * foreground),
        int(1000 * foreground),
        *(10 if c in present else 0 for c in range(2, classes)),
    ]
    picture = np.random.default_rng(number % 2**32).integers(0, 255, (32, 32)).astype(np.uint8)
    fields = {
        "name": name, "group": group or name, "split": split, "size": (32, 32), "mask_size": (32, 32), "channels": 1,
        "dtype": "uint8", "minimum": (0.0,), "maximum": (255.0,), "mean": (100.0,), "std": (50.0,),
        "counts": tuple(counts), "content": content or name, "mask_content": name, "scene": number % 2**64,
        "miniature": pack(picture),
    }  # fmt: skip
    return CaseFacts(**(fields | more))


def planted(facts, classes=2):
    names = ("background", *(f"class {i}" for i in range(1, classes)))
    cases = tuple(
        Case(
            name=f.name, images=(Path(f"{f.name}.png"),), mask=Path(f"{f.name}_mask.png"), group=f.group, split=f.split
        )
        for f in facts
    )
    dataset = Dataset(
        root=Path("planted"), name="planted", layout="folders", cases=cases, labels=LabelSet(names=names),
        grid=Grid(), licence="", findings=(),
    )  # fmt: skip
    return dataset, Survey(facts=tuple(facts))


def divide(facts, classes=2, **settings):
    return split_cases(*planted(facts, classes), **settings)


def simple(count, **more):
    return [fact(f"c{i}", **more) for i in range(count)]


@st.composite
def sets(draw):
    groups = draw(st.lists(st.integers(1, 6), min_size=3, max_size=25))
    shares = draw(st.lists(st.floats(0, 1), min_size=sum(groups), max_size=sum(groups)))
    names = [(f"g{g}_{i}", f"g{g}") for g, size in enumerate(groups) for i in range(size)]
    return [fact(name, group, foreground=share) for (name, group), share in zip(names, shares, strict=True)]


@settings(max_examples=40, deadline=None)
@given(facts=sets(), seed=st.integers(0, 5), val=st.floats(0.05, 0.45), test=st.floats(0.05, 0.45), data=st.data())
def test_groups_stay_whole_no_part_is_empty_and_nothing_is_lost(facts, seed, val, test, data):
    splits = divide(facts, val=val, test=test, seed=seed)
    assert splits.train
    assert splits.val
    assert splits.test
    assert sorted(splits.train + splits.val + splits.test) == sorted(f.name for f in facts)
    for group in {f.group for f in facts}:
        assert len({splits.part_of(f.name) for f in facts if f.group == group}) == 1
    shuffled = data.draw(st.permutations(facts))
    assert divide(shuffled, val=val, test=test, seed=seed) == splits


@settings(max_examples=12, deadline=None)
@given(facts=sets(), folds=st.integers(2, 5), seed=st.integers(0, 3), ordered=st.booleans())
def test_every_case_is_tested_in_one_fold(facts, folds, seed, ordered):
    groups = {f.group for f in facts}
    if len(groups) < folds + 2:
        return
    runs = [divide(facts, folds=folds, fold=fold, seed=seed, ordered=ordered) for fold in range(folds)]
    assert sorted(name for run in runs for name in run.test) == sorted(f.name for f in facts)
    for run in runs:
        assert run.train
        assert run.val
        assert len({*run.train, *run.val, *run.test}) == len(facts)
        for group in groups:
            assert len({run.part_of(f.name) for f in facts if f.group == group}) == 1


def test_shares_are_met_and_seeds_differ():
    facts = simple(100)
    splits = divide(facts)
    assert (len(splits.train), len(splits.val), len(splits.test)) == (65, 15, 20)
    assert divide(facts) == splits
    assert divide(facts, seed=1).test != splits.test


def test_parts_have_alike_foreground_shares():
    rng = np.random.default_rng(0)
    facts = [fact(f"c{i}", foreground=float(share)) for i, share in enumerate(rng.beta(0.5, 3, 60))]
    share = {f.name: f.foreground for f in facts}
    gaps = []
    for seed in range(5):
        splits = divide(facts, seed=seed)
        means = [np.mean([share[n] for n in part]) for part in splits.parts.values()]
        gaps.append(max(means) - min(means))
    assert max(gaps) < 0.04  # a plain random division differs by 0.086 on average here


def test_a_rare_class_reaches_every_part():
    for seed in range(10):
        facts = [fact(f"c{i}", classes=3, present=(2,) if i in (3, 17, 31) else ()) for i in range(40)]
        splits = divide(facts, classes=3, seed=seed)
        assert {splits.part_of(f"c{i}") for i in (3, 17, 31)} == {"train", "val", "test"}


def test_stated_parts_are_kept():
    facts = [fact(f"c{i}", split=("train", "val", "test")[i % 3]) for i in range(12)]
    splits = divide(facts)
    assert splits.val == tuple(in_order([f.name for f in facts if f.split == "val"]))
    assert splits.test == tuple(in_order([f.name for f in facts if f.split == "test"]))
    assert splits.how == "test and val as the data set states"


def test_a_missing_val_is_taken_from_train_by_group():
    facts = [fact(f"t{i}", "unseen", "test") for i in range(6)]
    facts += [fact(f"c{i}", f"g{i // 2}", "train") for i in range(16)]
    splits = divide(facts)
    assert splits.test == tuple(f"t{i}" for i in range(6))
    assert 2 <= len(splits.val) <= 4
    assert not {f"g{int(n[1:]) // 2}" for n in splits.val} & {f"g{int(n[1:]) // 2}" for n in splits.train}


def test_a_share_means_of_all_cases_where_a_part_is_stated():
    splits = divide([fact(f"c{i}", split="test" if i < 20 else None) for i in range(100)])
    assert (len(splits.train), len(splits.val), len(splits.test)) == (65, 15, 20)


def test_two_folds_leave_something_to_validate_on():
    facts = [fact(f"large{i}", "large") for i in range(6)] + simple(3)
    for fold in range(2):
        splits = divide(facts, folds=2, fold=fold)
        assert splits.train
        assert splits.val


def test_a_missing_test_is_taken_from_train_and_test_0_leaves_it_out():
    facts = [fact(f"c{i}", split="val" if i < 4 else "train") for i in range(20)]
    splits = divide(facts)
    assert splits.val == ("c0", "c1", "c2", "c3")
    assert 3 <= len(splits.test) <= 4
    assert divide(facts, test=0.0).test == ()


def test_cases_without_a_part_join_the_training_pool():
    facts = [fact(f"c{i}", split={0: "test", 1: "val"}.get(i)) for i in range(9)]
    splits = divide(facts)
    assert (splits.test, splits.val, len(splits.train)) == (("c0",), ("c1",), 7)


def test_folds_keep_a_stated_test_sealed_and_rotate_validation():
    facts = [fact(f"c{i}", split="test" if i < 3 else "val" if i < 5 else "train") for i in range(15)]
    runs = [divide(facts, folds=3, fold=fold) for fold in range(3)]
    assert all(run.test == ("c0", "c1", "c2") for run in runs)
    assert sorted(n for run in runs for n in run.val) == sorted(f"c{i}" for i in range(3, 15))


def test_exact_and_near_copies_stay_together():
    facts = simple(20)
    facts += [fact("copy", content="c3", scene=3), fact("c21", scene=99), fact("c22", scene=99)]
    for seed in range(8):
        splits = divide(facts, seed=seed)
        assert splits.part_of("copy") == splits.part_of("c3")
        assert splits.part_of("c21") == splits.part_of("c22")


def test_a_dense_series_does_not_collapse_into_one_unit():
    facts = [fact(f"z{i}", scene=7) for i in range(30)]
    splits = divide(facts)
    assert (len(splits.train), len(splits.val), len(splits.test)) == (20, 4, 6) or len(splits.train) == 19


def test_ordered_sets_are_cut_into_blocks_with_gaps():
    facts = simple(30)
    splits = divide(facts, ordered=True, gap=2)
    numbers = {part: [int(n[1:]) for n in names] for part, names in splits.parts.items()}
    for block in numbers.values():
        assert block == list(range(block[0], block[-1] + 1))
    assert numbers["train"][-1] + 5 == numbers["val"][0]
    assert numbers["val"][-1] + 5 == numbers["test"][0]
    assert len(splits.left_out) == 8
    first = {divide(facts, ordered=True, seed=seed).part_of("c0") for seed in range(6)}
    assert first == {"train", "val", "test"}


def test_ordered_sets_are_cut_between_groups():
    facts = [fact(f"z{i}", f"block{i // 6}") for i in range(30)]
    splits = divide(facts, ordered=True)
    assert all(len(part) % 6 == 0 for part in splits.parts.values())


def test_a_gap_that_eats_a_part_is_refused():
    with pytest.raises(DataError, match=r"leaves nothing in .*val.* smaller number"):
        divide(simple(12), ordered=True, gap=3)


def test_unreadable_and_unlabelled_cases_are_left_out():
    facts = [*simple(10), CaseFacts(name="broken", group="broken", trouble="truncated"), fact("bare", counts=())]
    splits = divide(facts)
    assert splits.left_out == ("bare", "broken")
    assert len(splits.train + splits.val + splits.test) == 10


@pytest.mark.parametrize(
    ("facts", "settings", "message"),
    [
        (simple(2), {}, "2 cases cannot be divided into test and val and train: at least 3"),
        (simple(1), {"test": 0.0}, "1 case cannot be divided into val and train: at least 2"),
        ([fact(f"c{i}", "one") for i in range(9)], {}, "1 group cannot be divided"),
        ([fact(f"c{i}", split="test") for i in range(9)], {}, "0 cases cannot be divided into val and train"),
        (simple(4), {"folds": 5}, "4 groups of cases cannot make 5 folds"),
        ([fact("a", split="held")], {}, "names the part 'held'"),
    ],
)
def test_impossible_divisions_are_refused(facts, settings, message):
    with pytest.raises(DataError, match=message):
        divide(facts, **settings)


def test_three_cases_are_enough_for_three_parts_and_two_for_two():
    splits = divide(simple(3))
    assert {len(part) for part in splits.parts.values()} == {1}
    assert len(divide(simple(2), test=0.0).val) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"val": 0.0}, "choose val above 0"),
        ({"val": 0.5, "test": 0.5}, "val \\+ test below 1"),
        ({"folds": 1}, "folds=1"),
        ({"folds": 3, "fold": 3}, "none of the 3 folds"),
        ({"gap": 2}, "add split.ordered=true"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        divide(simple(20), **settings)


def test_json_keeps_a_division_and_damage_is_refused():
    splits = divide([*simple(9), fact("bare", counts=())])
    assert Splits.from_json(splits.to_json()) == splits
    for text in ("", "[]", "{}", '{"train": ["a"], "seeds": 3}'):
        with pytest.raises(DataError, match="not a record of splits"):
            Splits.from_json(text)
