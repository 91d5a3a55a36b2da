"""Pooling and kernels that differ from axis to axis: volumes whose slices lie further apart than their pixels."""

import numpy as np
import pytest
import torch
from torch import nn

from catenary.errors import ConfigError
from catenary.geometry import axes_of, check_depth, geometry_of
from catenary.models import MODELS, UNet, build, literals, receptive_field
from catenary.models.blocks import BLOCKS
from catenary.models.borders import centre, corner, mirror
from catenary.models.decoders import DECODERS
from catenary.models.layers import DOWNS, UPS
from catenary.models.skips import SKIPS
from catenary.recipe import Model
from catenary.train.loop import _supervised
from exported import check_exported
from reach import farthest_by_axis

#: Never pooled along d, nor looked at along d before the deepest level.
FLAT = {"rank": 3, "pools": ((1, 2, 2), (1, 2, 2)), "kernels": ((1, 3, 3), (1, 3, 3), (3, 3, 3))}
SMALL = {"widths": (4, 6, 8), "norm": "batch", **FLAT}
#: Networks of own blocks.
OWN = [name for name, maker in MODELS.items() if getattr(maker, "func", None) is UNet]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def trained_a_step(network, answer):
    answer.square().mean().backward()
    return all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


# --- any network


@pytest.mark.parametrize("topology", DECODERS)
@pytest.mark.parametrize("up", UPS)
@pytest.mark.parametrize("down", DOWNS)
def test_every_way_down_and_up_of_every_topology(down, up, topology):
    network = UNet(**SMALL, down=down, up=up, topology=topology, deep_supervision=True)
    seen = []
    for block in network.encoder:
        block.register_forward_hook(lambda _, __, made: seen.append(tuple(made.shape[2:])))
    answers = network.side_outputs(torch.randn(2, 3, 5, 15, 9))
    assert seen == [(5, 16, 12), (5, 8, 6), (5, 4, 3)]  # not padded along d
    assert answers[0].shape == (2, 1, 5, 15, 9)
    assert trained_a_step(network, sum(answer.square().mean() for answer in answers))


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize(("skip", "topology"), [*((skip, "unet") for skip in SKIPS), ("concat", "unet3plus")])
def test_every_block_and_skip_looks_only_along_its_axes(block, skip, topology):
    if (block, skip) == ("multires", "add"):
        pytest.skip("needs equal channels")
    kernels = ((1, 3, 3), (1, 3, 3), (1, 3, 3))
    network = UNet(**{**SMALL, "kernels": kernels}, block=block, skip=skip, topology=topology, up="resize_conv").eval()
    x = torch.randn(1, 3, 3, 8, 8)
    if block != "squeeze_excite":  # whose weights are of the whole volume
        torch.testing.assert_close(network(x)[:, :, :1], network(x[:, :, :1]), atol=1e-5, rtol=1e-4)
    assert trained_a_step(network, network.train()(x))


def test_slices_seen_alone_are_the_network_of_two_dimensions():
    flat = UNet(rank=3, widths=(4, 6, 8), norm="batch", pools=((1, 2, 2),) * 2, kernels=((1, 3, 3),) * 3).eval()
    plane = UNet(widths=(4, 6, 8), norm="batch").eval()
    plane.load_state_dict({name: v.squeeze(2) if v.ndim == 5 else v for name, v in flat.state_dict().items()})
    volume = torch.randn(1, 3, 4, 13, 10)
    slices = torch.stack([plane(volume[:, :, i]) for i in range(4)], 2)
    torch.testing.assert_close(flat(volume), slices, atol=1e-5, rtol=1e-4)


def test_halving_all_axes_by_name_is_the_default():
    one = UNet(widths=(4, 6, 8), pools=((2, 2), (2, 2)), kernels=((3, 3),) * 3).eval()
    two = UNet(widths=(4, 6, 8)).eval()
    two.load_state_dict(one.state_dict())
    x = torch.randn(1, 3, 9, 14)
    torch.testing.assert_close(one(x), two(x), rtol=0, atol=0)
    assert one.axes == two.axes


def test_images_have_axes_too():
    network = UNet(widths=(4, 6, 8), pools=((1, 2), (2, 1)), kernels=((1, 3), (3, 3), (3, 1)), norm="batch")
    assert network(torch.randn(2, 3, 7, 9)).shape == (2, 1, 7, 9)
    assert [axis.multiple for axis in network.axes] == [2, 2]


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("pools", [(), ((1, 2, 2), (2, 2, 2))])
def test_every_named_network_has_three_dimensions(name, pools):
    network = build(name, rank=3, widths=(2, 3, 4), channels=1, classes=2, pools=pools)
    answer = network(torch.randn(2, 1, 5, 7, 3))
    assert answer.shape == (2, 2, 5, 7, 3)
    assert trained_a_step(network, answer)
    settings = {**literals(name), "name": name, "rank": 3, "widths": (2, 3, 4), "pools": pools}
    assert axes_of(**Model(**settings).model_dump()) == network.axes


