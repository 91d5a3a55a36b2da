"""Searching for settings: spaces, the shared study, trials that end in every way, and what comes out."""

import csv
import json
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("optuna", reason="the search is an extra")
import sqlalchemy

from catenary import workflow
from catenary.cli.main import main
from catenary.data.cases import Dataset
from catenary.errors import ConfigError, MissingExtra, OutputError, TrainingError
from catenary.recipe import Recipe, choose, is_set
from catenary.search import Choices, Range, Trial, backend, default_space, grid, pinned, read_space, space_to_data
from catenary.search.importance import importances
from catenary.search.study import Failed, Pruned, Study
from catenary.workflow.demo import write_phantom

tune_module = sys.modules["catenary.workflow.tune"]
QUICK = [
    "model.widths=[4,8]", "sample.patch=[32,32]", "sample.batch=4", "train.validations=2", "train.precision=fp32",
    "train.channels_last=off", "predict.engine=torch", "split.val=0.3",
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _hasty():
    """SQLite need not wait for the disk here."""

    def connected(connection, record):
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous=OFF")

    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", connected)
    yield
    sqlalchemy.event.remove(sqlalchemy.Engine, "connect", connected)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_phantom(tmp_path_factory.mktemp("data"), "microstructure", count=10, size=(40, 40), seed=1)


def settled(data, out, **more):
    """A search of a few seconds; the learning rate of 1e30 cannot work."""
    wanted = {"steps": 4, "settings": QUICK, "sampler": "grid", "pruner": "none"}
    return workflow.tune(data, out=out, **{"space": ["train.lr=0.003,0.03,1e30"], **wanted, **more})


@pytest.fixture(scope="module")
def found(data, tmp_path_factory):
    return settled(data, tmp_path_factory.mktemp("search") / "a")


# Spaces


def test_a_space_is_the_same_from_text_mapping_and_file(tmp_path):
    texts = ["train.lr=1e-4..1e-2:log", "sample.batch=2..16", "model.widths=[4,8],[8,16]", "model.norm=batch,group"]
    file = tmp_path / "space.toml"
    file.write_text(
        'model.norm = ["batch", "group"]\n[train]\nlr = "1e-4..1e-2:log"\n[sample]\nbatch = "2..16"\n'
        "[prepare]\nsize = [0, 64]\n"
    )
    space = read_space(texts)
    assert space == {
        "train.lr": Range(low=1e-4, high=1e-2, log=True),
        "sample.batch": Range(low=2, high=16, whole=True),
        "model.widths": Choices(values=((4, 8), (8, 16))),
        "model.norm": Choices(values=("batch", "group")),
    }
    assert read_space(dict(text.split("=") for text in texts)) == space
    both = read_space([str(file), "model.widths=[4,8],[8,16]"])
    assert {key: both[key] for key in space} == space
    assert both["prepare.size"] == Choices(values=(0, 64))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ([], "the search space is empty; name at least one field"),
        ("model.dropuot=0..0.5", "unknown field 'model.dropuot' in the space; did you mean 'model.dropout'?"),
        ("model.activation=1..3", "model.activation is no number and so has no range; list its values"),
        ("train.lr=1e-2..1e-4", "runs from 0.01 to 0.0001; give the lower end first"),
        ("train.lr=0..0.1:log", "train.lr begins at 0; begin above 0"),
        ("sample.batch=1.5..8", "sample.batch takes whole numbers, found 1.5 to 8"),
        ("model.dropout=0..2", "model.dropout = 2.0: input should be less than 1"),
        ("model.norm=batch,grup", "model.norm = 'grup': input should be"),
        ("train.lr=0.1", "train.lr needs several values to search among, found only 0.1"),
        ("train.lr=", "train.lr needs several values to search among, found none"),
        ("train.lr=0.1,0.1", "train.lr lists a value twice"),
        (["train.lr=0.1,0.2", "train.lr=0.1..0.2"], "train.lr stands twice in the space"),
        ("split.seed=1,2", "split.seed cannot be searched: trials must be scored on the same cases"),
        ({"data.classes": [{}, {"a": ["b"]}]}, "data.classes cannot be searched: trials must be scored on the same cl"),
        ("train.seed=1,2", "a lucky seed is no better setting"),
        ("model.classes=1,2", "the data decide it"),
        ("train.lr", "'train.lr' is no part of a space; write section.field=values"),
        ("nowhere.toml", "the space nowhere.toml cannot be read"),
        ({"train.lr": 0.1}, "train.lr = 0.1 is one value, which is no search"),
    ],
    ids=str,
)
def test_a_wrong_space_is_told_in_one_sentence(text, told):
    with pytest.raises(ConfigError, match=re.escape(told)):
        read_space(text)


