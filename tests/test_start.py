"""What a network starts from: another run, a pretrained encoder; what of it is held and set free."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from catenary import workflow
from catenary.data.labels import LabelSet
from catenary.errors import ConfigError, ModelError
from catenary.predict import load_card, load_weights
from catenary.recipe import Recipe, choose
from catenary.train.loop import make_optimizer
from catenary.train.start import _differ_in, begin, check, hold, thaw
from catenary.workflow.demo import write_phantom

QUICK = [
    "sample.patch=[32,32]", "sample.batch=4", "train.validations=1", "train.precision=fp32", "train.channels_last=off",
    "predict.engine=torch",
]  # fmt: skip
CELLS = LabelSet(names=("background", "cell"))
TINY = {"model.encoder": "resnet10t", "model.widths": (4, 8, 8, 8, 8), "model.name": "encoder_unet"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_phantom(tmp_path_factory.mktemp("data"), "microstructure", count=8, size=(40, 40), seed=1)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "first"
    return workflow.fit(data, out=folder, steps=3, settings=[*QUICK, "model.widths=[4,8]", "model.block=residual"])


def test_a_run_starts_another_with_its_network_and_its_logits_by_name(run, data, tmp_path):
    names = load_card(run.path).labels.names
    merged = f'data.classes={{"other": ["{names[1]}"], "{names[2]}": ["{names[2]}"]}}'
    second = workflow.fit(
        data,
        out=tmp_path / "second",
        steps=1,
        init=run.path,
        settings=[*QUICK, merged, "train.lr=1e-12", "train.ema=0"],
    )
    card = load_card(second.path)
    assert card.recipe.model.widths == (4, 8)
    assert card.recipe.model.block == "residual"
    before, after = load_weights(run.path), load_weights(second.path)
    np.testing.assert_allclose(after["heads.0.weight"][[0, 2]], before["heads.0.weight"][[0, 2]], atol=1e-6)
    assert abs(after["heads.0.weight"][1] - before["heads.0.weight"][1]).max() > 1e-3
    told = card.provenance["start"]
    assert told.endswith(f"arrays of first, the logits of {names[0]}, {names[2]}")
    assert second.start == told


def test_other_channels_adapt_the_first_layer(run):
    recipe = choose(load_card(run.path).recipe, {"model.channels": 3, "transfer.init": str(run.path)})
    network, told = begin(recipe, load_card(run.path).labels)
    channels = load_card(run.path).channels
    assert f"from {channels} to 3 channels" in told
    grey, _ = begin(choose(recipe, {"model.channels": channels}), load_card(run.path).labels)
    x = torch.rand(1, 1, 32, 32)
    network.eval(), grey.eval()
    with torch.no_grad():
        np.testing.assert_allclose(network(x.expand(-1, 3, -1, -1)), grey(x.expand(-1, channels, -1, -1)), atol=1e-4)


def test_only_the_channels_of_the_images_are_adapted(run, tmp_path):
    """An inner layer of another width is another network, however few channels it has."""
    card = load_card(run.path)
    recipe = choose(card.recipe, {"model.channels": 3, "model.widths": (6, 8), "transfer.init": str(run.path)})
    with pytest.raises(ModelError, match="another network"):
        begin(recipe, card.labels)
    inner, outer = torch.zeros(8, 4, 3, 3), torch.zeros(8, 6, 3, 3)
    assert not _differ_in(inner, outer, card.channels, 3)
    assert _differ_in(inner, outer, 4, 6)


def test_setting_stages_free_in_several_processes_is_refused():
    recipe = choose(Recipe(), TINY | {"transfer.freeze": -1, "transfer.unfreeze": 0.5, "train.devices": 2})
    with pytest.raises(ConfigError, match=r"transfer.unfreeze = 0\.5 needs one process, found train.devices = 2"):
        check(recipe)
    check(choose(recipe, {"train.devices": 1}))


def test_the_weights_of_another_network_are_refused(run, data, tmp_path):
    with pytest.raises(ModelError, match=r"another network: \d+ of \d+ arrays fit"):
        workflow.fit(data, out=tmp_path / "a", steps=1, init=run.path, settings=[*QUICK, "model.widths=[6,8]"])
    with pytest.raises(ModelError, match="there is no model"):
        workflow.fit(data, out=tmp_path / "b", steps=1, init=tmp_path / "nothing", settings=QUICK)
    assert not list(tmp_path.iterdir())  # said before a run is begun


def test_missing_weights_are_said_before_steps_are_timed(data, tmp_path, monkeypatch):
    monkeypatch.setattr("catenary.train.probe.measure", lambda *_, **__: pytest.fail("steps were timed"))
    settings = ["model.encoder=resnet10t", f"transfer.weights={tmp_path / 'absent.safetensors'}"]
    with pytest.raises(ModelError, match=r"there is no file .*absent\.safetensors with weights"):
        workflow.fit(data, out=tmp_path / "a", steps=1, settings=settings)
    assert not list(tmp_path.iterdir())


def test_pretrained_weights_set_the_input_statistics_and_a_lower_rate(data, tmp_path):
    network, _ = begin(choose(Recipe(), TINY), CELLS)
    save_file({k: v.contiguous() + 0.01 for k, v in network.encoder.net.state_dict().items() if v.is_floating_point()},
              tmp_path / "w.safetensors")  # fmt: skip
    settings = [*QUICK, "model.encoder=resnet10t", "model.widths=[4,8,8,8,8]", "sample.patch=[64,64]"]
    made = workflow.plan(data, steps=1, settings=[*settings, f"transfer.weights={tmp_path / 'w.safetensors'}"]).recipe
    assert made.model.name == "encoder_unet"
    assert made.transfer.encoder_lr == 0.1
    assert made.prepare.mean[0] == pytest.approx(255 * np.mean([0.485, 0.456, 0.406]), rel=0.05)
    with pytest.raises(ConfigError, match=r"model\.encoder=resnet34"):
        workflow.plan(data, steps=1, settings=[*QUICK, "transfer.weights=hub"])
    with pytest.raises(ModelError):
        workflow.fit(data, out=tmp_path / "no", steps=1, settings=[*settings, "transfer.weights=none.safetensors"])


def test_frozen_stages_stay_and_are_set_free_deepest_first():
    recipe = choose(Recipe(), TINY | {"transfer.freeze": -1, "transfer.unfreeze": 0.5, "transfer.encoder_lr": 0.1})
    network, _ = begin(recipe, CELLS)
    optimizer = make_optimizer(network, recipe.train, encoder_lr=recipe.transfer.encoder_lr)
    assert sum(len(g["params"]) for g in optimizer.param_groups) == len([*network.parameters()])
    assert sorted({g["scale"] for g in optimizer.param_groups}) == pytest.approx([0.1, 1.0])
    hold(network, recipe.transfer)

    def learning():
        return [
            any(p.requires_grad for p in m.parameters())
            for m in (network.encoder.net.conv1, network.encoder.net.layer4)
        ]

    seen = []
    for done in (0.0, 0.15, 0.5):
        thaw(network, recipe.transfer, done)
        seen.append(learning())
    assert seen == [[False, False], [False, True], [True, True]]


def test_a_frozen_encoder_trains_its_decoder_only(data, tmp_path):
    settings = [*QUICK, "model.encoder=resnet10t", "model.widths=[4,8,8,8,8]", "sample.patch=[64,64]", "train.ema=0"]
    workflow.fit(data, out=tmp_path / "a", steps=2, settings=[*settings, "transfer.freeze=-1"])
    fresh, _ = begin(load_card(tmp_path / "a").recipe, load_card(tmp_path / "a").labels)
    after = load_weights(tmp_path / "a")
    same = {k: np.array_equal(v.numpy(), after[k]) for k, v in fresh.state_dict().items()}
    assert all(equal for name, equal in same.items() if name.startswith("encoder."))
    assert not all(equal for name, equal in same.items() if name.startswith("decoder."))


def test_the_report_of_a_second_run_tells_before_and_after(run, data, tmp_path):
    still = ["train.lr=1e-12", "train.ema=0", "train.weight_decay=0"]
    second = workflow.fit(data, out=tmp_path / "second", steps=1, init=run.path, settings=[*QUICK, *still])
    gain = second.evaluation.gain
    assert gain is not None
    before = gain.mean["dice"]
    assert before.a == pytest.approx(run.evaluation.mean["dice"].value)
    assert "<h3>Before and after</h3>" in (second.path / "report.html").read_text()
    assert run.evaluation.gain is None
    assert "Before and after" not in (run.path / "report.html").read_text()
