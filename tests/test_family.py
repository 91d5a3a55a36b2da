"""The U-Net family: every block with every skip in every topology, the networks by name, pruning, what a pixel sees."""

import itertools
import warnings

import pytest
import torch
from torch import nn

from catenary.errors import ConfigError
from catenary.geometry import RADII, TOPOLOGIES, axes_of, geometry_of
from catenary.models import MODELS, UNet, build, decoders, literals, parameters, receptive_field
from catenary.models.blocks import BLOCKS, MultiRes, RecurrentConv
from catenary.models.build import SOURCES, describe_networks, keras_total
from catenary.models.decoders import DECODERS
from catenary.models.layers import DOWNS, UPS
from catenary.models.skips import SKIPS, AttentionGate
from catenary.recipe import Model
from reach import farthest_gradient

SMALL = {"widths": (4, 6, 8), "norm": "batch"}
SHAPE = {2: (17, 5), 3: (3, 9, 5)}
#: The networks whose encoders are of own blocks.
OWN = [name for name, maker in MODELS.items() if getattr(maker, "func", None) is UNet]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def makes_sense(block, skip, topology):
    if topology == "unet3plus":
        return skip == "concat"
    return (block, skip) != ("multires", "add")


FAMILY = [one for one in itertools.product(BLOCKS, SKIPS, DECODERS) if makes_sense(*one)]


@pytest.mark.parametrize(("block", "skip", "topology"), FAMILY)
def test_every_combination_trains_a_step_and_takes_any_size(block, skip, topology):
    for rank, size in SHAPE.items():
        widths = (4, 6, 8) if rank == 2 else (4, 6)
        network = UNet(rank=rank, widths=widths, norm="batch", block=block, skip=skip, topology=topology, classes=2)
        answer = network(torch.randn(2, 3, *size))
        assert answer.shape == (2, 2, *size)
        answer.square().mean().backward()
        gradients = {name: p.grad for name, p in network.named_parameters()}
        assert all(g is not None and g.isfinite().all() for g in gradients.values())
        assert all(gradients[name].abs().max() > 0 for name in gradients if name.endswith(("feed.weight", "0.weight")))
        torch.optim.SGD(network.parameters(), lr=0.01).step()
        with torch.no_grad():
            point = network.eval()(torch.randn(1, 3, *[1] * rank))
        assert point.shape == (1, 2, *[1] * rank)
        assert point.isfinite().all()