def test_every_wrong_field_is_told_at_once(tmp_path):
    with pytest.raises(ConfigError, match=r"dropuot.*train\.lr needs several"):
        read_space(["model.dropuot=0..1", "train.lr=1"])
    (tmp_path / "bad.toml").write_text("train.lr = = 1")
    with pytest.raises(ConfigError, match="not valid TOML"):
        read_space(tmp_path / "bad.toml")


def test_a_range_with_a_number_is_a_list_with_both_ends():
    assert read_space(["train.lr=1e-4..1e-2:log:3"])["train.lr"].values == (0.0001, 0.001, 0.01)
    assert read_space(["model.dropout=0..0.5:3"])["model.dropout"].values == (0.0, 0.25, 0.5)
    with pytest.raises(ConfigError, match="a grid needs values"):
        grid(read_space(["model.dropout=0..0.5"]))


def test_the_default_space_leaves_out_what_is_set():
    wish = choose(Recipe(), {"train.lr": 0.1})
    space = default_space(choose(Recipe(), {"sample.batch": 1}), wish, longest=64)
    assert "train.lr" not in space
    assert "prepare.size" not in space  # nothing smaller is left of such images
    assert space["sample.batch"].values == (1, 2)
    assert space["loss.name"].values[0] == Recipe().loss.name


def test_only_what_depends_on_the_search_is_planned_anew():
    made = choose(Recipe(), {"sample.patch": (64, 64), "train.lr": 0.1, "prepare.size": 64, "model.norm": "batch"})
    opened = pinned(made, Recipe(), read_space(["prepare.size=0,32"]))
    assert not is_set(opened, "prepare.size")
    assert not is_set(opened, "sample.patch")
    assert is_set(opened, "model.norm")
    other = pinned(made, Recipe(), read_space(["model.name=unet,unet_small"]))
    assert not is_set(other, "model.norm")  # each network brings its own
    assert is_set(other, "sample.patch")
    kept = pinned(made, choose(Recipe(), {"sample.patch": (64, 64)}), read_space(["prepare.size=0,32"]))
    assert kept.sample.patch == (64, 64)
    assert is_set(kept, "sample.patch")


# The shared study, with the training replaced


def begin(tmp_path, space, trials, *, name="s", **more):
    record = {"space": space_to_data(space), "points": [], "sampler": "tpe", "pruner": "none", "seed": 0}
    record |= {"rounds": 9, "startup": 4} | more
    study = Study(f"sqlite:///{tmp_path / 'study.db'}", name)
    assert study.create(record, trials)
    return study


RATES = read_space(["train.lr=1e-4..1:log", "model.dropout=0..0.5", "model.activation=relu,elu"])


def near(attempt):
    """Best at a learning rate of 0.01."""
    return 1 - abs(np.log10(attempt.settings["train.lr"]) + 2) / 4


def drawn(study):
    return [trial.settings for trial in study.trials()]


def test_a_grid_covers_the_product_once(tmp_path):
    space = read_space(["sample.batch=2,4,8", "model.widths=[4,8],[8,16]"])
    study = begin(tmp_path, space, 6, points=json.loads(json.dumps(grid(space))), sampler="grid")
    study.work(lambda attempt: float(attempt.number))
    assert drawn(study) == grid(space)
    assert [trial.value for trial in study.trials()] == list(range(6))


