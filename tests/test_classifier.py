"""Networks for whole images: sizes, counts, weights, freezing, engines, losses."""

import copy
import warnings

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from catenary.data.labels import LabelSet
from catenary.errors import ConfigError, InputError, ModelError
from catenary.geometry import CLASSIFIERS
from catenary.losses.build import LOSSES, SINGLE, build_loss
from catenary.models import MODELS, build, literals, parameters
from catenary.models.classifier import Classifier, encoder_classifier, features, plain_classifier
from catenary.models.freezing import freeze, parameter_groups, stages
from catenary.models.pretrained import load_encoder
from catenary.predict.backends import OnnxEngine, OpenVinoEngine, TorchEngine, to_onnx, to_openvino
from catenary.predict.card import Card, save_model
from catenary.recipe import Loss, Model, Recipe, choose
from catenary.train.start import begin, take_over
from exported import check_exported

TINY = "test_resnet"
TWO = LabelSet(names=("healthy", "glaucoma"), scope="image")
THREE = LabelSet(names=("none", "mild", "severe"), scope="image")
#: Name -> settings that make it small.
SMALL = {
    "classifier": {"widths": (4, 6, 8), "hidden": 5, "dropout": 0.3},
    "glaucoma_cnn": {"widths": (4, 6, 8), "hidden": 5, "side": 40},
    "glaucoma_cnn_pool": {"widths": (4, 6, 8), "hidden": 5},
    "encoder_classifier": {"encoder": TINY, "hidden": 5, "dropout": 0.3},
}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def of_timm(path, name=TINY):
    """A file with the weights of a whole network of timm, its last layer and all, and the network."""
    whole = timm.create_model(name).eval()
    save_file({key: value.contiguous().clone() for key, value in whole.state_dict().items()}, path)
    return whole


def written(path, name, labels, **settings):
    """A model file of a network of this kind, its card and the network."""
    model = Model(**{"name": name, **literals(name), **SMALL[name], "classes": labels.channels, **settings})
    recipe = choose(Recipe(), {f"model.{key}": value for key, value in model.model_dump().items()})
    recipe = choose(recipe, {"sample.patch": (model.side or 48, model.side or 65)})
    network = build(**model.model_dump()).eval()
    card = Card(recipe=recipe, labels=labels, channels=model.channels)
    save_model(path, {key: value.numpy() for key, value in network.state_dict().items()}, card)
    return card, network


# --- what they are


def test_the_names_of_networks_for_whole_images_are_known_without_torch():
    makers = {plain_classifier, encoder_classifier}
    found = [name for name, maker in MODELS.items() if getattr(maker, "func", None) in makers]
    assert sorted(found) == sorted(CLASSIFIERS) == sorted(SMALL)


def test_the_network_of_the_document_has_its_parameters_and_its_layers():
    with torch.device("meta"):
        network = build("glaucoma_cnn")
        assert network(torch.empty(1, 3, 256, 256)).shape == (1, 1, 1, 1)
        assert network.encoder.summary == 30 * 30 * 128
        assert parameters(build("glaucoma_cnn_pool")) == 1792 + 73_856 + 147_584 + 128 * 512 + 512 + 513
    assert parameters(network) == 59_206_657
    kinds = [type(m).__name__ for m in network.modules() if not list(m.children())]
    assert kinds == [*["Conv2d", "ReLU"] * 3, *["MaxPool2d"] * 3, "Linear", "ReLU", "Dropout", "Linear"]
    assert network.hidden[-1].p == 0.5


def test_the_network_of_the_document_computes_what_it_says():
    network = build("glaucoma_cnn", **SMALL["glaucoma_cnn"]).eval()
    x = torch.randn(2, 3, 40, 40)
    y = x
    for block in network.encoder.blocks:
        y = F.max_pool2d(block.layers[0][0](y), 2).relu()  # pooled, then ReLU: the order makes no difference
    dense, head = network.hidden[0], network.head
    torch.testing.assert_close(network(x)[:, :, 0, 0], head(dense(y.flatten(1)).relu()))


