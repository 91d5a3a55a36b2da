"""Pretrained encoders: any of timm, any decoder, any size; weights checked; freezing; published networks."""

import copy

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from catenary.errors import ConfigError, InputError, ModelError
from catenary.models import encoders
from catenary.models.encoder_unet import ENCODER_MODELS, TOPOLOGIES, EncoderUNet
from catenary.models.encoders import Encoder
from catenary.models.freezing import freeze, parameter_groups, stages, unfreeze
from catenary.models.fuelcell import keras_count
from catenary.models.pretrained import adapted, input_statistics, load_encoder

TINY = "test_resnet"  # 0.4 million parameters, strides 2 to 32
SMALL = {"encoder": TINY, "widths": (4, 4, 6, 6, 8)}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def count(network):
    return sum(p.numel() for p in network.parameters())


def written(path, name=TINY, **changes):
    """A file with the weights of a whole network of timm, classifier and all; None among the changes leaves one out."""
    weights = timm.create_model(name).state_dict() | changes
    save_file({key: value.contiguous().clone() for key, value in weights.items() if value is not None}, path)
    return path


# --- the family


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("ternausnet", 22_927_393),  # as published by its authors
        ("mobilenetv2_unet", 4_163_777),
        ("vgg16_unet", 25_856_577),
        ("resnet50_unet", 32_521_105),  # that of segmentation_models_pytorch
        ("efficientnet_b4_unet", 19_412_377),
        ("fuelcell_vgg16", 25_860_417),
        ("fuelcell_resnet50", 71_885_507),
    ],
)
def test_named_networks_have_their_size_and_answer_at_any_size(name, parameters):
    with torch.device("meta"):
        network = ENCODER_MODELS[name](classes=2, channels=1).eval()
        assert network(torch.empty(1, 1, 70, 33)).shape == (1, 2, 70, 33)
        network = ENCODER_MODELS[name]()
    assert count(network) == parameters
    assert network.widths == ENCODER_MODELS[name].keywords["widths"]


def test_fuel_cell_networks_have_the_totals_of_the_report():
    with torch.device("meta"):
        vgg, resnet = ENCODER_MODELS["fuelcell_vgg16"](), ENCODER_MODELS["fuelcell_resnet50"]()
    assert (keras_count(vgg), keras_count(resnet)) == (25_866_177, 71_938_627)
    assert (keras_count(vgg.encoder), keras_count(resnet.encoder)) == (14_714_688, 23_587_712)
    freeze(resnet)
    freeze(vgg)
    trained = [sum(p.numel() for p in network.parameters() if p.requires_grad) for network in (vgg, resnet)]
    assert trained == [11_145_729, 48_350_915]


def test_layers_of_the_fuel_cell_decoder_come_in_the_order_of_the_report():
    with torch.device("meta"):
        network = ENCODER_MODELS["fuelcell_vgg16"]()
    names = [type(layer).__name__ for layer in (*network.decoder.ups[0], *network.decoder.blocks[0])]
    block = ["Conv2d", "ReLU", "BatchNorm2d", "Dropout"]
    assert names == ["ConvTranspose2d", "BatchNorm2d", "Dropout", *block, *block]
    assert {layer.p for layer in network.decoder.modules() if isinstance(layer, nn.Dropout)} == {0.4}
    assert network.drop.p == 0.0


