"""How far a network sees, measured."""

import torch


def farthest_by_axis(network, sizes):
    """The same along each axis of its own, in images of `sizes`; any pixel of a stride."""
    farthest = []
    for axis, geometry in enumerate(network.axes):
        distances = [0]
        for pixel in range(sizes[axis] // 2, sizes[axis] // 2 + geometry.multiple):
            x = torch.randn(1, 1, *sizes, dtype=torch.float64, requires_grad=True)
            at = [pixel if i == axis else n // 2 for i, n in enumerate(sizes)]
            (gradient,) = torch.autograd.grad(network(x)[(0, 0, *at)], x)
            distances.append(int((gradient[0, 0].nonzero()[:, axis] - pixel).abs().max()))
        farthest.append(max(distances))
    return tuple(farthest)


def farthest_gradient(network, size):
    """Distance of the farthest pixel, along an axis, whose gradient an output pixel has; any pixel of a stride."""
    farthest = 0
    for pixel in range(size // 2, size // 2 + network.geometry.multiple):
        x = torch.randn(1, 1, size, size, dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(network(x)[0, 0, pixel, pixel], x)
        farthest = max(farthest, int((gradient[0, 0].nonzero() - pixel).abs().max()))
    return farthest
