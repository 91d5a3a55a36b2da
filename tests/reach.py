"""How far a network sees, measured."""

import torch


def farthest_gradient(network, size):
    """Distance of the farthest pixel, along an axis, whose gradient an output pixel has; any pixel of a stride."""
    farthest = 0
    for pixel in range(size // 2, size // 2 + network.geometry.multiple):
        x = torch.randn(1, 1, size, size, dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(network(x)[0, 0, pixel, pixel], x)
        farthest = max(farthest, int((gradient[0, 0].nonzero() - pixel).abs().max()))
    return farthest