def test_a_bayesian_search_is_repeated_by_its_seed_and_learns(tmp_path):
    space = read_space(["train.lr=1e-4..1:log", "model.dropout=0..0.5"])
    studies = {
        name: begin(tmp_path, space, trials, name=name, sampler=sampler, seed=seed)
        for name, sampler, seed, trials in (
            ("a", "tpe", 2, 20), ("b", "tpe", 2, 8), ("c", "tpe", 3, 2), ("r", "random", 2, 20)
        )
    }  # fmt: skip
    for study in studies.values():
        study.work(near)
    assert drawn(studies["a"])[:8] == drawn(studies["b"])
    assert drawn(studies["a"])[1] != drawn(studies["c"])[1]
    later = {name: np.mean([trial.value for trial in studies[name].trials()[8:]]) for name in ("a", "r")}
    assert later["a"] > later["r"] + 0.05


def test_two_workers_draw_what_one_draws_and_share_the_number(tmp_path):
    alone = begin(tmp_path, RATES, 7, name="alone", sampler="random")
    alone.work(near)
    first = begin(tmp_path, RATES, 7, name="both", sampler="random")
    second = Study(first.url, "both")
    second.join()

    def meanwhile(attempt):
        if attempt.number == 2:  # the other takes all the rest while this one trains
            second.work(near)
        return near(attempt)

    first.work(meanwhile)
    assert drawn(first) == drawn(alone)
    assert all(trial.state == "complete" for trial in first.trials())


def test_who_looks_for_a_trial_shuts_others_out_so_that_none_is_taken_twice(tmp_path, monkeypatch):
    first = begin(tmp_path, RATES, 2)
    monkeypatch.setattr(backend, "LOCK_SECONDS", 0.1)
    second = Study(first.url, "s")
    second.join()
    with first._storage.engine.connect() as looking:
        looking.exec_driver_sql("SELECT 1")
        with pytest.raises(OutputError, match="locked"):
            second.work(near)
    second.work(near)
    assert second.waiting() == 0


def test_a_trial_that_waits_twice_is_run_once(tmp_path):
    study = begin(tmp_path, RATES, 3)
    with backend.quiet():  # as when two workers find at the same moment that its process died
        for number in (0, 0, 2):
            study._live.enqueue_trial({}, user_attrs={"number": number})
    run = []
    study.work(lambda attempt: run.append(attempt.number) or 0.5)
    study.extend(4)
    study.work(lambda attempt: run.append(attempt.number) or 0.5)
    assert run == [0, 1, 2, 3]
    assert [trial.state for trial in study.trials()] == ["complete"] * 4


def test_an_interrupted_search_goes_on_as_if_it_had_not_been(tmp_path):
    whole = begin(tmp_path, RATES, 9, name="whole", sampler="random")
    whole.work(near)

    def interrupt(attempt):
        if attempt.number == 5 and not seen:
            seen.append(attempt.settings)
            raise KeyboardInterrupt
        return near(attempt)

    seen = []
    broken = begin(tmp_path, RATES, 9, name="broken", sampler="random")
    with pytest.raises(KeyboardInterrupt):
        broken.work(interrupt)
    assert broken.waiting() == 4
    again = Study(broken.url, "broken")
    again.join()
    again.work(interrupt)
    assert drawn(again) == drawn(whole)
    assert again.trials()[5].settings == seen[0]
    assert [trial.state for trial in again.trials()] == ["complete"] * 9


KILLED = """
import os, sys
from catenary.search.study import Study
study = Study(sys.argv[1], "s"); study.join()
study.work(lambda attempt: os._exit(9))
"""