@pytest.mark.parametrize("topology", ["unet", "nested", "unet3plus", "fuelcell"])
@pytest.mark.parametrize(("skip", "block"), [("concat", "plain"), ("attention", "recurrent_residual")])
def test_every_decoder_trains_a_step_on_an_encoder(topology, skip, block):
    if topology == "unet3plus":
        skip = "concat"  # it has skips of its own
    network = EncoderUNet(**SMALL, topology=topology, skip=skip, block=block, classes=2, deep_supervision=True)
    answers = network.side_outputs(torch.randn(2, 3, 37, 50))
    assert [a.shape[2:] for a in answers] == [(-(-37 // n), -(-50 // m)) for n, m in network.scales]
    assert len(answers) > 1
    sum(a.square().mean() for a in answers).backward()
    gradients = [p.grad for p in network.parameters()]
    assert all(g is not None and g.isfinite().all() for g in gradients)


@pytest.mark.parametrize("encoder", ["test_convnext", "test_efficientnet", "test_maxvit"])
@pytest.mark.parametrize("train", [True, False])
def test_any_size_comes_back_whatever_the_encoder(encoder, train):
    network = EncoderUNet(encoder=encoder, widths=(4, 4, 4, 6, 6), classes=2).train(train)
    for size in [(1, 1), (33, 70)]:
        assert network(torch.randn(1, 3, *size)).shape == (1, 2, *size)
    assert network.geometry.multiple == {"test_maxvit": 160}.get(encoder, 32)


def test_networks_with_the_channels_last_are_turned_round():
    with torch.device("meta"):
        network = EncoderUNet(encoder="swin_tiny_patch4_window7_224", classes=2).eval()
        assert network(torch.empty(1, 3, 40, 50)).shape == (1, 2, 40, 50)


def test_sizes_stay_open_in_a_graph():
    network = EncoderUNet(encoder="test_efficientnet", widths=(4, 4, 4, 6, 6)).eval()
    sizes = {axis: torch.export.Dim(name, min=64) for axis, name in ((2, "height"), (3, "width"))}
    with torch.no_grad():
        graph = torch.export.export(network, (torch.zeros(1, 3, 128, 192),), dynamic_shapes=(sizes,)).module()
        x = torch.randn(1, 3, 70, 100)
        torch.testing.assert_close(graph(x), network(x))


def test_the_first_side_output_is_the_answer():
    for topology in TOPOLOGIES:
        if topology == "ternausnet":
            continue
        network = EncoderUNet(**SMALL, topology=topology, deep_supervision=True).eval()
        x = torch.randn(1, 3, 40, 40)
        torch.testing.assert_close(network.side_outputs(x)[0], network(x))
        scales = (1, 2, 2, 2, 2) if topology == "nested" else (1, 2, 4, 8, 16, 32)
        assert network.scales == tuple((n, n) for n in scales)
        assert len(EncoderUNet(**SMALL, topology=topology).side_outputs(x)) == 1


def test_mirroring_and_cropping_is_what_the_caller_could_do():
    network = EncoderUNet(**SMALL).eval()
    x = torch.randn(1, 3, 64, 96)
    torch.testing.assert_close(network(x), network.forward_valid(x))
    torch.testing.assert_close(
        network(x[..., :50, :90]), network.forward_valid(network.widened(x[..., :50, :90]))[..., :50, :90]
    )
    with pytest.raises(InputError, match=r"size of \[50, 96\]; the next that fits is \[64, 96\]"):
        network.forward_valid(x[..., :50, :])
    with pytest.raises(InputError, match="3 channels"):
        network(x[:, :1])


def test_features_follow_the_levels():
    made = EncoderUNet(**SMALL).features(torch.randn(1, 3, 64, 64))
    assert [tuple(f.shape[1:]) for f in made] == [
        (4, 64, 64), (4, 32, 32), (6, 16, 16), (6, 8, 8), (8, 4, 4), (96, 2, 2)
    ]  # fmt: skip


def test_depth_cuts_and_strides_choose():
    with torch.device("meta"):
        short = EncoderUNet(encoder=TINY, depth=4)
        assert (short.encoder.strides, short.widths, short.geometry.multiple) == ((2, 4, 8), (16, 32, 64), 8)
        assert EncoderUNet(encoder=TINY, depth=4, widths=(5, 6)).widths == (5, 10, 20)
        later = EncoderUNet(encoder=TINY, strides=(4, 8), widths=(3, 4, 5))
        assert len(later.tail) == 2
        assert later(torch.empty(1, 3, 20, 9)).shape == (1, 1, 20, 9)


def test_two_images_are_learned_by_heart():
    network, x = EncoderUNet(encoder=TINY, widths=(8, 8, 8, 16, 16)).train(), torch.randn(2, 3, 64, 64)
    target = (torch.nn.functional.avg_pool2d(x.mean(1, keepdim=True), 9, 1, 4) > 0).float()
    optimizer = torch.optim.Adam(parameter_groups(network, 1e-2))
    for _ in range(40):
        loss = nn.functional.binary_cross_entropy_with_logits(network(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.3


def test_dropout_sits_at_the_two_deepest_features():
    network = EncoderUNet(**SMALL, dropout=0.5)
    seen = []
    network.drop.register_forward_hook(lambda module, inputs, output: seen.append(tuple(output.shape[1:])))
    network.train()(torch.randn(1, 3, 64, 64))
    assert seen == [(192, 4, 4), (96, 2, 2)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder": "resnet_34"}, "unknown encoder 'resnet_34'; did you mean 'resnet34'?"),
        ({"encoder": "qqqq"}, "unknown encoder 'qqqq'; take one such as"),
        ({"encoder": "hf-hub:some/one"}, "unknown encoder 'hf-hub:some/one'"),
        ({"encoder": "resnet34.tv_in2k"}, "no weights 'tv_in2k'; did you mean 'tv_in1k'?"),
        ({"encoder": "test_vit"}, r"strides \[16, 16, 16\], which do not double"),
        ({"encoder": "hiera_tiny_224"}, "made for images of 224 pixels"),
        ({"encoder": TINY, "strides": (2, 8)}, r"strides \[2, 4, 8, 16, 32\], found \[2, 8\]"),
        ({"encoder": TINY, "strides": (1, 2)}, r"found \[1, 2\]"),
        ({"encoder": TINY, "depth": 7}, "depth = 7 .* set it to 2 to 6"),
        ({"encoder": TINY, "depth": 1}, "depth = 1 "),
        ({"encoder": TINY, "widths": (4, 8)}, r"5 numbers from 1 up, .* found \[4, 8\]"),
        ({"encoder": TINY, "rank": 3}, "two dimensions, found model.rank = 3"),
        ({"encoder": TINY, "padding": "valid"}, "padding 'valid'"),
        ({"encoder": TINY, "topology": "nest"}, "unknown topology 'nest'; did you mean 'nested'?"),
        ({"encoder": TINY, "head": 2}, "model.head"),
    ],
)
def test_settings_that_do_not_fit_say_so(settings, message):
    with torch.device("meta"), pytest.raises(ConfigError, match=message):
        EncoderUNet(**settings)


def test_building_reads_nothing_and_draws_only_its_own_numbers(monkeypatch):
    def refuse(*arguments, **settings):
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    monkeypatch.setattr("safetensors.torch.load_file", refuse)
    EncoderUNet(**SMALL)
    torch.manual_seed(0)
    first = EncoderUNet(**SMALL, weights="hub")
    encoders._facts.cache_clear()  # what is found out about a network must not cost random numbers
    torch.manual_seed(0)
    second = EncoderUNet(**SMALL)
    assert first.weights == "hub"
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


# --- weights


def test_a_file_of_timm_gives_the_features_of_timm(tmp_path):
    torch.manual_seed(1)
    whole = timm.create_model(TINY).eval()
    save_file(whole.state_dict(), tmp_path / "w.safetensors")
    network = EncoderUNet(**SMALL).eval()
    loaded = load_encoder(network, tmp_path / "w.safetensors")
    x = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(network.encoder(x)[-1], whole.forward_features(x), atol=1e-5, rtol=0)
    assert (loaded.arrays, loaded.unused) == (len(network.encoder.state_dict()), 2)
    assert loaded.mean == input_statistics(TINY, 3)[0]


@pytest.mark.parametrize("encoder", ["test_resnet", "test_convnext", "test_efficientnet"])
def test_a_grey_image_means_to_one_channel_what_its_copies_mean_to_three(encoder, tmp_path):
    file = written(tmp_path / "w.safetensors", encoder)
    networks = {c: Encoder(encoder, channels=c).eval() for c in (1, 3, 6)}
    for network in networks.values():
        load_encoder(network, file)
    grey = torch.rand(1, 1, 64, 96)
    expected = networks[3](grey.expand(-1, 3, -1, -1))
    for channels in (1, 6):
        found = networks[channels](grey.expand(-1, channels, -1, -1))
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_channels_are_repeated_in_turn():
    weight = torch.randn(2, 3, 1, 1)
    torch.testing.assert_close(adapted(weight, 4), weight[:, [0, 1, 2, 0]] * 0.75)
    torch.testing.assert_close(adapted(weight, 2), weight[:, :2] * 1.5)
    assert adapted(weight, 3) is weight


def test_torchvision_names_fit_where_they_are_the_same(tmp_path):
    import torchvision

    whole = torchvision.models.resnet18(weights=None).eval()
    save_file(whole.state_dict(), tmp_path / "tv.safetensors")
    network = Encoder("resnet18").eval()
    load_encoder(network, tmp_path / "tv.safetensors")
    x = torch.rand(1, 3, 64, 64)
    expected = nn.Sequential(*[*whole.children()][:-2])(x)
    torch.testing.assert_close(network(x)[-1], expected, atol=1e-5, rtol=1e-5)


def test_names_that_timm_can_translate_fit(tmp_path):
    import torchvision

    weights = torchvision.models.densenet121(weights=None).state_dict()
    old = {key.replace(".norm1.", ".norm.1.").replace(".conv1.", ".conv.1."): value for key, value in weights.items()}
    assert old.keys() != weights.keys()
    save_file(old, tmp_path / "old.safetensors")
    network = Encoder("densenet121", strides=(2, 4, 8))
    load_encoder(network, tmp_path / "old.safetensors")
    key = "denseblock1.denselayer2.conv1.weight"
    torch.testing.assert_close(network.net.state_dict()["features_" + key], weights["features." + key])


def test_a_fuel_cell_encoder_keeps_zero_where_the_file_has_no_bias(tmp_path):
    network = EncoderUNet(**SMALL, biases=True)
    nn.init.ones_(network.encoder.get_parameter("net." + network.encoder.added[0]))
    load_encoder(network, written(tmp_path / "w.safetensors"))
    assert len(network.encoder.added) > 10
    assert all(not network.encoder.get_parameter("net." + name).any() for name in network.encoder.added)


def changed(**changes):
    return lambda folder: written(folder / "w.safetensors", **{key.replace("__", "."): v for key, v in changes.items()})


def pickled(file):
    torch.save({}, file)
    return file


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (lambda folder: folder / "absent.safetensors", "there is no file .*absent.safetensors"),
        (lambda folder: folder / "absent.pth", "there is no file .*absent.pth"),
        (lambda folder: pickled(folder / "w.pth"), r"w\.pth is a pickle.*save_file\(torch.load\('w.pth'"),
        (lambda folder: pickled(folder / "w.bin"), "is a pickle"),
        (changed(layer1__0__conv1__weight=torch.zeros(3, 3)), r"conv1.weight of \[32, 32, 3, 3\], which is \[3, 3\]"),
        (changed(layer2__0__bn1__running_var=None), "89 of 90 arrays fit, .* layer2.0.bn1.running_var .* file lacks"),
        (changed(layer1__7__conv1__weight=torch.zeros(1)), "1 more in the same parts, the first layer1.7.conv1.weight"),
        (lambda folder: written(folder / "e.safetensors", "test_efficientnet"), "1 of 76 arrays fit"),
    ],
)
def test_other_weights_are_refused_and_nothing_is_changed(source, message, tmp_path):
    network = EncoderUNet(**SMALL)
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(ModelError, match=message):
        load_encoder(network, source(tmp_path))
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("keep", [4, 300, 100_000])
def test_truncated_and_garbled_files_are_refused(keep, tmp_path):
    file = written(tmp_path / "w.safetensors")
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(ModelError, match="cannot be read as safetensors"):
        load_encoder(EncoderUNet(**SMALL), file)


def test_a_larger_network_of_the_same_shapes_is_not_mistaken(tmp_path):
    file = written(tmp_path / "r34.safetensors", "resnet34")
    with pytest.raises(ModelError, match=r"all .* fit, but it has .* more in the same parts, the first layer1\.2\."):
        load_encoder(Encoder("resnet18"), file)


def test_a_network_without_such_an_encoder_says_so(tmp_path):
    with pytest.raises(ConfigError, match="has no pretrained encoder"):
        load_encoder(nn.Conv2d(1, 1, 1), tmp_path / "w.safetensors")


# --- the hub


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A cache of the hub with the given weights, and no network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    def keep(name):
        folder = tmp_path / f"models--timm--{name}"
        (folder / "refs").mkdir(parents=True)
        (folder / "refs" / "main").write_text("abc")
        (folder / "snapshots" / "abc").mkdir(parents=True)
        return written(folder / "snapshots" / "abc" / "model.safetensors", name.partition(".")[0])

    return keep


def test_weights_in_the_cache_of_the_hub_need_no_network(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *a, **k: pytest.fail("the network was asked"))
    file = hub(f"{TINY}.r160_in1k")
    network = EncoderUNet(**SMALL)
    for source in ("hub", "hub:r160_in1k"):
        loaded = load_encoder(network, source)
        assert (loaded.name, loaded.file) == (f"{TINY}.r160_in1k", file)


def test_without_network_and_cache_the_remedy_is_named(hub):
    network = EncoderUNet(**SMALL)
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(ModelError, match=r"hf download timm/test_resnet.r160_in1k model.safetensors .* model.weights"):
        load_encoder(network, "hub")
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_the_hub_is_asked_for_the_tag_and_the_progress_told(hub, monkeypatch, tmp_path):
    asked, told = [], []
    file = written(tmp_path / "r.safetensors", "resnet18")

    def download(repository, name, *, revision):
        asked.append((repository, name, revision))
        return str(file)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    loaded = load_encoder(Encoder("resnet18"), "hub:tv_in1k", progress=lambda *step: told.append(step))
    assert asked == [("timm/resnet18.tv_in1k", "model.safetensors", None)]
    assert loaded.name == "resnet18.tv_in1k"
    assert [step[1:] for step in told] == [(0, 1), (1, 1)]
    with pytest.raises(ConfigError, match=r"no weights 'tv_in2k'; did you mean 'tv_in1k'\?"):
        load_encoder(Encoder("resnet18"), "hub:tv_in2k")


def test_an_encoder_that_the_hub_has_not_says_so():
    with pytest.raises(ModelError, match="the hub has no weights of encoder 'test_maxvit'"):
        load_encoder(EncoderUNet(encoder="test_maxvit"), "hub")


def test_input_statistics_follow_the_weights_the_channels_and_the_type():
    assert input_statistics("resnet34", 3) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert input_statistics("inception_v4", 3)[0] == (0.5, 0.5, 0.5)
    assert input_statistics("resnet34", 4, top=255)[0] == pytest.approx((123.675, 116.28, 103.53, 123.675))
    mean, std = input_statistics("resnet34", 1, top=65535)
    assert (mean[0] / 65535, std[0] / 65535) == pytest.approx((0.449, 0.226))


# --- freezing


def learn(network, steps=2, lr=0.1):
    optimizer = torch.optim.AdamW(parameter_groups(network, lr, weight_decay=0.1))
    for _ in range(steps):
        network.train()
        network(torch.randn(2, 3, 64, 64) + 1).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


def moved(before, after):
    return {key for key, value in after.items() if not torch.equal(value, before[key])}


@pytest.mark.parametrize("number", [0, 2, "all"])
@pytest.mark.parametrize("copied", [False, True])
def test_what_is_frozen_stays_to_the_last_statistic(number, copied):
    network = EncoderUNet(**SMALL)
    freeze(network, number)
    network = copy.deepcopy(network) if copied else network
    before = copy.deepcopy(network.state_dict())
    learn(network)
    changed = moved(before, network.state_dict())
    count = 5 if number == "all" else number
    for index, stage in enumerate(network.encoder.stages()):
        state = {f"encoder.{name}.{key}" for name in stage for key in network.encoder.get_submodule(name).state_dict()}
        assert state, index
        assert not state & changed if index < count else state <= changed
    assert "head.weight" in changed


def test_every_parameter_of_the_encoder_is_in_one_stage():
    for name in (TINY, "test_convnext", "test_maxvit"):
        with torch.device("meta"):
            network = EncoderUNet(encoder=name)
        members = [id(p) for stage in stages(network) for m in stage for p in m.parameters(recurse=False)]
        assert sorted(members) == sorted(id(p) for p in network.encoder.parameters())


def test_the_first_stage_is_at_the_image():
    names = Encoder("resnet18").stages()
    assert names[0] == ["net.conv1", "net.bn1"]
    assert all(name.startswith("net.layer4") for name in names[-1])


def test_unfreezing_goes_from_the_deepest_and_returns_what_it_thawed():
    network = EncoderUNet(**SMALL)
    freeze(network)
    thawed = unfreeze(network, 2)
    named = {name for name, p in network.encoder.named_parameters() if p.requires_grad}
    assert {name.split(".")[1] for name in named} == {"layer3", "layer4"}
    assert len(thawed) == len(named)
    assert not network.train().encoder.net.bn1.training
    assert network.encoder.net.layer4[0].bn1.training
    assert len(unfreeze(network, 3)) > 0
    assert unfreeze(network, 3) == []
    unfreeze(network)
    assert all(p.requires_grad for p in network.parameters())
    assert network.encoder.frozen == ()


def test_groups_hold_what_learns_once_and_the_encoder_slower():
    network = EncoderUNet(**SMALL)
    freeze(network, 3)
    groups = parameter_groups(network, 1e-2, 1e-3, weight_decay=0.5)
    members = [id(p) for group in groups for p in group["params"]]
    assert sorted(members) == sorted(id(p) for p in network.parameters() if p.requires_grad)
    inside = {id(p) for p in network.encoder.parameters()}
    for group in groups:
        assert {id(p) in inside for p in group["params"]} == {group["lr"] == 1e-3}
        assert group["scale"] == pytest.approx(group["lr"] / 1e-2)
        assert all((p.ndim > 1) == (group["weight_decay"] > 0) for p in group["params"])
    assert {group["lr"] for group in parameter_groups(nn.Conv2d(1, 1, 1), 0.5)} == {0.5}


@pytest.mark.parametrize("number", [6, -1])
def test_stages_that_are_not_there_are_refused(number):
    with torch.device("meta"), pytest.raises(ConfigError, match="5 stages"):
        freeze(EncoderUNet(**SMALL), number)


# --- beside segmentation_models_pytorch


def theirs_to_ours(theirs, ours, prefix, centre):
    """Weights of a U-Net of segmentation_models_pytorch under our names.

    - ``encoder.*`` is ``encoder.net.*``: with `prefix` removed, and ``features.0`` written ``features_0``.
    - Block ``i`` from below is level ``i`` of the decoder while it has a skip, then a step of the tail.
    - They concatenate (risen, kept), we (kept, risen): the first convolution's inputs change places.
    """
    found = {}
    names = {key.removeprefix("net."): key for key in ours.encoder.state_dict()}
    for key, value in theirs.encoder.state_dict().items():
        key = key.removeprefix(prefix)
        for name in (key, key.replace("features.", "features_", 1)):
            if name in names:
                found[f"encoder.{names[name]}"] = value
    skips = len(ours.decoder.blocks)

    def take(block, target, kept):
        for layer, conv in enumerate((block.conv1, block.conv2)):
            for key, value in conv.state_dict().items():
                if layer == 0 and key == "0.weight" and kept:
                    risen = value.shape[1] - kept
                    value = torch.cat((value[:, risen:], value[:, :risen]), 1)
                found[f"{target}.layers.{layer}.{key}"] = value

    for index, block in enumerate(theirs.decoder.blocks):
        if index < skips:
            take(block, f"decoder.blocks.{index}", ours.encoder.outputs[skips - 1 - index])
        else:
            take(block, f"tail.{index - skips}.1", 0)
    for layer, conv in enumerate(theirs.decoder.center if centre else ()):
        found |= {f"bridge.layers.{layer}.{key}": value for key, value in conv.state_dict().items()}
    return found | {f"head.{key}": value for key, value in theirs.segmentation_head[0].state_dict().items()}


def perturbed(network):
    """Other running statistics and scales than those at the start, so that none can be mixed up."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network.eval()


@pytest.mark.parametrize(
    ("theirs", "prefix", "ours"),
    [
        ("resnet34", "", {"encoder": "resnet34"}),
        ("tu-mobilenetv2_100", "model.", {"encoder": "mobilenetv2_100"}),
        ("vgg11", "", {"encoder": "vgg11", "strides": (2, 4, 8, 16, 32), "bridge": 2}),
        ("tu-test_convnext", "model.", {"encoder": "test_convnext"}),
    ],
)
def test_unets_equal_those_of_segmentation_models_pytorch(theirs, prefix, ours):
    smp = pytest.importorskip("segmentation_models_pytorch")
    peer = perturbed(smp.Unet(theirs, encoder_weights=None, classes=2))
    network = EncoderUNet(**ours, widths=(16, 32, 64, 128, 256), up="nearest", head=3, classes=2).eval()
    network.load_state_dict(theirs_to_ours(peer, network, prefix, centre="bridge" in ours))
    x = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        expected = peer(x)
        torch.testing.assert_close(network(x), expected, atol=1e-5 * expected.abs().max().item(), rtol=0)


def test_the_nested_network_equals_that_of_segmentation_models_pytorch():
    """Theirs gives all nodes but the last of a level as many channels as the encoder there; so do we ask here.

    Their node ``x_d_l`` is our node ``level_column`` with ``level = 3 - l`` and ``column = l - d + 1``; they
    concatenate (risen, nodes from the youngest, encoder), we (encoder, nodes from the oldest, risen).
    """
    smp = pytest.importorskip("segmentation_models_pytorch")
    encoder = "tu-resnet18"
    peer = perturbed(smp.UnetPlusPlus(encoder, encoder_weights=None, decoder_channels=(256, 128, 64, 64, 16)))
    network = EncoderUNet(encoder="resnet18", topology="nested", widths=(16, 64, 64, 128, 256), up="nearest", head=3)
    kept = network.encoder.outputs
    found = {f"encoder.net.{k.removeprefix('model.')}": v for k, v in peer.encoder.state_dict().items()}
    for name, block in peer.decoder.blocks.items():
        depth, layer = (int(part) for part in name.split("_")[1:])
        level, column = 3 - layer, layer - depth + 1
        target = f"decoder.nodes.{level}_{column}" if level >= 0 else "tail.0.1"
        for index, conv in enumerate((block.conv1, block.conv2)):
            for key, value in conv.state_dict().items():
                if index == 0 and key == "0.weight" and level >= 0:
                    width = kept[level]
                    risen, *others = value.split([value.shape[1] - column * width, *[width] * column], 1)
                    value = torch.cat([*others[::-1], risen], 1)
                found[f"{target}.layers.{index}.{key}"] = value
    found |= {f"head.{key}": value for key, value in peer.segmentation_head[0].state_dict().items()}
    network.load_state_dict(found)
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        expected = peer(x)
        torch.testing.assert_close(network.eval()(x), expected, atol=1e-5 * expected.abs().max().item(), rtol=0)
