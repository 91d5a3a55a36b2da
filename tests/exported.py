"""Networks as graphs of other packages."""

import warnings

import pytest
import torch


def check_exported(network, example, least, shapes):
    """The network exported with free sizes gives its own answers, in torch and in OpenVINO.

    Args:
        network: In evaluation mode.
        example: Shape it is exported with.
        least: Shortest side of each spatial axis.
        shapes: What it is asked afterwards.
    """
    openvino = pytest.importorskip("openvino", reason="the fast engine is not installed")
    sides = {
        2 + i: torch.export.Dim(name, min=n)
        for i, (name, n) in enumerate(zip("dhw"[-len(least) :], least, strict=True))
    }
    free = {0: torch.export.Dim("b", max=64)} | sides
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own tracing
        program = torch.export.export(network, (torch.randn(*example),), dynamic_shapes=(free,))
        model = openvino.Core().compile_model(
            openvino.convert_model(program), "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
        )
    for shape in shapes:
        x = torch.randn(shape)
        with torch.no_grad():
            expected = network(x)
            torch.testing.assert_close(program.module()(x), expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(torch.from_numpy(model(x.numpy())[0]), expected, atol=1e-4, rtol=1e-4)