def test_inception_with_the_head_of_the_document():
    with torch.device("meta"):
        network = build("encoder_classifier", encoder="inception_v3", hidden=512, dropout=0.5).eval()
        assert network(torch.empty(1, 3, 256, 256)).shape == (1, 1, 1, 1)
        own = timm.create_model("inception_v3", num_classes=0)
    assert parameters(network) == parameters(own) + 2048 * 512 + 512 + 513


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("train", [True, False])
def test_logits_are_a_map_of_one_pixel_in_every_mode(name, train):
    network = build(name, **SMALL[name], classes=3, channels=4).train(train)
    side = network.side or 50
    assert network(torch.randn(2, 4, side, side)).shape == (2, 3, 1, 1)
    if not network.side:
        assert network(torch.randn(2, 4, 61, network.least)).shape == (2, 3, 1, 1)


@pytest.mark.parametrize("name", SMALL)
def test_every_field_of_a_recipe_builds_it(name):
    settings = Model(**{"name": name, **literals(name), **SMALL[name]}).model_dump()
    assert isinstance(build(**settings), Classifier)


@pytest.mark.parametrize("settings", [
    {"block": "residual", "norm": "instance", "down": "conv"}, {"padding": "reflect", "kernel": 5},
    {"padding": "valid", "convs": 2}, {"block": "recurrent_residual", "norm": "group"},
])  # fmt: skip
def test_blocks_of_the_family_classify_from_the_least_size_on(settings):
    network = build("classifier", widths=(4, 8, 8), **settings).train()
    network(torch.randn(2, 3, network.least, network.least)).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    flat = build("classifier", widths=(4, 8, 8), side=network.least + 3, **settings)
    assert flat(torch.randn(2, 3, flat.side, flat.side)).shape == (2, 1, 1, 1)


@pytest.mark.parametrize("name", SMALL)
def test_features_are_what_the_head_sees_without_places(name):
    network = build(name, **SMALL[name]).eval()
    x = torch.randn(3, 3, 40, 40)
    found = features(network, x)
    maps = network.maps(x)
    assert found.shape == (3, maps.shape[1])
    if name.startswith("encoder"):
        torch.testing.assert_close(found, maps.mean((2, 3)))
    else:
        torch.testing.assert_close(found, F.max_pool2d(maps, 2).mean((2, 3)))


def test_it_sees_the_whole_image_and_nothing_beyond_it_decides():
    network = build("classifier", widths=(4, 8)).eval()
    x = torch.randn(1, 3, 32, 32, requires_grad=True)
    network(x).sum().backward()
    assert (x.grad.abs().sum(1) > 0).float().mean() > 0.9
    torch.testing.assert_close(network(x.detach().repeat(1, 1, 1, 1)), network(x.detach()))


def test_networks_of_one_size_name_it():
    network = build("glaucoma_cnn", **SMALL["glaucoma_cnn"])
    with pytest.raises(ConfigError, match=r"takes images of 40 x 40 pixels, found 40 x 41; set sample.patch to \[40"):
        network(torch.zeros(1, 3, 40, 41))
    with pytest.raises(ConfigError, match=r"at least 30 pixels a side, found model\.side = 20"):
        build("glaucoma_cnn", side=20)
    with pytest.raises(ConfigError, match=r"images of one size; set model\.side to 160"):
        build("encoder_classifier", encoder="test_vit")
    small = build("encoder_classifier", encoder="test_vit", side=64).eval()
    assert small(torch.zeros(1, 3, 64, 64)).shape == (1, 1, 1, 1)


@pytest.mark.parametrize(("shape", "told"), [
    ((1, 3, 8, 40), "at least 16 pixels a side, found 8 x 40"), ((1, 2, 40, 40), "3 channels .* 2 channels"),
    ((1, 3, 4, 40, 40), "found 3D"),
])  # fmt: skip
def test_images_that_do_not_suit_are_refused(shape, told):
    with pytest.raises(InputError, match=told):
        build("classifier", widths=(4, 4, 8))(torch.zeros(shape)) if len(shape) == 4 else build(
            "classifier", widths=(4, 4, 8)
        )._check(torch.zeros(shape))


@pytest.mark.parametrize(("settings", "told"), [
    ({"encoder": "resnet_18"}, "did you mean 'resnet18'"), ({"norm": "instance"}, "has no setting 'norm'"),
    ({"fusion": "feature", "channels": 6}, "whole images of one date"), ({"rank": 3}, "has no setting 'rank'"),
])  # fmt: skip
def test_settings_that_cannot_be_are_refused(settings, told):
    with pytest.raises(ConfigError, match=told):
        build("encoder_classifier", **{"encoder": TINY, **settings})


