"""The training loop: linear, on Lightning Fabric, one function a phase."""

from __future__ import annotations

import copy
import logging
import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.multiprocessing.spawn import ProcessRaisedException

from catenary.data.cases import Dataset
from catenary.errors import TrainingError
from catenary.io import image_size
from catenary.losses import build_after_loss, build_loss, summed_over_processes
from catenary.models.freezing import parameter_groups
from catenary.predict.memory import keep_buffers
from catenary.recipe import Recipe, Train
from catenary.train.log import Log
from catenary.train.patches import Batch, Patches, Store, prefetch
from catenary.train.probe import fabric_precision, layout
from catenary.train.schedule import Plateau, ema_average, rate
from catenary.train.start import begin, check, hold, thaw
from catenary.train.state import State, copied, has_checkpoint, restore, save, unwrapped
from catenary.train.validate import Validation, to_network, validate
from catenary.types import Progress, silent

__all__ = ["Job", "Judge", "Trained", "launch", "make_optimizer", "train"]

#: Folder within the run of cases that do not fit into memory while it trains.
CACHE = "cache"
#: Seconds between checkpoints; a kill loses at most this much.
CHECKPOINT_SECONDS = 30.0
#: Validation may take this share of a budget in minutes; rounds that would exceed it are skipped.
VALIDATION_SHARE = 0.1
#: Share of the budget after which an answer that is still constant counts as a collapse.
COLLAPSE_AFTER = 0.4

#: Called as ``judge(round, score)`` after each validation round with the latest validation score; words end training.
Judge = Callable[[int, float], str]