def test_a_trial_whose_process_died_is_run_again_once(tmp_path):
    study = begin(tmp_path, read_space(["sample.batch=2,4"]), 1)
    for _ in range(2):
        died = subprocess.run([sys.executable, "-c", KILLED, study.url], check=False)
        assert died.returncode == 9
        assert study.trials()[0].state == "running"  # nobody has looked yet
    study.extend(2)
    study.work(lambda attempt: 0.5)
    first, second = study.trials()
    assert (first.state, second.state) == ("failed", "complete")
    assert first.reason == "its process died 2 times, most likely since the memory was used up"


def test_pruned_and_failed_trials_are_recorded_and_the_search_goes_on(tmp_path):
    def train(attempt):
        if attempt.number == 1:
            raise Failed("the loss became nan")
        for round_ in range(1, 10):
            if attempt.report(round_, 0.9 - 0.1 * (attempt.number == 8)):
                raise Pruned(f"behind others in round {round_}")
        return 0.9

    study = begin(tmp_path, RATES, 10, pruner="median")
    study.work(train)
    rows = study.trials()
    assert [row.state for row in rows if row.number not in (1, 8)] == ["complete"] * 8
    assert (rows[1].state, rows[1].reason, rows[1].value) == ("failed", "the loss became nan", None)
    assert (rows[8].state, rows[8].reason, rows[8].value) == ("pruned", "behind others in round 3", None)
    assert rows[8].rounds == {1: 0.8, 2: 0.8, 3: 0.8}


@pytest.mark.parametrize("pruner", ["hyperband", "none"])
def test_other_pruners_work_too(tmp_path, pruner):
    def train(attempt):
        for round_ in range(1, 10):
            if attempt.report(round_, attempt.number / 10):
                raise Pruned("behind")
        return attempt.number / 10

    study = begin(tmp_path, RATES, 6, pruner=pruner)
    study.work(train)
    states = {row.state for row in study.trials()}
    assert states == {"complete"} if pruner == "none" else states <= {"complete", "pruned"}


def test_a_search_is_extended_but_never_shortened(tmp_path):
    study = begin(tmp_path, RATES, 2)
    study.work(near)
    study.extend(1)
    assert study.size == 2
    study.extend(4)
    study.work(near)
    assert [trial.state for trial in study.trials()] == ["complete"] * 4


def test_importance_names_what_matters_and_nothing_else():
    rng = np.random.default_rng(0)
    rows = [
        Trial(
            number=i,
            state="complete",
            settings={"train.lr": float(10 ** rng.uniform(-4, 0)), "model.dropout": float(rng.uniform(0, 0.5)),
                      "model.activation": "relu"},
            value=0.0,
            rounds={},
        )
        for i in range(30)
    ]  # fmt: skip
    told = [
        Trial(number=row.number, state="complete", settings=row.settings, value=near(row), rounds={}) for row in rows
    ]
    found = importances(told, RATES)
    assert found[0].field == "train.lr"
    assert [row.field for row in found if row.clear] == ["train.lr"]
    assert sum(row.share for row in found) == pytest.approx(1)
    assert importances(rows, RATES) == ()  # all scores are equal
    assert importances(told[:5], RATES) == ()  # too few


# Storages


def test_a_locked_storage_is_told(tmp_path, monkeypatch):
    begin(tmp_path, RATES, 2)
    monkeypatch.setattr(backend, "LOCK_SECONDS", 0.1)
    other = sqlite3.connect(tmp_path / "study.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(ConfigError, match=r"study\.db cannot be used: it is locked by another program; close that"):
            Study(f"sqlite:///{tmp_path / 'study.db'}", "s")
    finally:
        other.close()


def test_a_storage_lost_during_the_search_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(backend, "LOCK_SECONDS", 0.1)
    study = begin(tmp_path, RATES, 3)
    other = sqlite3.connect(tmp_path / "study.db", isolation_level=None)

    def lock(attempt):
        other.execute("BEGIN EXCLUSIVE")
        return 0.5

    try:
        with pytest.raises(OutputError, match=r"was lost during the search: it is locked .* go on with --resume"):
            study.work(lock)
    finally:
        other.close()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("nonsense", "the storage nonsense cannot be used: .*; write it as sqlite:///FILE"),
        ("sqlite:///nowhere/at/all/study.db", "lies in no folder that exists; make .*nowhere/at/all first"),
        ("sqlite:///{file}", "the file is no database; choose another --storage"),
        (
            "oracle://me:secret@localhost/db",
            r"oracle://me:\*\*\*@localhost/db (needs a database driver|cannot be used)",
        ),
    ],
)
def test_a_storage_out_of_reach_is_told(data, tmp_path, url, told):
    (tmp_path / "text.db").write_text("no database at all, but words " * 99)
    with pytest.raises(ConfigError, match=told) as caught:
        settled(data, tmp_path / "a", storage=url.format(file=tmp_path / "text.db"))
    assert "secret" not in str(caught.value)
    assert not (tmp_path / "a").exists()