# --- weights


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pretrained_weights_load_for_any_number_of_channels(tmp_path, channels):
    whole = of_timm(tmp_path / "w.safetensors")
    network = build("encoder_classifier", encoder=TINY, channels=channels).eval()
    before = copy.deepcopy(network.head.state_dict())
    told = load_encoder(network, tmp_path / "w.safetensors")
    assert (told.arrays, told.unused) == (len(network.encoder.net.state_dict()), 2)
    assert all(torch.equal(before[key], value) for key, value in network.head.state_dict().items())
    grey = torch.randn(2, 1, 64, 64)
    if channels != 4:
        expected = whole.forward_head(whole.forward_features(grey.expand(-1, 3, -1, -1)), pre_logits=True)
        torch.testing.assert_close(features(network, grey.expand(-1, channels, -1, -1)), expected)


def test_weights_of_another_network_are_refused_and_nothing_changes(tmp_path):
    of_timm(tmp_path / "w.safetensors", "test_efficientnet")
    network = build("encoder_classifier", encoder=TINY)
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(ModelError, match="does not hold the weights of encoder 'test_resnet'"):
        load_encoder(network, tmp_path / "w.safetensors")
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    with pytest.raises(ConfigError, match="no pretrained encoder"):
        load_encoder(build("classifier", widths=(4, 8)), tmp_path / "w.safetensors")


def test_a_recipe_begins_with_weights_and_holds_all_but_the_head(tmp_path):
    of_timm(tmp_path / "w.safetensors")
    settings = {"model.name": "encoder_classifier", "model.encoder": TINY, "model.hidden": 4}
    recipe = choose(Recipe(), {**settings, "transfer.weights": str(tmp_path / "w.safetensors")})
    network, told = begin(recipe, TWO)
    assert "encoder test_resnet" in told
    freeze(network, "all")
    free = {name.partition(".")[0] for name, p in network.named_parameters() if p.requires_grad}
    assert free == {"hidden", "head"}
    statistics = copy.deepcopy(dict(network.encoder.named_buffers()))
    network.train()(torch.randn(2, 3, 64, 64)).sum().backward()
    assert all(torch.equal(statistics[key], value) for key, value in network.encoder.named_buffers())


def test_stages_go_from_the_image_to_the_head_and_slow_ones_are_the_encoder():
    network = build("encoder_classifier", encoder=TINY)
    found = stages(network)
    held = [p for stage in found for m in stage for p in m.parameters(recurse=False)]
    assert {id(p) for p in held} == {id(p) for p in network.encoder.parameters()}
    assert len(held) == len({id(p) for p in held})
    assert any(m is network.encoder.net.conv1[0] for m in found[0])
    assert {group["scale"] for group in parameter_groups(network, 1.0, 0.5)} == {1.0, 0.5}
    freeze(network, 1)
    assert not network.encoder.net.conv1[0].weight.requires_grad
    assert network.encoder.net.layer4[0].conv1.weight.requires_grad


def test_a_run_is_taken_over_with_the_logits_of_its_classes(tmp_path):
    _, before = written(tmp_path / "m.safetensors", "classifier", THREE)
    network = build(**Model(**{"name": "classifier", **SMALL["classifier"], "classes": 4}).model_dump())
    labels = LabelSet(names=("severe", "none", "odd", "mild"), scope="image")
    assert "the logits of severe, none, mild" in take_over(network, tmp_path / "m.safetensors", labels)
    torch.testing.assert_close(network.head.weight[[1, 3, 0]], before.head.weight)
    torch.testing.assert_close(network.encoder.state_dict(), before.encoder.state_dict())


# --- engines


@pytest.mark.parametrize(("name", "labels"), [*zip(SMALL, [TWO, TWO, THREE, THREE], strict=True)])
def test_converted_networks_answer_and_give_features_as_torch_does(name, labels, tmp_path):
    pytest.importorskip("openvino", reason="the fast engine is not installed")
    card, network = written(tmp_path / "m.safetensors", name, labels)
    (tmp_path / "engine").mkdir()
    to_openvino(tmp_path / "m.safetensors", card, tmp_path / "engine")
    engine, own = OpenVinoEngine(tmp_path / "engine", "fp32"), TorchEngine(tmp_path / "m.safetensors", card, exact=True)
    for n in (1, 3):
        x = np.random.default_rng(0).normal(size=(n, 3, *card.recipe.sample.patch)).astype(np.float32)
        with torch.no_grad():
            logits, inner = network(torch.from_numpy(x)), features(network, torch.from_numpy(x)).numpy()
        expected = (logits.sigmoid() if labels is TWO else logits.softmax(1)).numpy()
        for one in (engine, own):
            answer, found = one.with_features(x)
            assert answer.shape == (n, labels.channels, 1, 1)
            np.testing.assert_allclose(answer, expected, atol=1e-4)
            np.testing.assert_allclose(found, inner, atol=1e-3, rtol=1e-3)
            np.testing.assert_array_equal(one(x), answer)