def carry_on(round_: int, score: float) -> str:
    """The `Judge` that ends nothing."""
    return ""


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that a training process needs; plain data, so that it can be sent to other processes.

    Attributes:
        dataset: Where the pixels are.
        train, val: Names of the cases.
        recipe: A decided recipe (see `catenary.plan`).
        folder: The run folder; checkpoints and logs go there.
        resume: Go on from ``checkpoint/last.safetensors`` when it is there.
        device: ``"cpu"``, ``"cuda"`` or ``"mps"``.
        spent: Seconds of a budget in minutes that were used before training started.
        memory: Bytes that cached cases may take.
    """

    dataset: Dataset
    train: tuple[str, ...]
    val: tuple[str, ...]
    recipe: Recipe
    folder: Path
    resume: bool = False
    device: str = "cpu"
    spent: float = 0.0
    memory: int = 4 << 30


@dataclass(kw_only=True)  # not frozen: Fabric rebuilds it field by field on its way between processes
class Trained:
    """What came out.

    Attributes:
        weights: Averaged weights of the best validation, name -> array.
        score: That validation's monitored score.
        steps, minutes: What was used.
        why_ended: In words.
        start: What the network started from, in words.
    """

    weights: dict[str, NDArray[Any]] = field(repr=False)
    score: float
    steps: int
    minutes: float
    why_ended: str
    start: str


def launch(job: Job, *, progress: Progress = silent, judge: Judge = carry_on) -> Trained:
    """Train in this process, or in ``train.devices`` processes that share the work (then without progress and judge).

    Raises:
        TrainingError: The loss is no longer finite, or the outputs collapsed to one class.
    """
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces its precision
    devices = job.recipe.train.devices
    precision = fabric_precision(job.recipe.train.precision)
    if devices == 1:
        return train(Fabric(accelerator=job.device, devices=1, precision=precision), job, progress, judge)
    strategy = "ddp_spawn" if job.device == "cpu" else "ddp_notebook"
    fabric = Fabric(accelerator=job.device, devices=devices, strategy=strategy, precision=precision)
    # Bound, not passed on: Fabric refuses frozen dataclasses among the arguments.
    try:
        result: Trained = fabric.launch(partial(train, job=job))
    except ProcessRaisedException as error:
        last = str(error).strip().splitlines()[-1]
        if "TrainingError: " in last:
            raise TrainingError(last.partition("TrainingError: ")[2]) from error
        raise
    return result


def train(fabric: Fabric, job: Job, progress: Progress = silent, judge: Judge = carry_on) -> Trained:
    """The loop itself, run by every process."""
    keep_buffers()
    state, forward = _start(fabric, job)
    resumed = job.resume and restore(state, job.folder)
    if state.finished:
        return _trained(state, "the run was finished already")
    log = Log(job.folder, keep_until=state.step if resumed else None) if fabric.is_global_zero else None
    try:
        return _run(fabric, job, state, forward, log, progress, judge)
    finally:
        shutil.rmtree(job.folder / CACHE / str(fabric.global_rank), ignore_errors=True)
        if log is not None:
            log.close()


def _run(
    fabric: Fabric,
    job: Job,
    state: State,
    forward: Callable[[Tensor], Any],
    log: Log | None,
    progress: Progress,
    judge: Judge,
) -> Trained:
    config = job.recipe.train
    loss = build_loss(job.recipe.loss, job.dataset.labels)  # of one process: only the first validates
    joint = build_loss(job.recipe.loss, job.dataset.labels, reduce=summed_over_processes())
    after = None
    if job.recipe.model.fusion != "none":
        after = build_after_loss(job.recipe.loss, job.dataset.labels, reduce=summed_over_processes())
    cache = job.folder / CACHE / str(fabric.global_rank)
    store = Store(job.dataset, job.train, job.recipe, limit=job.memory, training=True, disk=cache / "train")
    held = Store(job.dataset, job.val, job.recipe, limit=job.memory // 2, disk=cache / "val")
    patches = Patches(store, job.recipe, rank=fabric.global_rank, world=fabric.world_size)
    total = _total_steps(config, _passes(job), job.recipe.sample.batch * fabric.world_size)
    channels_last = config.channels_last == "on"
    began, saved = time.perf_counter() - state.seconds, time.perf_counter()
    why = ""
    for batch in prefetch(patches.batch, state.step):
        state.seconds = time.perf_counter() - began
        done = _agree(fabric, _progress(state, config, total, job.spent))
        why = why or _ended(done, state, config)
        if why and state.step == 0:
            raise TrainingError(
                f"reading, planning and timing took {job.spent / 60:.1f} min, which leaves nothing of train.minutes = "
                f"{config.minutes:g} for training; give more minutes, or a budget in --steps"
            )
        due = done >= (state.validations + 1) / config.validations or bool(why)
        if due and log is not None:
            _validation_round(state, forward, held, job, loss, fabric, log, done, final=bool(why))
        if due:
            state.validations = max(state.validations + 1, int(done * config.validations))
            _share_verdict(fabric, state)
            why = why or _ended(done, state, config)
            if log is not None and log.rows:
                why = why or judge(state.validations, log.rows[-1]["val_score"])
        if log is not None and (why or due or time.perf_counter() - saved > CHECKPOINT_SECONDS):
            state.seconds = time.perf_counter() - began
            state.finished = bool(why)
            save(state, job.folder)
            saved = time.perf_counter()
        if why:
            break
        value = _step(state, forward, batch, joint, after, job.recipe, fabric, done, channels_last)
        if log is not None:
            log.scalar("step_loss", value, state.step)
            told = f"training: loss {value:.3f}, best {job.recipe.train.monitor} {_best(state)}"
            progress(told, *((state.step, total) if total else (int(1000 * done), 1000)))
    if log is not None:
        progress("training", 1, 1)
    return _trained(state, why)


def _best(state: State) -> str:
    return "-" if math.isinf(state.best_score) else f"{state.best_score:.3f}"


def _trained(state: State, why: str) -> Trained:
    weights = {name: value.cpu().numpy() for name, value in state.best.items()}
    return Trained(
        weights=weights,
        score=state.best_score,
        steps=state.step,
        minutes=state.seconds / 60,
        why_ended=why,
        start=state.start,
    )


def make_optimizer(module: nn.Module, config: Train, *, encoder_lr: float = 1.0) -> torch.optim.Optimizer:
    """The optimiser of `config`, see `parameter_groups`; `encoder_lr` is a share of the learning rate."""
    groups = parameter_groups(module, config.lr, encoder_lr * config.lr, weight_decay=config.weight_decay)
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=config.momentum > 0)
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[config.optimizer]
    optimizer: torch.optim.Optimizer = kind(groups, lr=config.lr)
    return optimizer


def _start(fabric: Fabric, job: Job) -> tuple[State, Callable[[Tensor], Any]]:
    config = job.recipe.train
    check(job.recipe)
    module, told = begin(job.recipe, job.dataset.labels, resumed=job.resume and has_checkpoint(job.folder))
    module = module.to(memory_format=layout(job.recipe.model.rank, config.channels_last == "on"))
    average = copy.deepcopy(module)
    optimizer = make_optimizer(module, config, encoder_lr=job.recipe.transfer.encoder_lr)
    hold(module, job.recipe.transfer)  # after the optimiser was made, which holds what is set free later too
    wrapped, optimizer_ = fabric.setup(module, optimizer)
    average = average.to(fabric.device)
    if job.recipe.model.deep_supervision:
        wrapped.mark_forward_method("side_outputs")
    if job.recipe.model.fusion != "none":
        wrapped.mark_forward_method("both_dates")
    state = State(
        module=wrapped,
        average=average,
        optimizer=optimizer_,
        plateau=Plateau(config.plateau_factor, config.plateau_patience),
        best=copied(average),
        start=told,
    )
    return state, wrapped


def _passes(job: Job) -> int:
    """What an epoch goes through: the cases, or their slices where a network of rank 2 sees volumes."""
    if job.recipe.model.rank == job.dataset.rank:
        return len(job.train)
    return sum(image_size(job.dataset[name].images[0])[0] for name in job.train)


def _total_steps(config: Train, cases: int, batch: int) -> int:
    """Steps of the budget; 0 when it is in minutes only."""
    limits = [config.steps] if config.steps else []
    if config.epochs:
        limits.append(math.ceil(config.epochs * cases / batch))
    return min(limits, default=0)


def _progress(state: State, config: Train, total: int, spent: float) -> float:
    """Share of the budget that is used, 0..1; the first limit that is met ends the run."""
    by_steps = state.step / total if total else 0.0
    by_time = (spent + state.seconds) / (60 * config.minutes) if config.minutes else 0.0
    return min(1.0, max(by_steps, by_time))


def _agree(fabric: Fabric, value: float) -> float:
    """Every process follows the clock of the first."""
    return value if fabric.world_size == 1 else float(fabric.broadcast(value))


def _ended(done: float, state: State, config: Train) -> str:
    if done >= 1:
        return "the budget was used"
    waited = state.validations - state.best_step
    if config.early_stopping and waited > config.early_stopping:
        return f"no gain in {config.early_stopping} validations"
    return ""


def _step(
    state: State,
    forward: Callable[[Tensor], Any],
    batch: Batch,
    loss: Callable[[Tensor, Tensor], Tensor],
    after: Callable[[Tensor, Tensor], Tensor] | None,
    recipe: Recipe,
    fabric: Fabric,
    done: float,
    channels_last: bool,
) -> float:
    config = recipe.train
    for group in state.optimizer.param_groups:
        group["lr"] = group["scale"] * rate(done, config, plateau=state.plateau.value)
    thaw(unwrapped(state.module), recipe.transfer, done)
    # Dropout draws from the step's own seed, so that a resumed run repeats it.
    torch.manual_seed((config.seed << 20) + state.step * fabric.world_size + fabric.global_rank)
    x = to_network(batch.image, batch.scale, batch.offset, fabric.device, channels_last, told=batch.told)
    target = torch.from_numpy(batch.label).to(fabric.device, non_blocking=True)
    wrapped: Any = state.module
    if recipe.model.deep_supervision:
        network: Any = unwrapped(state.module)
        value = _supervised(wrapped.side_outputs(x), target, loss, network.scales)
    elif after is not None:
        joint, standing = wrapped.both_dates(x)
        value = loss(joint.float(), target) + after(standing.float(), target)
    else:
        value = loss(forward(x).float(), target)
    number = float(value.detach())
    if not math.isfinite(number):
        raise TrainingError(
            f"the loss became {number} at step {state.step}; lower the learning rate, for example "
            f"--set train.lr={config.lr / 10:g}, or set train.precision=fp32, and check the images for extreme values"
        )
    fabric.backward(value)
    if config.clip:
        fabric.clip_gradients(state.module, state.optimizer, max_norm=config.clip, error_if_nonfinite=False)
    state.optimizer.step()
    state.optimizer.zero_grad(set_to_none=True)
    state.step += 1
    state.losses.append(number)
    if config.ema:
        averages = [*state.average.parameters(), *state.average.buffers()]
        current = [*state.module.parameters(), *state.module.buffers()]
        ema_average([a.data for a in averages], current, count=state.step, decay=config.ema)
    return number


def _supervised(
    outputs: Sequence[Tensor],
    target: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    scales: Sequence[tuple[int, ...]],
) -> Tensor:
    """Deep supervision (Lee et al. 2015): each output's loss against every ``scale``-th label along each axis.

    The weights are 1 over the largest scale of an output.
    """
    parts = []
    for scale, logits in zip(scales, outputs, strict=True):
        every = (slice(None), *(slice(None, None, step) for step in scale))
        parts.append(loss(logits.float(), target[every]) / max(scale))
    return torch.stack(parts).sum() / sum(1 / max(scale) for scale in scales)


def _validation_round(
    state: State,
    forward: Callable[[Tensor], Any],
    held: Store,
    job: Job,
    loss: Callable[[Tensor, Tensor], Tensor],
    fabric: Fabric,
    log: Log,
    done: float,
    *,
    final: bool,
) -> None:
    config = job.recipe.train
    too_slow = config.minutes and state.validation_seconds > VALIDATION_SHARE * max(state.seconds, 1)
    if state.step == 0 or (too_slow and not final):
        return
    module = state.average if config.ema else unwrapped(state.module)
    start = time.perf_counter()

    def run(x: Tensor) -> Tensor:
        with torch.autocast(fabric.device.type, torch.bfloat16, enabled=config.precision == "bf16"):
            result: Tensor = module(x)
        return result

    with torch.inference_mode():
        found = validate(
            run,
            module,
            held,
            job.dataset.labels,
            loss,
            device=fabric.device,
            channels_last=config.channels_last == "on",
            rank=job.recipe.model.rank,
            slices=job.recipe.model.slices,
            graded=job.recipe.model.fusion != "none",
            patch=job.recipe.sample.patch,
        )
    state.validation_seconds += time.perf_counter() - start
    score = {"dice": found.dice, "iou": found.iou, "loss": -found.loss}[config.monitor]
    if score > state.best_score:
        state.best_step = state.validations + 1
    if score >= state.best_score:  # of equal scores, the longer training
        state.best_score = score
        state.best = copied(module)
    if config.schedule == "plateau":
        state.plateau.update(score)
    log.add(
        {
            "step": state.step,
            "epoch": state.step * job.recipe.sample.batch * fabric.world_size / max(1, len(job.train)),
            "minutes": (job.spent + state.seconds) / 60,
            "train_loss": float(np.mean(state.losses)) if state.losses else math.nan,
            "val_loss": found.loss,
            "val_score": score,
            "lr": rate(done, config, plateau=state.plateau.value),
        }
    )
    state.losses.clear()
    _watch_collapse(state, found, done, config)


def _watch_collapse(state: State, found: Validation, done: float, config: Train) -> None:
    state.constant_rounds = state.constant_rounds + 1 if found.constant else 0
    if state.constant_rounds >= 2 and done >= COLLAPSE_AFTER:
        raise TrainingError(
            f"the network gives one class for every pixel of every validation image after {state.step} steps; "
            f"lower the learning rate (--set train.lr={config.lr / 10:g}), raise the foreground share "
            "(--set sample.foreground=0.7), give it more time, or look with "
            "`catenary inspect` whether the masks fit their images"
        )


def _share_verdict(fabric: Fabric, state: State) -> None:
    """The first process validates; the others take over what depends on it."""
    if fabric.world_size > 1:
        shared = fabric.broadcast((state.best_score, state.best_step, state.plateau.state()))
        state.best_score, state.best_step = shared[0], shared[1]
        state.plateau.restore(shared[2])