def test_a_study_that_is_not_ours_is_told(tmp_path):
    import optuna

    with backend.quiet():
        optuna.create_study(storage=f"sqlite:///{tmp_path / 'study.db'}", study_name="theirs")
    study = Study(f"sqlite:///{tmp_path / 'study.db'}", "theirs")
    with pytest.raises(ConfigError, match="was not begun by catenary tune"):
        study.join()


# The whole search


def test_a_search_leaves_everything_that_is_needed(found, data):
    assert [trial.state for trial in found.trials] == ["complete", "complete", "failed"]
    assert "the loss became" in found.trials[2].reason or "one class" in found.trials[2].reason
    assert found.value == max(trial.value for trial in found.trials[:2])
    with found.table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == ["complete", "complete", "failed"]
    assert [float(row["train.lr"]) for row in rows] == [0.003, 0.03, 1e30]
    page = found.report.read_text("utf-8")
    assert "test images used: none" in page
    assert "Too few" not in page
    assert "too few to say which field mattered" in page
    assert page.count("<svg") == 2  # history and one field; no importance from two trials
    assert "://" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", page)
    assert str(found.path.parent) not in page.replace(found.trials[0].reason, "")
    for number in ("0000", "0001"):
        folder = found.path / "trials" / number
        assert (folder / "model.safetensors").is_file()
        assert not (folder / "checkpoint").exists()
    assert not (found.path / "trials" / "0002" / "model.safetensors").exists()


def test_a_trials_score_is_what_evaluate_gives_on_the_validation_part(found, data):
    for trial in found.trials[:2]:
        again = workflow.evaluate(trial.folder, data, split="val")
        assert again.mean["dice"].value == pytest.approx(trial.value, abs=1e-9)


def test_the_best_recipe_is_ready_for_fit(found, data, tmp_path):
    best = json.loads(found.recipe.read_text())
    assert best["train"]["lr"] == found.settings["train.lr"]
    assert "steps" not in best["train"]  # the trials' short budget is not the run's
    run = workflow.fit(data, out=tmp_path / "run", recipe=found.recipe, steps=4)
    number = next(trial.number for trial in found.trials if trial.settings == found.settings)
    trained = json.loads((found.path / "trials" / f"{number:04d}" / "recipe.json").read_text())
    made = run.plan.recipe.model_dump(mode="json")
    assert {**made, "name": ""} == {**trained, "name": ""}
    assert workflow.evaluate(run.path, data, split="val").mean["dice"].value == pytest.approx(found.value, abs=1e-6)


def test_the_test_part_is_not_read_by_trials(data, tmp_path, monkeypatch):
    read = set()
    parts = {}
    original = tune_module.get_to_know

    def known(*args, **kwargs):
        result = original(*args, **kwargs)
        parts.update(result.splits.parts)
        for name in ("read_image", "read_label"):
            method = getattr(Dataset, name)

            def spy(self, case, *more, method=method, **rest):
                read.add(case.name)
                return method(self, case, *more, **rest)

            monkeypatch.setattr(Dataset, name, spy)
        return result

    monkeypatch.setattr(tune_module, "get_to_know", known)
    settled(data, tmp_path / "a", space=["train.lr=0.003,0.03"], steps=2)
    assert parts["test"]
    assert set(parts["train"]) | set(parts["val"]) == read