@pytest.mark.parametrize(("block", "skip", "topology"), FAMILY)
def test_every_combination_runs_channels_last_in_bf16(block, skip, topology):
    network = UNet(widths=(4, 6), block=block, skip=skip, topology=topology, norm="none")
    x = torch.randn(1, 3, 6, 9)
    expected = network(x)
    network.to(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        answer = network(x.to(memory_format=torch.channels_last))
        answer.sum().backward()
    assert (answer.float() - expected).abs().max() < 0.1 * expected.abs().max() + 0.02


@pytest.mark.parametrize("up", UPS)
@pytest.mark.parametrize("down", DOWNS)
@pytest.mark.parametrize("topology", DECODERS)
def test_every_way_down_and_up(up, down, topology):
    network = UNet(**SMALL, up=up, down=down, topology=topology, deep_supervision=True)
    assert network.side_outputs(torch.randn(2, 3, 17, 5))[0].shape == (2, 1, 17, 5)


def test_registries_agree_on_their_names():
    assert RADII.keys() == BLOCKS.keys()
    assert set(TOPOLOGIES) == DECODERS.keys()


# --- blocks and skips


@pytest.mark.parametrize("kind", ["batch", "none"])
def test_recurrent_convolution_is_the_papers_formula(kind):
    steps = 3
    unit = RecurrentConv(2, 3, 4, steps=steps, norm=kind).eval()
    for norm in unit.norms if kind == "batch" else []:  # statistics that differ from step to step
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    u = torch.randn(2, 3, 7, 6)
    fed = nn.functional.conv2d(u, unit.feed.weight, unit.feed.bias, padding=1)
    state = unit.norms[0](fed).relu()
    for step in range(1, steps + 1):
        state = unit.norms[step](fed + nn.functional.conv2d(state, unit.back.weight, padding=1)).relu()
    torch.testing.assert_close(unit(u), state)


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_kernels_and_normalisations_of_recurrent_units_are_their_own(norm):
    network = UNet(widths=(4, 6), block="recurrent_residual", steps=3, norm=norm)
    units = [m for m in network.modules() if hasattr(m, "feed")]
    assert len(units) == 6
    network(torch.randn(2, 3, 8, 8)).square().sum().backward()
    for unit in units:
        assert unit.feed.weight.data_ptr() != unit.back.weight.data_ptr()
        assert not torch.equal(unit.feed.weight.grad, unit.back.weight.grad)
        norms = [m for m in unit.norms.modules() if isinstance(m, nn.BatchNorm2d)]
        assert len({m.running_mean.data_ptr() for m in norms}) == (4 if norm == "batch" else 0)
        assert all(m.num_batches_tracked == 1 for m in norms)  # each is used once a pass


@pytest.mark.parametrize("block", ["residual", "recurrent_residual", "inverted_residual", "squeeze_excite"])
def test_residual_units_add_their_input(block):
    unit = BLOCKS[block](2, 4, 4)
    for name, p in unit.named_parameters():
        if not name.startswith("enter"):
            nn.init.zeros_(p)
    x = torch.rand(1, 4, 5, 5)  # positive, which the last activation lets through
    expected = unit.enter(x) if block == "recurrent_residual" else x
    torch.testing.assert_close(unit(x), expected)
    assert not torch.equal(BLOCKS[block](2, 4, 4)(x), x)


@pytest.mark.parametrize("rank", [2, 3])
def test_asymmetric_kernels_look_along_one_axis_each(rank):
    kernels = [m.kernel_size for m in BLOCKS["asymmetric"](rank, 2, 2, convs=1).modules() if hasattr(m, "kernel_size")]
    assert sorted(kernels) == sorted(tuple(3 if i == j else 1 for i in range(rank)) for j in range(rank))


def test_multires_widths_are_the_authors():
    given = [MultiRes(2, 3, n, convs=3) for n in (32, 64, 128, 256, 512)]
    assert [block.outputs for block in given] == [51, 105, 212, 426, 853]


def test_inverted_residual_widens_six_fold_with_one_filter_a_channel():
    first = BLOCKS["inverted_residual"](2, 4, 8).units[0]
    assert [(m.in_channels, m.out_channels, m.groups) for m in first.modules() if isinstance(m, nn.Conv2d)] == [
        (4, 24, 1),
        (24, 24, 24),
        (24, 8, 1),
    ]


def test_squeeze_and_excitation_weighs_channels_by_the_whole_image():
    unit = BLOCKS["squeeze_excite"](2, 4, 4, norm="batch").eval()
    x = torch.randn(1, 4, 32, 32)
    far = x.clone()
    far[..., 31, 31] += 100
    assert not torch.allclose(unit(x)[..., 0, 0], unit(far)[..., 0, 0])


def test_the_gate_weighs_what_was_kept():
    gate = AttentionGate(2, (4,), 6, norm="batch").eval()
    kept, risen = torch.randn(1, 4, 5, 5), torch.randn(1, 6, 5, 5)
    joined = gate(kept, risen)
    torch.testing.assert_close(joined[:, 4:], risen)
    ratio = joined[:, :4] / kept
    assert ((ratio > 0) & (ratio < 1)).all()
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))  # one weight a pixel
    nn.init.constant_(gate.psi[1].bias, 40.0)
    torch.testing.assert_close(gate(kept, risen)[:, :4], kept)


def test_res_paths_are_as_long_as_the_levels_below():
    network = UNet(widths=(2, 2, 2, 2, 2), skip="res_path")
    lengths = [len(path.links) for path in network.modules() if hasattr(path, "links")]
    assert sorted(lengths, reverse=True) == [4, 3, 2, 1]


# --- unpadded convolutions


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize("topology", DECODERS)
def test_unpadded_networks_work_or_say_why_not(block, skip, topology):
    settings = {**SMALL, "block": block, "skip": skip, "topology": topology, "padding": "valid"}
    works = block in ("plain", "residual", "asymmetric", "squeeze_excite") and skip != "res_path" and topology == "unet"
    if works:
        network = UNet(**settings, convs=(1, 2, 3), kernel=3)
        x = torch.randn(1, 3, 11, 3)
        assert network.eval()(x).shape == (1, 1, 11, 3)
        margin = network.geometry.margin
        side = network.geometry.output_size(5)
        assert network.forward_valid(torch.randn(1, 3, side + 2 * margin, side + 2 * margin)).shape[2:] == (side, side)
    else:
        with pytest.raises(ConfigError, match="set model"):
            UNet(**settings)


