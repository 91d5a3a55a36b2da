"""Timed training steps, so that the planner chooses from measurements and not from hopes."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Literal

import torch

from catenary.data.labels import LabelSet
from catenary.losses import build_loss
from catenary.models import build
from catenary.plan import ENOUGH_STEPS, Speed
from catenary.predict.memory import keep_buffers
from catenary.recipe import Recipe, choose

__all__ = ["best_device", "fabric_precision", "layout", "measure", "step_seconds"]

#: Share of a budget in minutes that timing may take, or little more.
PROBE_SHARE = 0.06
#: Pixels that precision and layout are compared on.
TIMED = 1 << 16


def best_device() -> str:
    """``"cuda"``, ``"mps"`` or ``"cpu"``: the fastest that is here."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def fabric_precision(precision: str) -> Literal["bf16-mixed", "32-true"]:
    """Lightning Fabric's name of ``"bf16"`` or ``"fp32"``."""
    return "bf16-mixed" if precision == "bf16" else "32-true"


def layout(rank: int, channels_last: bool) -> torch.memory_format:
    """Memory format of images or volumes, and of the weights of their convolutions."""
    if not channels_last:
        return torch.contiguous_format
    return torch.channels_last if rank == 2 else torch.channels_last_3d


def step_seconds(
    recipe: Recipe, labels: LabelSet, *, device: str, precision: str, channels_last: bool, repeats: int = 2
) -> float:
    """Seconds of one training step (forward, loss, backward, optimiser) on random pixels; the fastest of `repeats`."""
    torch.manual_seed(0)
    module = build(**recipe.model.model_dump()).to(device)
    memory = layout(recipe.model.rank, channels_last)
    module = module.to(memory_format=memory).train()
    loss = build_loss(recipe.loss, labels)
    optimizer = torch.optim.AdamW(module.parameters(), 1e-4)
    size = (recipe.sample.batch, recipe.model.channels, *recipe.sample.patch)
    x = torch.randn(size, device=device).to(memory_format=memory)
    judged = size[2:] if labels.scope == "pixel" else (1,) * recipe.model.rank
    target = torch.randint(0, labels.count, (size[0], *judged), device=device, dtype=torch.uint8)
    seconds = math.inf
    for _ in range(repeats + 1):
        start = time.perf_counter()
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            logits = module(x)
        loss(logits.float(), target).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if device == "cuda":
            torch.cuda.synchronize()
        seconds = min(seconds, time.perf_counter() - start)
    return seconds


def measure(
    candidates: Sequence[Recipe], labels: LabelSet, *, device: str, minutes: float, enough: int = ENOUGH_STEPS
) -> tuple[Speed, ...]:
    """Time those of `candidates` (narrow to wide) among which the best width for `enough` steps in `minutes` is found.

    Precision and memory layout are compared once, on few patches; the fastest pair is used from then on. A middle
    width is timed first; the cost of the others is about proportional to the width to the power of 1.5, so that one or
    two more timings settle the choice.
    """
    keep_buffers()
    stop = time.perf_counter() + (PROBE_SHARE * 60 * minutes if minutes else math.inf)
    middle = min(2, len(candidates) - 1)
    precision, channels_last, note = _fastest_way(candidates[middle], labels, device, stop)
    speeds: dict[int, Speed] = {}

    def time_it(index: int) -> float:
        recipe = candidates[index]
        seconds = step_seconds(recipe, labels, device=device, precision=precision, channels_last=channels_last)
        base = recipe.model.widths[0]
        speeds[index] = Speed(base=base, seconds=seconds, precision=precision, channels_last=channels_last, note=note)
        return seconds

    seconds, base = time_it(middle), candidates[middle].model.widths[0]
    if minutes and len(candidates) > 1:
        allowed = 60 * minutes / enough
        guess = [i for i, c in enumerate(candidates) if seconds * (c.model.widths[0] / base) ** 1.5 <= allowed]
        index = guess[-1] if guess else 0
        while index not in speeds and time.perf_counter() < stop and time_it(index) > allowed and index > 0:
            index -= 1
    return tuple(speeds[index] for index in sorted(speeds))


def _fastest_way(recipe: Recipe, labels: LabelSet, device: str, stop: float) -> tuple[str, bool, str]:
    """Precision, layout and what was timed; the likeliest first, while `stop` leaves time."""
    precisions = ("bf16", "fp32") if recipe.train.precision == "auto" else (recipe.train.precision,)
    layouts = (True, False) if recipe.train.channels_last == "auto" else (recipe.train.channels_last == "on",)
    # Of small patches more, or what a step costs beside its convolutions would decide.
    enough = max(2, TIMED // math.prod(recipe.sample.patch))
    few = choose(recipe, {"sample.batch": min(enough, recipe.sample.batch)})
    timed: dict[tuple[str, bool], float] = {}
    for way in ((p, c) for c in layouts for p in precisions):
        if not timed or time.perf_counter() < stop:
            timed[way] = step_seconds(few, labels, device=device, precision=way[0], channels_last=way[1])
    best = min(timed, key=lambda way: timed[way])
    told = ", ".join(
        f"{p} {'channels-last' if c else 'contiguous'} {1000 * s:.0f} ms"
        for (p, c), s in sorted(timed.items(), key=lambda item: item[1])
    )
    return *best, f"steps of {few.sample.batch} patches timed on this machine: {told}"