def test_the_first_trial_is_the_planners_own_choice(data, tmp_path):
    more = {"space": ["train.lr=1e-4..1e-1:log"], "sampler": "random", "trials": 2, "steps": 2}
    done = settled(data, tmp_path / "a", **more)
    planned = workflow.plan(data, steps=2, settings=QUICK).recipe
    assert done.trials[0].settings == {"train.lr": planned.train.lr}
    assert done.trials[1].settings != done.trials[0].settings
    if done.settings != done.trials[0].settings:
        assert done.gain.value == pytest.approx(done.value - done.trials[0].value)


def test_a_trial_judged_poor_ends_in_the_loop(data, tmp_path, monkeypatch):
    monkeypatch.setattr("catenary.search.study.Attempt.report", lambda self, round_, score: self.number == 1)
    done = settled(data, tmp_path / "a", space=["train.lr=0.003,0.03"], pruner="median", steps=8)
    assert [trial.state for trial in done.trials] == ["complete", "pruned"]
    assert done.trials[0].steps == 8
    assert done.trials[1].steps == 4
    assert "behind other trials" in done.trials[1].reason
    assert sorted(path.name for path in (tmp_path / "a" / "trials" / "0001").iterdir()) == [
        "log.csv", "plan.json", "recipe.json", "tensorboard",
    ]  # fmt: skip


def test_an_interrupted_search_is_resumed_with_the_same_command(data, tmp_path):
    def interrupt(what, done, total):
        if what.startswith("searching: trial 2") and done > total * 5 / 6:
            raise KeyboardInterrupt

    more = {"space": ["train.lr=0.003,0.03"], "steps": 12, "trials": 2}
    whole = settled(data, tmp_path / "whole", **more)
    with pytest.raises(KeyboardInterrupt):
        settled(data, tmp_path / "broken", progress=interrupt, **more)
    assert (tmp_path / "broken" / "trials" / "0001" / "checkpoint").exists()
    with pytest.raises(OutputError, match="already holds a search; add --resume"):
        settled(data, tmp_path / "broken", **more)
    resumed = settled(data, tmp_path / "broken", resume=True, **more)
    assert [trial.value for trial in resumed.trials] == [trial.value for trial in whole.trials]


def test_another_command_joins_by_storage_and_study(data, tmp_path):
    more = {"storage": f"sqlite:///{tmp_path / 'shared.db'}", "study": "ours", "sampler": "random", "steps": 2}
    space = ["train.lr=1e-4..1e-1:log"]
    first = settled(data, tmp_path / "a", space=space, trials=1, **more)
    joined = settled(data, tmp_path / "b", space=None, trials=2, **more)
    assert [path.name for path in (tmp_path / "b" / "trials").iterdir()] == ["0001"]
    assert joined.trials[0] == first.trials[0]
    assert (tmp_path / "b" / "best.json").is_file()
    with pytest.raises(ConfigError, match=r"searches another space \(train\.lr\); leave --space out to join"):
        settled(data, tmp_path / "c", space=["train.lr=1e-4..1:log"], **more)
    with pytest.raises(ConfigError, match=r"begun with other settings \(seed, steps\)"):
        settled(data, tmp_path / "c", **{**more, "space": space, "steps": 3, "seed": 7})
    with pytest.raises(ConfigError, match="other cases or another division"):
        settled(data, tmp_path / "c", **{**more, "space": space, "settings": [*QUICK, "split.seed=9"]})
    assert not (tmp_path / "c").exists()