# --- what a pixel sees


REACHES = [
    {"block": "recurrent", "steps": 1},
    {"block": "recurrent_residual", "steps": 2, "convs": 1},
    {"block": "multires", "convs": 3},
    {"block": "asymmetric", "up": "resize_conv"},
    {"block": "inverted_residual", "up": "nearest"},
    {"block": "residual", "convs": (1, 2, 3), "kernel": 5, "down": "conv", "widths": (2, 2, 2)},
    {"skip": "attention"},
    {"skip": "res_path", "convs": 1},
    {"skip": "res_path", "topology": "nested", "up": "resize", "widths": (2, 2, 2)},
    {"topology": "nested", "widths": (2, 2, 2, 2), "convs": 1},
    {"topology": "nested", "widths": (2, 2, 2, 2), "convs": 1, "prune": 1, "deep_supervision": True},
    {"skip": "res_path", "topology": "nested", "widths": (2,) * 5, "convs": 1, "prune": 1, "deep_supervision": True},
    {"topology": "unet3plus", "widths": (2, 2, 2), "convs": 1},
    {"topology": "unet3plus", "block": "residual"},
]


@pytest.mark.parametrize("settings", REACHES, ids=str)
def test_receptive_field_is_where_gradients_end(settings):
    network = UNet(**{"channels": 1, "widths": (2, 2), "activation": "gelu", "down": "mean", **settings})
    network = network.double().eval()
    if settings.get("topology") == "unet3plus":
        network.decoder.pool = nn.functional.avg_pool2d  # a maximum passes the gradient of one pixel only
    assert receptive_field(network) == farthest_gradient(network, 128)


def test_weights_of_the_whole_image_leave_no_receptive_field():
    assert receptive_field(UNet(widths=(4, 4), block="squeeze_excite")) is None


@pytest.mark.parametrize("name", OWN)
def test_the_recipe_alone_tells_the_geometry(name):
    settings = Model(**{"name": name, **literals(name)}).model_dump()
    with torch.device("meta"):
        network = build(**settings)
    assert geometry_of(**settings) == network.geometry
    assert axes_of(**settings) == network.axes == (network.geometry,) * network.rank


def test_an_encoder_of_another_library_has_a_geometry_too():
    geometry = geometry_of(widths=(8, 16), encoder="resnet34", topology="of its own")
    assert (geometry.multiple, geometry.whole) == (32, True)


def test_mirrored_padding_of_large_kernels_gets_the_pixels_it_needs():
    network = UNet(**SMALL, kernel=7, padding="reflect").eval()
    assert network(torch.randn(1, 3, 1, 9)).shape == (1, 1, 1, 9)


# --- topologies, deep supervision, pruning


def test_nested_nodes_join_all_to_their_left():
    decoder = DECODERS["nested"](2, (3, 5, 7, 9), (4, 6, 8))
    inputs = {name: node.layers[0][0].in_channels for name, node in decoder.nodes.items()}
    assert inputs == {"0_1": 3 + 4, "1_1": 5 + 6, "2_1": 7 + 8, "0_2": 3 + 4 + 4, "1_2": 5 + 6 + 6, "0_3": 3 + 3 * 4}


@pytest.mark.parametrize(("topology", "skip"), [("unet", "attention"), ("nested", "res_path"), ("unet3plus", "concat")])
def test_an_encoder_without_a_finest_feature_fits_every_decoder(topology, skip):
    decoder = DECODERS[topology](2, (0, 5, 7), (4, 6), skip=skip, norm="batch", activation="relu")
    sizes = [(2, 0, 12, 8), (2, 5, 6, 4), (2, 7, 3, 2)]
    made = decoder([torch.randn(size) for size in sizes])
    assert [x.shape[1] for x in made] == [*decoder.outputs]
    assert [x.shape[2:] for x in made] == [torch.Size(size[2:]) for size in sizes]


