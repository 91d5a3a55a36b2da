"""Two processes have the gradients of one with the double batch. Imports little: each process starts with this file."""

import os

import pytest
import torch
from torch import distributed, multiprocessing, nn

from catenary.data.labels import LabelSet
from catenary.losses import LOSSES, build_loss, itself, summed_over_processes
from catenary.recipe import Loss
from catenary.types import IGNORE

EXCLUSIVE = LabelSet(names=("background", "a", "b"))
REGIONS = LabelSet(names=("background", "rim", "cup"), regions={"disc": (1, 2), "cup": (2,)})
#: Losses over the joint batch, and image by image; Lovász sorts the pixels of a process by themselves.
CASES = [(name, batch, labels) for name in LOSSES for batch in (True, False) for labels in (EXCLUSIVE, REGIONS)]
CASES = [case for case in CASES if case[:2] != ("lovasz", True)]


def gradients(case, share, *, wrap=lambda network: network, reduce=itself):
    """Of a small network's weights, on the images `share` of four; and the loss."""
    name, batch, labels = case
    torch.manual_seed(3)
    network = nn.Conv2d(1, labels.channels, 3, padding=1).double()
    x, target = torch.randn(4, 1, 8, 8).double(), torch.randint(0, 3, (4, 8, 8), dtype=torch.uint8)
    target[0, :5] = IGNORE  # unequal shares of pixels that count,
    target[:2][target[:2] == 2] = 1  # and a class that only the second half has
    compute = build_loss(Loss(name=name, batch_dice=batch, skeleton_steps=2), labels, reduce=reduce)
    wrapped = wrap(network)  # has to outlive the backward pass
    value = compute(wrapped(x[share]), target[share])
    value.backward()
    return value.item(), [p.grad.clone() for p in network.parameters()]


def work(rank, folder):
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    wrap = nn.parallel.DistributedDataParallel
    share = slice(2 * rank, 2 * rank + 2)
    found = [gradients(case, share, wrap=wrap, reduce=summed_over_processes()) for case in CASES]
    torch.save(found, os.path.join(folder, f"{rank}.pt"))
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    multiprocessing.spawn(work, (str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{'batch' if case[1] else 'image'}-{case[2].task}")
def test_two_processes_give_the_gradients_of_one_with_the_double_batch(two, case):
    value, expected = gradients(case, slice(None))
    values = []
    for found in two:
        one, grads = found[CASES.index(case)]
        values.append(one)
        for mine, theirs in zip(grads, expected, strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-9, rtol=1e-6)
    assert sum(values) / 2 == pytest.approx(value)


def test_joint_sums_matter_here(two):
    """The check above would see it if each process kept to its own sums."""
    case = ("dice_ce", True, EXCLUSIVE)
    _, expected = gradients(case, slice(None))
    halves = [gradients(case, slice(start, start + 2))[1] for start in (0, 2)]
    averaged = [(a + b) / 2 for a, b in zip(*halves, strict=True)]
    assert max((a - e).abs().max() for a, e in zip(averaged, expected, strict=True)) > 1e-3


def test_one_process_sums_by_itself():
    assert summed_over_processes() is itself
