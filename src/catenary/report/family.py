"""How the networks of the family hang together, drawn from the networks themselves.

    python -m catenary.report.family docs/networks.png

Nothing here knows a topology: the blocks of a small network are called once, and who feeds whom is read off the
gradients between them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from catenary.io.files import atomic
from catenary.models import build

__all__ = ["Node", "draw_family", "links"]

#: Panels of the figure: title and settings.
PANELS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("unet", {"topology": "unet"}),
    ("nested (U-Net++)", {"topology": "nested"}),
    ("unet3plus (UNet 3+)", {"topology": "unet3plus"}),
)
WIDTHS = (8, 16, 32, 64)
#: Colour of a link by where it comes from (Okabe and Ito 2008).
COLOURS = {"from above": "#999999", "same level": "#0072b2", "from below": "#d55e00", "finer level": "#009e73"}


@dataclass(frozen=True, order=True)
class Node:
    """One block of a network.

    Attributes:
        column: 0 for the encoder; in the decoder the step in which it is made.
        level: How often the image was halved.
        channels: What the block gives.
    """

    column: int
    level: int
    channels: int


def links(widths: Sequence[int] = WIDTHS, **settings: Any) -> set[tuple[Node, Node]]:
    """Which block of a network feeds which.

    Args:
        widths: Channels of each level.
        settings: Fields of `catenary.recipe.Model`.

    Returns:
        Pairs ``(from, to)``.

    >>> found = links((4, 8, 16), topology="unet")
    >>> [(a.level, b.level) for a, b in sorted(found) if a.column == 0 and b.column == 0]
    [(0, 1), (1, 2)]
    """
    torch.manual_seed(0)
    network: Any = build("unet", channels=1, widths=tuple(widths), norm="none", activation="elu", **settings)
    side = 2 ** len(widths)
    made: list[tuple[Node, Tensor]] = []
    found: set[tuple[Node, Node]] = set()
    blocks: dict[nn.Module, str] = dict.fromkeys(network.encoder, "encoder")
    decoder: Any = network.decoder
    inner = decoder.nodes.values() if hasattr(decoder, "nodes") else decoder.blocks
    blocks |= dict.fromkeys(inner, "decoder")

    def called(block: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        level = (side // output.shape[-1]).bit_length() - 1
        columns = [node.column for node, _ in made if node.level == level + 1]
        node = Node(0 if blocks[block] == "encoder" else 1 + max(columns), level, output.shape[1])
        sources = [tensor for _, tensor in made]
        total = inputs[0].square().sum()
        if sources and total.requires_grad:
            for (source, _), slope in zip(
                made, torch.autograd.grad(total, sources, allow_unused=True, retain_graph=True), strict=True
            ):
                if slope is not None:
                    found.add((source, node))
        cut = output.detach().requires_grad_()  # so that only direct neighbours are seen
        made.append((node, cut))
        return cut

    hooks = [block.register_forward_hook(called) for block in blocks]
    network(torch.rand(1, 1, side, side))
    for hook in hooks:
        hook.remove()
    return found


def draw_family(path: str | Path) -> Path:
    """Draw the topologies side by side as a PNG and give its path.

    Raises:
        OutputError: The file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(13, 4.2), dpi=110, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    for axes, (title, settings) in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
        pairs = links(**settings)
        place = {node: (node.level + 2 * node.column, -node.level) for pair in pairs for node in pair}
        for start, end in sorted(pairs):
            axes.annotate(
                "", place[end], place[start],
                arrowprops={
                    "arrowstyle": "-|>", "color": COLOURS[_kind(start, end)], "shrinkA": 13, "shrinkB": 13, "lw": 1.3,
                    "connectionstyle": f"arc3,rad={_bow(start, end)}",
                },
            )  # fmt: skip
        for node, (x, y) in place.items():
            axes.scatter(x, y, s=520, color="#f4f1ea" if node.column else "#dde7ee", edgecolors="#333333", zorder=3)
            axes.text(x, y, str(node.channels), ha="center", va="center", fontsize=9, zorder=4)
        axes.set_title(title, fontsize=12, loc="left")
        axes.set_xlim(-0.7, max(x for x, _ in place.values()) + 0.7)
        axes.set_ylim(-len(WIDTHS) + 0.4, 0.9)
        axes.axis("off")
    keys = [Line2D([], [], color=colour, label=name, lw=2) for name, colour in COLOURS.items()]
    figure.legend(handles=keys, loc="outside lower center", ncols=len(keys), frameon=False, fontsize=10)
    with atomic(path) as temporary:
        canvas.print_png(str(temporary))
    return Path(path)


def _kind(start: Node, end: Node) -> str:
    if end.column == 0:
        return "from above"
    if start.level == end.level:
        return "same level"
    return "from below" if start.level > end.level else "finer level"


def _bow(start: Node, end: Node) -> float:
    """Links that would pass over other nodes are bent."""
    if start.level == end.level:
        return -0.22 if end.column - start.column > 1 else 0.0
    return 0.35 if start.level - end.level > 1 else 0.0


if __name__ == "__main__":
    print(draw_family(sys.argv[1]))