@pytest.mark.parametrize(("rank", "kernel"), [(2, 1), (2, 3), (2, 5), (3, 3)])
@pytest.mark.parametrize(("padding", "bias"), [("zeros", True), ("reflect", False)])
def test_full_scale_skips_are_convolutions_of_enlarged_features(rank, kernel, padding, bias, monkeypatch):
    def at_length(conv, x, factors):
        return conv(nn.functional.interpolate(x, scale_factor=factors, mode="bilinear" if rank == 2 else "trilinear"))

    decoder = DECODERS["unet3plus"](rank, (3, 5, 7, 9), (4, 6, 8), kernel=kernel, padding=padding, bias=bias).double()
    features = [torch.randn(2, c, 24 >> i, 32 >> i, *[24 >> i] * (rank - 2)) for i, c in enumerate((3, 5, 7, 9))]
    features = [x.double().requires_grad_() for x in features]

    def look():
        made = decoder(features)
        wanted = [*features, *decoder.parameters()]
        return made, torch.autograd.grad(sum(x.square().sum() for x in made), wanted)

    found = look()
    monkeypatch.setattr(decoders, "_enlarged", at_length)
    torch.testing.assert_close(found, look())


@pytest.mark.parametrize("topology", ["unet", "unet3plus"])
def test_side_outputs_of_levels_match_a_strided_label_map(topology):
    network = UNet(**SMALL, topology=topology, deep_supervision=True).eval()
    x = torch.randn(1, 3, 18, 13)
    full, *sides = network.side_outputs(x)
    torch.testing.assert_close(full, network(x))
    assert network.scales == ((1, 1), (2, 2), (4, 4))
    for (rows, columns), side in zip(network.scales[1:], sides, strict=True):
        assert side.shape == x[:, :1, ::rows, ::columns].shape


def test_side_outputs_of_a_nested_network_are_whole():
    network = UNet(**SMALL, topology="nested", deep_supervision=True).eval()
    x = torch.randn(1, 3, 18, 13)
    answers = network.side_outputs(x)
    torch.testing.assert_close(answers[0], network(x))
    assert [a.shape[2:] for a in answers] == [x.shape[2:]] * 2
    assert network.scales == ((1, 1), (1, 1))


@pytest.mark.parametrize("columns", [1, 2, 3])
@pytest.mark.parametrize("skip", ["concat", "res_path"])
def test_a_pruned_network_answers_as_the_whole_ones_node(columns, skip):
    settings = {"widths": (4, 5, 6, 7), "norm": "batch", "topology": "nested", "deep_supervision": True, "skip": skip}
    whole, pruned = UNet(**settings).eval(), UNet(**settings, prune=columns).eval()
    pruned.load_state_dict(whole.state_dict())
    x = torch.randn(1, 3, 21, 9)
    expected = whole.side_outputs(x)[3 - columns :]
    torch.testing.assert_close(pruned(x), expected[0], rtol=0, atol=0)
    torch.testing.assert_close(pruned.side_outputs(x), expected, rtol=0, atol=0)
    assert len(pruned.encoder) == columns + 1
    assert (parameters(pruned) < parameters(whole)) == (columns < 3)
    again = UNet(**settings, prune=columns)
    again.load_state_dict(pruned.state_dict())  # its own weights are enough
    damaged = {name: value for name, value in whole.state_dict().items() if not name.startswith("encoder.0")}
    with pytest.raises(RuntimeError, match=r"encoder\.0"):
        again.load_state_dict(damaged)


# --- by name


COUNTS = {
    ("unet", ()): 31_031_745,
    ("unetpp", (("channels", 1),)): 9_041_601,
    ("attention_unet", ()): 34_878_573,
}


@pytest.mark.parametrize(("name", "settings"), COUNTS, ids=str)
def test_parameter_counts_of_the_literature(name, settings):
    with torch.device("meta"):
        assert parameters(build(name, **dict(settings))) == COUNTS[name, settings]


def test_count_of_the_3d_unet():
    """The paper's 19,069,955 counts no scale and offset of normalisations and no bias of ways up."""
    with torch.device("meta"):
        network = build("unet3d", classes=3, norm="none")
    assert parameters(network) - sum(up.layer.bias.numel() for up in network.decoder.ups) == 19_069_955