@pytest.mark.slow
def test_two_workers_share_one_search(data, tmp_path):
    done = settled(data, tmp_path / "a", workers=2)
    assert [trial.state for trial in done.trials] == ["complete", "complete", "failed"]
    alone = settled(data, tmp_path / "b")
    assert [trial.value for trial in done.trials] == pytest.approx([trial.value for trial in alone.trials], abs=1e-3)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"sampler": "tpee"}, "unknown sampler 'tpee'; did you mean 'tpe'?"),
        ({"pruner": "medain"}, "unknown pruner 'medain'; did you mean 'median'?"),
        ({"trials": 0}, "trials = 0 is no search"),
        ({"workers": 0}, "workers = 0 does no work"),
        ({"space": None}, "a grid needs a space of its own"),
        ({"space": {}}, "the search space is empty"),
        ({"space": ["model.dropout=0..0.5"]}, "a grid needs values"),
        ({"trials": 2}, "the grid has 3 points but only 2 trials are asked for"),
        ({"space": ["train.lr=1e-4..1e-1:5000"]}, "the grid has 5000 points"),
        ({"space": ["sample.batch=2,4"]}, "sample.batch is both set and searched"),
        ({"space": ["model.activation=relu,rellu"]}, "model.activation = rellu in the space: "),
        ({"space": ["loss.name=dice,focall"]}, "did you mean 'focal'?"),
        ({"space": ["model.name=unet,unett"]}, "did you mean 'unet'?"),
        ({"space": ["train.epochs=1,2"]}, "train.epochs is searched, so that the trials need no other budget"),
        (
            {"space": ["loss.name=dice,focal"], "settings": [*QUICK, "train.monitor=loss"]},
            "train.monitor=loss cannot compare trials of different losses",
        ),
        ({"settings": ["model.dropuot=1"]}, "did you mean 'model.dropout'?"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_input_is_one_sentence_and_leaves_no_folder(data, tmp_path, more, told):
    with pytest.raises(ConfigError, match=re.escape(told)):
        settled(data, tmp_path / "a", **more)
    assert not (tmp_path / "a").exists()


def test_a_folder_in_use_is_refused(data, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="is a file"):
        settled(data, tmp_path / "file")
    with pytest.raises(OutputError, match="is in use, or choose another --out"):
        settled(data, tmp_path)


def test_no_complete_trial_is_an_error_with_the_commonest_reason(data, tmp_path):
    with pytest.raises(TrainingError, match=r"none of the 2 trials was complete \(.*(loss became|one class)"):
        settled(data, tmp_path / "a", space=["train.lr=1e30,1e31"])
    assert (tmp_path / "a" / "trials.csv").is_file()


def test_a_missing_package_is_told(data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtra, match=r"pip install 'catenary\[tune\]'"):
        settled(data, tmp_path / "a")


def test_the_callers_optuna_is_left_as_it_was(found):
    import optuna

    assert optuna.logging.get_verbosity() == optuna.logging.INFO


def test_the_command_line_calls_the_function_and_prints(found, monkeypatch, capsys):
    calls = []

    def stand_in(*args, progress=None, **kwargs):
        calls.append((args, kwargs))
        return found

    monkeypatch.setattr(workflow, "tune", stand_in)
    line = "tune data --out a --space train.lr=1e-4..1e-2:log --space model.dropout=0..0.5 --trials 3 --minutes 1.5"
    assert main([*line.split(), "--workers", "2", "--storage", "sqlite:///x.db", "--study", "s", "--set", "a=1"]) == 0
    (args, kwargs) = calls[0]
    assert args == (Path("data"),)
    assert kwargs["space"] == ["train.lr=1e-4..1e-2:log", "model.dropout=0..0.5"]
    assert (kwargs["trials"], kwargs["minutes"], kwargs["workers"], kwargs["study"]) == (3, 1.5, 2, "s")
    assert kwargs["settings"] == ["a=1"]
    printed = capsys.readouterr().out
    for part in ("3 trials: 2 complete, 1 failed", "train.lr", f"{found.value:.3f}", "best.json", "--recipe"):
        assert part in printed


def test_an_interrupt_speaks_of_resuming(monkeypatch, capsys):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(workflow, "tune", interrupt)
    assert main(["tune", "data", "--out", "a"]) == 130
    assert "--resume" in capsys.readouterr().err
