"""Training: resuming repeats the unbroken run, alarms ring, schedules and checkpoints do what they say."""

import itertools
import json
import math

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from catenary.data.labels import LabelSet
from catenary.data.layouts import open_dataset
from catenary.errors import ModelError, TrainingError
from catenary.recipe import Recipe, Train, choose
from catenary.recipes.glaucoma import glaucoma_study
from catenary.train.checkpoint import load_checkpoint, pack_optimizer, save_checkpoint, unpack_optimizer
from catenary.train.loop import Job, launch, make_optimizer
from catenary.train.patches import Patches, Store, prefetch
from catenary.train.schedule import ema_average, rate
from catenary.workflow.demo import write_phantom

SMALL = {
    "model.widths": [4, 8],
    "model.channels": 1,
    "prepare.normalise": "range",
    "sample.patch": [32, 32],
    "sample.batch": 2,
    "train.steps": 6,
    "train.validations": 2,
    "train.precision": "fp32",
    "train.channels_last": "off",
    "loss.name": "dice_bce",
}


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    folder = write_phantom(tmp_path_factory.mktemp("cells"), "cells", count=6, size=(48, 40), seed=3)
    return open_dataset(folder)


def job(dataset, folder, **values):
    names = [case.name for case in dataset.cases]
    channels = dataset.read_image(dataset.cases[0]).channels
    recipe = choose(Recipe(), {**SMALL, "model.channels": channels, **values})
    return Job(dataset=dataset, train=tuple(names[:4]), val=tuple(names[4:]), recipe=recipe, folder=folder, resume=True)


def test_resumed_run_ends_like_the_unbroken_one(cells, tmp_path):
    whole = launch(job(cells, tmp_path / "whole", **{"model.dropout": 0.3}))

    class Killed(Exception):
        pass

    def kill(what, done, total):
        if done == 4:
            raise Killed

    broken = job(cells, tmp_path / "broken", **{"model.dropout": 0.3})
    with pytest.raises(Killed):
        launch(broken, progress=kill)
    resumed = launch(broken)
    assert resumed.steps == whole.steps == 6
    for name, value in whole.weights.items():
        np.testing.assert_array_equal(value, resumed.weights[name], err_msg=name)
    logs = [(tmp_path / run / "log.csv").read_text().splitlines() for run in ("whole", "broken")]
    without_time = [[",".join(c for i, c in enumerate(r.split(",")) if i != 2) for r in log] for log in logs]
    assert without_time[0] == without_time[1]


def test_a_finished_run_is_not_trained_again(cells, tmp_path):
    first = launch(job(cells, tmp_path))
    again = launch(job(cells, tmp_path))
    assert again.why_ended == "the run was finished already"
    assert again.score == first.score


def test_seed_decides(cells, tmp_path):
    runs = [launch(job(cells, tmp_path / str(i), **{"train.seed": seed})) for i, seed in enumerate((0, 0, 1))]
    first = [next(iter(run.weights.values())) for run in runs]
    assert np.array_equal(first[0], first[1])
    assert not np.array_equal(first[0], first[2])


def test_loss_that_is_not_finite_stops_with_a_remedy(cells, tmp_path):
    with pytest.raises(TrainingError, match=r"loss became .* train\.lr="):
        launch(job(cells, tmp_path, **{"train.lr": 1e30, "train.clip": 0, "train.steps": 30, "model.norm": "none"}))


def test_collapse_stops_with_a_remedy(cells, tmp_path):
    # Foreground that weighs nothing in the loss teaches the network to answer background everywhere.
    stuck = {
        "loss.name": "bce",
        "loss.class_weights": [0.0],
        "train.lr": 0.1,
        "train.steps": 40,
        "train.validations": 8,
    }
    with pytest.raises(TrainingError, match="one class for every pixel"):
        launch(job(cells, tmp_path, **stuck))


def test_early_stopping(cells, tmp_path):
    still = {
        "train.lr": 1e-12,
        "train.steps": 60,
        "train.validations": 30,
        "train.early_stopping": 2,
        "model.norm": "none",
    }
    found = launch(job(cells, tmp_path, **still, **{"train.monitor": "loss"}))
    assert found.steps < 60
    assert "no gain in 2 validations" in found.why_ended


def test_the_published_disc_training_lowers_its_rate_and_stops_when_the_iou_stands_still(cells, tmp_path):
    published = {
        f"train.{name}": value for name, value in glaucoma_study().train.model_dump(exclude_unset=True).items()
    }
    # learning too slowly to gain anything, the network's IoU stands still from its first validation on
    found = launch(job(cells, tmp_path, **{**published, "train.steps": 75, "train.lr": 1e-12, "model.norm": "none"}))
    assert found.why_ended == "no gain in 10 validations"
    rates = [float(line.split(",")[-1]) for line in (tmp_path / "log.csv").read_text().splitlines()[1:]]
    assert len(rates) == 12  # the first validation, the ten that are waited for, and one more
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(1e-12 * 0.2**2)
    assert rates[0] == 1e-12


def test_deep_supervision_and_every_optimiser_train(cells, tmp_path):
    for name in ("adam", "sgd", "adamw"):
        run = launch(job(cells, tmp_path / name, **{"train.optimizer": name, "model.deep_supervision": True}))
        assert math.isfinite(run.score)


def test_two_processes_give_the_gradients_of_one_with_the_double_batch(cells, tmp_path):
    exact = {"model.norm": "none", "loss.batch_dice": True, "train.ema": 0, "train.optimizer": "sgd", "train.steps": 3}
    exact |= {"train.lr": 0.1, "train.validations": 1}  # sums that are not shared would show
    one = launch(job(cells, tmp_path / "one", **exact, **{"sample.batch": 4}))
    two = launch(job(cells, tmp_path / "two", **exact, **{"train.devices": 2}))
    for name, value in one.weights.items():
        np.testing.assert_allclose(two.weights[name], value, atol=1e-6, err_msg=name)