def test_count_of_multiresunet_as_keras_has_it():
    with torch.device("meta"):
        assert keras_total(build("multiresunet")) == 7_262_750


def test_networks_are_described():
    described = {d.name: d for d in describe_networks()}
    assert described.keys() == MODELS.keys()
    assert all(d.gflops > 1 and d.parameters > 1e5 for d in described.values())
    assert all(described[name].source for name in SOURCES)
    # multiplications a pixel, by hand: the encoder's levels, the decoder's four (2 to rise, 27 in a block), ends
    by_hand = 64**2 * (9 + 4 * 13.5 + 4 * (2 + 27)) + 9 * 3 * 64 + 64
    assert described["unet"].gflops == pytest.approx(2 * 256 * 256 * by_hand / 1e9)


@pytest.mark.parametrize("name", OWN)
def test_a_named_network_runs_when_it_is_narrow(name):
    own = literals(name)
    rank = own.get("rank", 2)
    network = build(name, widths=(4, 6, 8), channels=1)
    assert network(torch.randn(2, 1, *SHAPE[rank])).shape == (2, 1, *SHAPE[rank])


def test_literals_are_fields_of_the_recipe():
    for name in MODELS:
        assert literals(name).keys() <= Model.model_fields.keys()


def test_a_field_that_a_network_does_not_know_may_have_its_default(monkeypatch):
    monkeypatch.setitem(MODELS, "tiny", lambda *, channels=3, classes=1: nn.Conv2d(channels, classes, 1))
    settings = Model(name="tiny").model_dump()
    assert isinstance(build(**settings), nn.Conv2d)
    with pytest.raises(ConfigError, match="network 'tiny' has no setting 'dropout'"):
        build(**{**settings, "dropout": 0.5})


# --- export


FREE = {0: torch.export.Dim("b", max=64), 2: torch.export.Dim("h", min=5), 3: torch.export.Dim("w", min=5)}


@pytest.mark.parametrize(
    "settings",
    [
        {"topology": "nested", "block": "recurrent_residual", "steps": 1, "skip": "attention", "up": "resize_conv"},
        {"topology": "unet3plus", "block": "squeeze_excite"},
        {"block": "multires", "skip": "res_path", "down": "conv"},
    ],
)
def test_export_with_free_sizes(settings):
    network = UNet(widths=(4, 6), convs=1, norm="batch", **settings).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own tracing
        program = torch.export.export(network, (torch.randn(2, 3, 24, 32),), dynamic_shapes=(FREE,))
    x = torch.randn(3, 3, 7, 21)
    torch.testing.assert_close(program.module()(x), network(x), atol=1e-5, rtol=1e-5)


# --- errors


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"block": "recurent"}, "unknown block 'recurent'; did you mean 'recurrent'"),
        ({"topology": "nestd"}, "unknown topology 'nestd'; did you mean 'nested'"),
        ({"skip": "atention"}, "unknown skip 'atention'; did you mean 'attention'"),
        ({"down": "meen"}, "unknown way down 'meen'; did you mean 'mean'"),
        ({"grow": "lst"}, "unknown model.grow 'lst'; did you mean 'last'"),
        ({"grow": "last", "block": "residual"}, "for plain blocks, found 'residual'"),
        ({"skip": "add", "block": "multires"}, r"skip 'add' needs equal channels, found \d+ and 4"),
        ({"skip": "add", "topology": "unet3plus"}, "found 'add'; set model.skip to 'concat'"),
        ({"kernel": 4}, "odd number of pixels a side, found 4"),
        ({"convs": ()}, r"model.convs must be numbers from 1 up, found \(\)"),
        ({"convs": (1, 0)}, "model.convs"),
        ({"prune": 1}, "set model.topology to 'nested' and model.deep_supervision"),
        ({"prune": 2, "topology": "nested", "deep_supervision": True}, "a column from 1 to 1, or 0 for all, found 2"),
        ({"prune": 9, "topology": "nested", "deep_supervision": True}, "found 9"),
        ({"topology": "nested", "widths": (4,)}, "at least two levels"),
    ],
)
def test_a_wrong_setting_is_told(settings, words):
    with pytest.raises(ConfigError, match=words):
        build("unet", **{"widths": (4, 8), **settings})