# --- geometry


REACHES = [
    {},
    {"kernels": ()},
    {"up": "resize"},
    {"up": "resize_conv", "convs": 1, "pools": ((1, 2, 2), (2, 1, 2)), "kernels": ((1, 3, 3), (3, 3, 3), (3, 3, 3))},
    {"up": "nearest", "block": "residual", "convs": (1, 2, 1), "kernels": ((1, 3, 3), (3, 3, 5), (3, 1, 3))},
    {"block": "asymmetric", "convs": 1, "down": "conv"},
    {"block": "recurrent_residual", "convs": 1, "steps": 1, "widths": (2, 2), "pools": ((1, 2, 2),), "kernels": ()},
    {"skip": "res_path", "convs": 1},
    {"topology": "nested", "convs": 1, "up": "resize", "skip": "res_path", "pools": ((1, 2, 2), (2, 2, 1))},
    {"topology": "unet3plus", "convs": 1, "pools": ((1, 2, 2), (2, 2, 1))},
    {"topology": "unet3plus", "widths": (2, 2), "pools": ((2, 1, 2),), "kernels": ((3, 3, 1), (3, 3, 3))},
    {"padding": "valid", "convs": 1, "up": "resize"},
]


@pytest.mark.parametrize("settings", REACHES, ids=str)
def test_receptive_field_of_each_axis_is_where_gradients_end(settings):
    # a maximum passes the gradient of one pixel only
    settings = {"widths": (2, 2, 2), "activation": "gelu", "down": "mean", **FLAT, **settings}
    network = UNet(channels=1, **settings).double().eval()
    if settings.get("topology") == "unet3plus":
        network.decoder.pool = nn.functional.avg_pool3d
    found = tuple(axis.reach for axis in network.axes)
    assert found == tuple(axis.reach for axis in axes_of(**settings))
    assert max(found) == receptive_field(network)
    sizes = [2 * reach + 1 + 2 * axis.multiple for reach, axis in zip(found, network.axes, strict=True)]
    assert farthest_by_axis(network, sizes) == found


@pytest.mark.parametrize("up", UPS)
@pytest.mark.parametrize("kernels", [FLAT["kernels"], ()])
def test_valid_forward_is_the_mirrored_forward_given_the_same_context(up, kernels):
    network = UNet(**{**SMALL, "kernels": kernels}, padding="valid", up=up, deep_supervision=True).eval()
    image = torch.randn(1, 3, 3, 10, 6)
    margins = [axis.margin for axis in network.axes]
    outputs = [axis.output_size(n) for axis, n in zip(network.axes, image.shape[2:], strict=True)]
    context = mirror(image, margins, [n + 2 * m for n, m in zip(outputs, margins, strict=True)])
    with torch.no_grad():
        answer = network.forward_valid(context)
        sides = network.side_outputs(image)
        assert list(answer.shape[2:]) == outputs
        torch.testing.assert_close(network(image), answer[..., :3, :10, :6])
    for scale, side in zip(network.scales, sides, strict=True):
        assert side.shape[2:] == image[0, 0, :: scale[0], :: scale[1], :: scale[2]].shape
    assert margins[0] < margins[1] == margins[2]


@pytest.mark.parametrize("block", ["plain", "residual", "asymmetric", "squeeze_excite"])
def test_unpadded_volumes_shrink_by_their_margin(block):
    network = UNet(rank=3, widths=(3, 4), block=block, padding="valid", norm="batch").eval()
    assert network(torch.randn(1, 3, 3, 6, 5)).shape == (1, 1, 3, 6, 5)
    margin, side = network.geometry.margin, network.geometry.output_size(3)
    assert network.forward_valid(torch.randn(1, 3, *[side + 2 * margin] * 3)).shape[2:] == (side,) * 3