@pytest.mark.parametrize("name", ["classifier", "glaucoma_cnn_pool"])
def test_own_networks_export_with_free_sides(name):
    network = build(name, **SMALL[name], classes=3).eval()
    least = 2 * network.least
    check_exported(network, (2, 3, least + 3, least + 9), (least, least), [(1, 3, least, least), (3, 3, 61, 90)])


def test_onnx_takes_them_too(tmp_path):
    pytest.importorskip("onnxruntime", reason="the engine is not installed")
    pytest.importorskip("onnxscript", reason="the converter is not installed")
    card, network = written(tmp_path / "m.safetensors", "classifier", THREE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own converter
        to_onnx(tmp_path / "m.safetensors", card, tmp_path)
    x = np.random.default_rng(0).normal(size=(3, 3, 48, 65)).astype(np.float32)
    answer, found = OnnxEngine(tmp_path, "fp32").with_features(x)
    with torch.no_grad():
        np.testing.assert_allclose(answer, network(torch.from_numpy(x)).softmax(1).numpy(), atol=1e-5)
        np.testing.assert_allclose(found, features(network, torch.from_numpy(x)).numpy(), atol=1e-4, rtol=1e-4)


# --- losses


def torch_loss(name, logits, target, weights, gamma=2.0):
    """What torch has on ``(n, k)``; focal by its formula."""
    if logits.shape[1] > 1 and name == "bce":
        truth = F.one_hot(target, logits.shape[1]).float()
        return F.binary_cross_entropy_with_logits(logits, truth, pos_weight=weights)
    if logits.shape[1] > 1:
        each = F.cross_entropy(logits, target, reduction="none")
        share = torch.ones_like(each) if weights is None else weights[target]
        slope = (1 - (-each).exp()) ** gamma if name == "focal" else 1
        return (share * slope * each).sum() / share.sum()
    truth = target[:, None].float()
    each = F.binary_cross_entropy_with_logits(logits, truth, reduction="none", pos_weight=weights)
    right = torch.where(truth > 0, logits.sigmoid(), 1 - logits.sigmoid())
    return (each * (1 - right) ** gamma if name == "focal" else each).mean()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("labels", [TWO, THREE])
@pytest.mark.parametrize("name", SINGLE)
def test_losses_of_single_answers_are_those_of_torch(name, labels, weighted):
    logits = torch.randn(9, labels.channels, 1, 1, requires_grad=True)
    target = torch.randint(0, labels.count, (9, 1, 1), dtype=torch.uint8)
    weights = tuple(float(1 + i) * 1.5 for i in range(labels.channels)) if weighted else ()
    found = build_loss(Loss(name=name, class_weights=weights), labels)(logits, target)
    own = logits.detach().flatten(1).requires_grad_()
    expected = torch_loss(name, own, target.flatten().long(), torch.tensor(weights) if weighted else None)
    torch.testing.assert_close(found, expected)
    found.backward()
    expected.backward()
    torch.testing.assert_close(logits.grad.flatten(1), own.grad)


def test_losses_of_regions_are_refused_for_whole_images():
    for name in LOSSES.keys() - {*SINGLE}:
        with pytest.raises(ConfigError, match=f"loss '{name}' compares regions .* set loss.name to bce, ce or focal"):
            build_loss(Loss(name=name), TWO)


@pytest.mark.parametrize("name", ["classifier", "encoder_classifier"])
def test_it_learns_a_few_images_by_heart(name):
    network = build(name, **SMALL[name], classes=3).train()
    x, target = torch.randn(6, 3, 40, 40), torch.tensor([0, 1, 2, 0, 1, 2], dtype=torch.uint8)[:, None, None]
    loss, optimizer = build_loss(Loss(name="ce"), THREE), torch.optim.Adam(network.parameters(), 1e-2)
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    for _ in range(40):
        optimizer.zero_grad()
        value = loss(network(x), target)
        value.backward()
        optimizer.step()
    assert value.item() < 0.1
    assert (network(x).argmax(1)[:, 0, 0] == target[:, 0, 0]).all()