def test_batches_depend_on_seed_and_number_only(cells):
    names = [case.name for case in cells.cases]
    recipe = choose(Recipe(), SMALL)
    streams = [Patches(Store(cells, names, recipe), recipe) for _ in range(2)]
    streams[0].batch(0)
    a, b = streams[0].batch(5), streams[1].batch(5)
    assert np.array_equal(a.image, b.image)
    assert np.array_equal(a.label, b.label)
    assert not np.array_equal(a.image, streams[1].batch(6).image)


def test_processes_share_one_global_batch(cells):
    names = [case.name for case in cells.cases]
    recipe = choose(Recipe(), SMALL)
    halves = [Patches(Store(cells, names, recipe), recipe, rank=r, world=2).batch(3) for r in range(2)]
    whole = Patches(Store(cells, names, recipe), choose(recipe, {"sample.batch": 4})).batch(3)
    assert np.array_equal(np.concatenate([h.image for h in halves]), whole.image)


def test_pixels_without_data_are_not_learnt_from(cells, tmp_path):
    case = cells.cases[0]
    image, label = cells.read_pair(case)
    pixels = np.moveaxis(image.array, 0, -1)
    alpha = np.full(label.shape, 255, np.uint8)
    alpha[:10] = 0
    rgb = np.repeat(pixels[..., :1], 3, axis=2)
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    Pillow.fromarray(np.dstack([rgb, alpha])).save(tmp_path / "images" / "a.png")
    Pillow.fromarray(label).save(tmp_path / "masks" / "a.png")
    store = Store(open_dataset(tmp_path), ["a"], choose(Recipe(), {"prepare.normalise": "image"}))
    assert (store[0].label[:10] == 255).all()
    np.testing.assert_array_equal(store[0].label[10:], label[10:])
    assert all((points[:, 0] >= 10).all() for points in store[0].points.values())


def test_store_forgets_when_memory_is_short(cells):
    names = [case.name for case in cells.cases]
    store = Store(cells, names, choose(Recipe(), SMALL), limit=1)
    first = store[0]
    assert store[1] is store[1]
    assert store[0] is not first
    assert np.array_equal(store[0].image, first.image)


def test_prefetch_keeps_order_and_stops():
    made = prefetch(lambda n: n * n, 3, threads=2, ahead=4)
    assert [next(made) for _ in range(4)] == [9, 16, 25, 36]
    made.close()


@pytest.mark.parametrize("schedule", ["cosine", "poly", "plateau", "constant"])
def test_rate_rises_then_follows_its_schedule(schedule):
    config = Train(lr=1.0, schedule=schedule, warmup=0.1)
    values = [rate(p, config, plateau=0.5) for p in np.linspace(0, 1, 21)]
    assert values[0] == pytest.approx(0.01)
    assert values[1] == pytest.approx(0.5)
    assert all(a >= b for a, b in itertools.pairwise(values[2:]))
    assert values[-1] == pytest.approx({"cosine": 0, "poly": 0, "plateau": 0.5, "constant": 1}[schedule], abs=1e-9)


def test_ema_rises_to_its_decay():
    average, current = torch.zeros(2), torch.ones(2)
    ema_average([average], [current], count=1, decay=0.9)
    assert average[0] == pytest.approx(1 - 2 / 11)
    late = torch.zeros(1)
    ema_average([late], [torch.ones(1)], count=10_000, decay=0.9)
    assert late[0] == pytest.approx(0.1, abs=1e-6)


def test_weight_decay_spares_biases():
    module = torch.nn.Conv2d(1, 1, 3)
    groups = make_optimizer(module, Train(weight_decay=0.1)).param_groups
    assert [(g["weight_decay"], len(g["params"])) for g in groups] == [(0.1, 1), (0.0, 1)]


def test_optimiser_survives_a_checkpoint(tmp_path):
    torch.manual_seed(0)
    module = torch.nn.Linear(3, 2)
    optimizer = make_optimizer(module, Train())
    module(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    tensors, record = pack_optimizer(optimizer)
    save_checkpoint(tmp_path / "c.safetensors", {"optimizer": tensors}, {"o": record, "n": 3})
    groups, read = load_checkpoint(tmp_path / "c.safetensors")
    other = make_optimizer(module, Train(lr=0.5))
    unpack_optimizer(other, groups["optimizer"], read["o"])
    assert json.dumps(read["n"]) == "3"
    for a, b in zip(optimizer.state_dict()["state"].values(), other.state_dict()["state"].values(), strict=True):
        assert all(torch.equal(a[k], b[k]) for k in a)
    assert other.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]


def test_damaged_checkpoint_is_named(tmp_path):
    (tmp_path / "last.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ModelError, match="cannot be read"):
        load_checkpoint(tmp_path / "last.safetensors")


def test_grades_of_two_dates_are_told_only_where_something_is():
    from catenary.train.validate import _decide

    labels = LabelSet(names=("background", "whole", "damaged", "destroyed"))
    # .45 background against three grades that share .55: something is there, and likeliest whole
    logits = torch.log(torch.tensor([0.45, 0.25, 0.2, 0.1])).view(1, 4, 1)
    assert _decide(logits, labels, graded=True)[:, 0].tolist() == [False, True, False, False]
    assert _decide(logits, labels, graded=False)[:, 0].tolist() == [True, False, False, False]
    sure = torch.log(torch.tensor([0.55, 0.45, 1e-6, 1e-6])).view(1, 4, 1)
    assert _decide(sure, labels, graded=True)[:, 0].tolist() == [True, False, False, False]