def test_tiles_with_a_halo_equal_the_whole_along_each_axis():
    network = UNet(**{**SMALL, "pools": ((1, 2, 2), (2, 2, 2))}, up="resize").eval()
    halos = [-(-axis.reach // axis.multiple) * axis.multiple for axis in network.axes]
    d, h, _ = halos
    assert d < h
    volume = torch.randn(1, 3, 4 + 2 * d, 8 + 2 * h, 4)
    with torch.no_grad():
        whole = network(volume)
        tile = network(volume[:, :, 2:, 4:])
    inside = (slice(2 + d, 2 + d + 2), slice(4 + h, 4 + h + 4))
    moved = tuple(slice(s.start - o, s.stop - o) for s, o in zip(inside, (2, 4), strict=True))
    torch.testing.assert_close(tile[:, :, *moved], whole[:, :, *inside], atol=1e-5, rtol=0)


def test_one_axis_can_be_asked_for():
    settings = Model(widths=(4, 6, 8), **FLAT).model_dump()
    assert [geometry_of(**settings, axis=axis) for axis in range(3)] == [*axes_of(**settings)]
    assert geometry_of(**settings) == axes_of(**settings)[2] == geometry_of(widths=(4, 6, 8), norm="batch")


def test_borders_take_a_number_for_each_axis():
    x = torch.arange(24.0).reshape(1, 1, 4, 6)
    both = np.pad(x[0, 0].numpy(), ((1, 0), (2, 3)), mode="reflect")
    np.testing.assert_array_equal(mirror(x, (1, 2), (5, 11))[0, 0].numpy(), both)
    torch.testing.assert_close(corner(x, (2, 3), start=(1, 2)), x[..., 1:3, 2:5])
    torch.testing.assert_close(centre(x, (0, 2)), x[..., 2:4])


def test_depth_that_suits_thin_volumes():
    check_depth((5, 64, 64), 3, FLAT["pools"])
    check_depth((5, 64, 64), 6, ((1, 2, 2),) * 4 + ((2, 2, 2),))
    with pytest.raises(ConfigError, match=r"at least 4 x 64 x 64 pixels, found 3 x 64 x 64; halve the short axis less"):
        check_depth((3, 64, 64), 6, ((1, 2, 2),) * 4 + ((2, 2, 2),))


# --- deep supervision


def test_five_levels_have_outputs_at_five_scales_of_each_axis():
    pools = ((1, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2))
    network = UNet(rank=3, channels=1, widths=(2, 2, 2, 2, 2), norm="batch", pools=pools, deep_supervision=True)
    assert network.scales == ((1, 1, 1), (1, 2, 2), (2, 4, 4), (4, 8, 8), (4, 16, 16))
    answers = network.side_outputs(torch.randn(2, 1, 9, 33, 17))
    label = torch.zeros(2, 9, 33, 17)
    for (d, h, w), answer in zip(network.scales, answers, strict=True):
        assert answer.shape == label[:, None, ::d, ::h, ::w].shape


def test_each_output_is_held_against_the_labels_at_its_steps():
    scales = ((1, 1, 1), (1, 2, 2))
    target = torch.arange(2 * 3 * 4 * 4).reshape(2, 3, 4, 4)
    given = []

    def loss(logits, label):
        given.append(label)
        return logits.mean()

    outputs = [torch.full((2, 1, 3, 4, 4), 3.0), torch.full((2, 1, 3, 2, 2), 6.0)]
    assert _supervised(outputs, target, loss, scales).item() == pytest.approx((3 + 6 / 2) / (1 + 1 / 2))
    torch.testing.assert_close(given[1], target[:, :, ::2, ::2])


# --- export


@pytest.mark.parametrize(
    "settings",
    [{"up": "resize", "down": "conv"}, {"block": "residual", "padding": "valid"}],
    ids=str,
)
def test_export_with_free_sizes(settings):
    network = UNet(**{**SMALL, "widths": (3, 4, 5), "convs": 1, **settings}).eval()
    check_exported(network, (2, 3, 10, 16, 24), (8, 8, 8), [(1, 3, 9, 13, 18)])


# --- errors


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"pools": ((1, 2, 2),)}, r"model.pools must be 3 numbers of 1, 2 for each of 2 steps down.*found \[1x2x2\]"),
        ({"pools": ((1, 2, 2), (2, 2))}, r"found \[1x2x2, 2x2\]; set it so"),
        ({"pools": ((1, 2, 2), (1, 4, 4))}, "1x4x4"),
        ({"pools": ((1, 1, 1), (1, 2, 2))}, "halves an axis"),
        ({"kernels": ((1, 3, 3),)}, "model.kernels must be 3 numbers of 1, 3, 5, 7 for each of 3 levels"),
        ({"kernels": ((1, 3, 3), (1, 2, 3), (3, 3, 3))}, "1x2x3"),
    ],
)
def test_a_wrong_setting_is_told(settings, words):
    with pytest.raises(ConfigError, match=words):
        build("unet", **{**SMALL, **settings})


def test_neighbouring_slices_are_channels_to_a_network_of_two_dimensions():
    network = build(**Model(slices=3, channels=6, widths=(4, 6)).model_dump())
    assert network(torch.randn(1, 6, 9, 7)).shape == (1, 1, 9, 7)


def test_networks_of_other_libraries_say_that_they_halve_all_axes():
    with pytest.raises(ConfigError, match="has no setting 'pools'"):
        build("resnet50_unet", pools=((1, 2),) * 5)
