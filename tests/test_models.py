"""Networks: counts, any size, the unpadded form, what a pixel sees, export."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from catenary.errors import ConfigError, InputError
from catenary.geometry import CLASSIFIERS
from catenary.models import MODELS, Geometry, UNet, build, check_depth, literals, parameters, receptive_field
from catenary.models.borders import mirror
from catenary.models.layers import ACTIVATIONS, NORMS, PADDINGS, UPS
from catenary.models.skips import SKIPS
from catenary.recipe import Model
from exported import check_exported
from reach import farthest_gradient

SMALL = {"widths": (4, 6, 8), "norm": "batch"}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({"channels": 1}, 31_030_593),
        ({"channels": 3}, 31_031_745),
        ({"channels": 3, "norm": "batch"}, 31_037_633),
        ({"channels": 3, "norm": "batch", "classes": 2}, 31_037_698),
        ({"channels": 1, "widths": (32, 64, 128, 256, 512)}, 7_759_521),
        ({"channels": 3, "widths": (32, 64, 128, 256, 512)}, 7_760_097),
    ],
)
def test_parameter_counts_of_the_literature(settings, count):
    with torch.device("meta"):
        assert parameters(build("unet", **settings)) == count


def test_each_name_builds_what_it_says_and_every_recipe_field_is_a_setting():
    for name in MODELS:
        with torch.device("meta"):
            assert name in CLASSIFIERS or build(name).widths == literals(name)["widths"]
    fields = Model(widths=(4, 8)).model_dump()
    assert build(**fields).widths == (4, 8)


def test_depth_doubles_the_first_width_when_it_is_another_length():
    with torch.device("meta"):
        assert UNet(widths=(4, 9), depth=0).widths == (4, 9)
        assert UNet(widths=(4, 9), depth=2).widths == (4, 9)
        assert UNet(widths=(4, 9), depth=3).widths == (4, 8, 16)


@settings(max_examples=25, deadline=None)
@given(h=st.integers(1, 21), w=st.integers(1, 21), padding=st.sampled_from(PADDINGS), train=st.booleans())
def test_any_size_comes_back_as_it_was(h, w, padding, train):
    network = build(**SMALL, classes=2, padding=padding).train(train)
    assert network(torch.randn(1, 3, h, w)).shape == (1, 2, h, w)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("up", UPS)
def test_three_dimensions_run_the_same_code(padding, up):
    network = UNet(rank=3, channels=2, widths=(3, 4, 5), padding=padding, up=up, norm="instance")
    assert network(torch.randn(1, 2, 5, 7, 1)).shape == (1, 1, 5, 7, 1)


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_norm_and_activation_trains_a_step(name, activation):
    network = UNet(widths=(4, 6), norm=name, activation=activation, dropout=0.1)
    network(torch.randn(2, 3, 8, 8)).square().mean().backward()
    gradients = [p.grad for p in network.parameters()]
    assert all(g is not None and g.isfinite().all() for g in gradients)
    assert any(g.abs().max() > 0 for g in gradients)


@pytest.mark.parametrize("levels", [1, 2, 4])
@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize("convs", [1, 3])
def test_any_depth_skip_and_number_of_convolutions(levels, skip, convs):
    network = UNet(widths=(4, 6, 8, 10)[:levels], skip=skip, convs=convs)
    assert network(torch.randn(1, 3, 13, 9)).shape == (1, 1, 13, 9)


def test_dropout_sits_at_the_two_deepest_levels():
    network = UNet(widths=(4, 6, 8), dropout=0.5)
    named = {name.split(".layers")[0] for name, module in network.named_modules() if isinstance(module, nn.Dropout)}
    assert named == {"encoder.1", "encoder.2"}


def test_a_bias_only_where_no_normalisation_follows():
    convs = lambda norm: [m for m in UNet(widths=(4, 6), norm=norm).modules() if isinstance(m, nn.Conv2d)]  # noqa: E731
    assert all(conv.bias is not None for conv in convs("none"))
    assert [conv.bias is not None for conv in convs("group")] == [False] * 6 + [True]  # only the head


# --- geometry


def test_the_paper_turns_572_pixels_into_388():
    with torch.device("meta"):
        network = UNet(channels=1, classes=2, padding="valid")
        assert network.forward_valid(torch.empty(1, 1, 572, 572)).shape == (1, 2, 388, 388)
    assert network.geometry.crops == (88, 40, 16, 4)


@pytest.mark.parametrize("up", UPS)
def test_valid_forward_is_the_mirrored_forward_given_the_same_context(up):
    network = UNet(**SMALL, padding="valid", up=up).eval()
    margin = network.geometry.margin
    image = torch.randn(1, 3, 24, 24)
    size = network.geometry.output_size(24)
    context = mirror(image, margin, [size + 2 * margin] * 2)
    torch.testing.assert_close(network(image), network.forward_valid(context)[..., :24, :24])


@pytest.mark.parametrize("up", UPS)
def test_unpadded_network_equals_the_padded_one_far_from_borders(up):
    valid, padded = UNet(**SMALL, padding="valid", up=up).eval(), UNet(**SMALL, up=up).eval()
    padded.load_state_dict(valid.state_dict())
    geometry = valid.geometry
    output = geometry.output_size(16)
    inner, start = output + 2 * geometry.margin, padded.reach + geometry.multiple
    x = torch.randn(1, 3, inner + 2 * start, inner + 2 * start)
    answer = valid.forward_valid(x[..., start : start + inner, start : start + inner])
    # unpadded blocks move the pooling squares: let the padded network's begin at the same pixels
    offset = (start - geometry.radii[0]) % geometry.multiple
    begin = start + geometry.margin - offset
    same = padded(x[..., offset:, offset:])[..., begin : begin + output, begin : begin + output]
    torch.testing.assert_close(same, answer, atol=1e-5, rtol=0)


@pytest.mark.parametrize("padding", ["zeros", "reflect"])
def test_tiles_with_a_halo_of_the_receptive_field_equal_the_whole(padding):
    network = UNet(widths=(3, 4, 5), padding=padding, norm="batch", up="resize").eval()
    step = network.geometry.multiple
    halo = -(-receptive_field(network) // step) * step
    image = torch.randn(1, 3, 40 + 2 * halo, 8)
    whole = network(image)[..., halo : halo + 40, :]
    tile = network(image[..., : 40 + 2 * halo - 8, :])[..., halo : halo + 32, :]
    torch.testing.assert_close(tile, whole[..., :32, :], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "settings",
    [
        {"widths": (2,)},
        {"widths": (2, 2, 2)},
        {"widths": (2, 2, 2, 2), "convs": 1},
        {"widths": (2, 2, 2), "up": "resize"},
        {"widths": (2, 2, 2), "convs": 1, "up": "resize", "padding": "valid"},
    ],
)
def test_receptive_field_is_where_gradients_end(settings):
    # a maximum passes the gradient of one pixel only
    network = UNet(channels=1, activation="gelu", down="mean", **settings).double().eval()
    assert receptive_field(network) == farthest_gradient(network, 96)


def test_networks_that_look_at_the_whole_image_say_so():
    assert receptive_field(UNet(widths=(4, 4), norm="instance")) is None
    assert receptive_field(UNet(widths=(4, 4), norm="group")) is None
    assert receptive_field(nn.Identity()) is None


@given(n=st.integers(1, 9), before=st.integers(0, 20), after=st.integers(0, 20))
def test_mirror_is_numpys_reflect(n, before, after):
    import numpy as np

    x = np.arange(n, dtype=np.float32)
    ours = mirror(torch.from_numpy(x)[None, None], before, [before + n + after])[0, 0].numpy()
    np.testing.assert_array_equal(ours, np.pad(x, (before, after), mode="reflect"))


@given(levels=st.integers(1, 6), radius=st.integers(1, 4), bilinear=st.booleans(), size=st.integers(1, 400))
def test_valid_sizes_close(levels, radius, bilinear, size):
    geometry = Geometry(levels=levels, radius=radius, bilinear=bilinear, valid=True)
    output = geometry.output_size(size)
    assert size <= output < size + geometry.multiple or output == 2 * geometry.multiple - geometry.lost
    assert geometry.output_size(output) == output
    assert all(crop > 0 for crop in geometry.crops)


# --- deep supervision, initial weights, training


@pytest.mark.parametrize("padding", PADDINGS)
def test_side_outputs_match_a_strided_label_map(padding):
    network = UNet(**SMALL, classes=2, padding=padding, deep_supervision=True).eval()
    x, label = torch.randn(1, 3, 18, 13), torch.zeros(1, 18, 13)
    full, *sides = network.side_outputs(x)
    torch.testing.assert_close(full, network(x))
    assert len(sides) == 2
    for level, side in enumerate(sides, 1):
        assert side.shape[2:] == label[:, :: 2**level, :: 2**level].shape[1:]
    assert len(UNet(**SMALL).side_outputs(x)) == 1


def test_he_weights_keep_the_scale_of_the_signal():
    network = UNet(widths=(32, 64, 128, 256, 512), channels=8).eval()
    with torch.no_grad():
        answer = network(torch.randn(2, 8, 64, 64))
    assert 0.2 < answer.std() < 3


def test_normal_weights_are_the_documents():
    network = UNet(widths=(16, 32), init="normal")
    weights = torch.cat([p.flatten() for name, p in network.named_parameters() if name.endswith("weight")])
    assert weights.std().item() == pytest.approx(0.01, rel=0.03)
    assert all((p == 0).all() for name, p in network.named_parameters() if name.endswith("bias"))


def test_a_seed_gives_the_same_network():
    def first():
        torch.manual_seed(3)
        return build(**SMALL).head.weight

    torch.testing.assert_close(first(), first(), rtol=0, atol=0)


def test_two_images_are_learned_by_heart():
    x = torch.randn(2, 1, 16, 16)
    y = (torch.rand(2, 1, 16, 16) > 0.5).float()  # noise: only memory can do it
    network = UNet(channels=1, widths=(16, 32), norm="batch")
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(80):
        optimiser.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(network(x), y).backward()
        optimiser.step()
    assert ((network(x) > 0) == (y > 0)).float().mean() > 0.98


def test_a_state_dict_gives_the_same_answers():
    one, two = UNet(**SMALL, deep_supervision=True).eval(), UNet(**SMALL, deep_supervision=True).eval()
    x = torch.randn(1, 3, 16, 16)
    assert not torch.equal(one(x), two(x))
    two.load_state_dict(one.state_dict())
    torch.testing.assert_close(one(x), two(x), rtol=0, atol=0)


def test_channels_last_and_bf16_autocast_agree_with_float32():
    network, x = UNet(**SMALL, up="resize").eval(), torch.randn(2, 3, 20, 20)
    last = x.to(memory_format=torch.channels_last)
    with torch.no_grad():
        expected = network(x)
        network.to(memory_format=torch.channels_last)
        torch.testing.assert_close(network(last), expected, atol=1e-5, rtol=1e-5)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = network(last)
    assert half.dtype == torch.bfloat16
    assert (half.float() - expected).abs().max() < 0.05 * expected.abs().max() + 0.02


def test_the_answer_to_an_image_does_not_depend_on_its_neighbours_in_the_batch():
    network, x = UNet(**SMALL).eval(), torch.randn(3, 3, 12, 12)
    torch.testing.assert_close(network(x)[1:2], network(x[1:2]), atol=1e-6, rtol=1e-5)


# --- export


@pytest.mark.parametrize("settings", [{}, {"padding": "valid", "up": "resize"}])
def test_export_with_free_sizes(settings):
    network = UNet(widths=(4, 6), norm="batch", **settings).eval()
    check_exported(network, (2, 3, 24, 32), (5, 5), [(1, 3, 24, 32), (3, 3, 7, 21)])


# --- errors


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"activation": "leaky_rely"}, "did you mean 'leaky_relu'"),
        ({"block": "plane"}, "unknown block 'plane'; did you mean 'plain'"),
        ({"skip": "concatenate"}, "did you mean 'concat'"),
        ({"norm": "bach"}, "did you mean 'batch'"),
        ({"up": "resise"}, "did you mean 'resize'"),
        ({"padding": "zero"}, "did you mean 'zeros'"),
        ({"init": "hee"}, "did you mean 'he'"),
        ({"rank": 4}, "rank must be 2 or 3, found 4"),
        ({"widths": ()}, "model.widths"),
        ({"widths": (8, 0)}, "model.widths"),
        ({"widhts": (8,)}, "no setting 'widhts', did you mean 'widths'"),
    ],
)
def test_a_wrong_setting_is_told(settings, words):
    with pytest.raises(ConfigError, match=words):
        build("unet", **{"widths": (4, 8), **settings})


def test_an_unknown_network_gets_its_near_match():
    with pytest.raises(ConfigError, match="did you mean 'unet_small'"):
        build("unet_smal")


def test_images_that_do_not_fit_the_network_are_refused():
    network = UNet(**SMALL)
    with pytest.raises(InputError, match=r"2D batches of 3 channels.* found 2D and 1 channels"):
        network(torch.zeros(1, 1, 8, 8))
    with pytest.raises(InputError, match="found 3D"):
        network(torch.zeros(1, 3, 8, 8, 8))
    with pytest.raises(InputError, match=r"size of \[8, 10\]; the next that fits is \[8, 12\]"):
        network.forward_valid(torch.zeros(1, 3, 8, 10))


def test_depth_too_large_for_a_patch():
    check_depth((32, 40), 5)
    with pytest.raises(ConfigError, match=r"at least 64 pixels a side, found 32 x 40; set model\.depth to 5 or less"):
        check_depth((32, 40), 6)
