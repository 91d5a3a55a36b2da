"""Who feeds whom, read off the networks."""

import pytest

from catenary.report.family import draw_family, links


def edges(**settings):
    return {((a.column, a.level), (b.column, b.level)) for a, b in links((4, 8, 16), **settings)}


DOWN = {((0, 0), (0, 1)), ((0, 1), (0, 2))}


def test_links_of_the_topologies_are_those_of_the_papers():
    unet = DOWN | {((0, 2), (1, 1)), ((0, 1), (1, 1)), ((1, 1), (2, 0)), ((0, 0), (2, 0))}
    assert edges(topology="unet") == unet
    nested = {((0, 1), (1, 0)), ((0, 0), (1, 0)), ((1, 0), (2, 0))}
    assert edges(topology="nested") == unet | nested
    assert edges(topology="unet3plus") == unet | {((0, 0), (1, 1)), ((0, 2), (2, 0))}


@pytest.mark.parametrize("block", ["residual", "multires"])
def test_links_do_not_depend_on_the_block(block):
    assert edges(topology="unet", block=block) == edges(topology="unet")


def test_the_figure_is_written(tmp_path):
    assert draw_family(tmp_path / "family.png").stat().st_size > 10_000
