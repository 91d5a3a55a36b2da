"""The whole configuration as frozen, typed models.

A recipe is Python; JSON is only its saved record. A field that nobody sets is the planner's to choose
(`catenary.plan`); a field that a recipe or ``--set`` names is kept as it stands. Pydantic records which is which
in ``model_fields_set``, so there is one type for the wish and for the decision.

>>> recipe = override(Recipe(), ["model.dropout=0.1", "train.lr=0.002"])
>>> recipe.model.dropout, is_set(recipe, "model.dropout"), is_set(recipe, "model.widths")
(0.1, True, False)
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from catenary.errors import ConfigError, near_match

__all__ = [
    "Augment",
    "Config",
    "Data",
    "Loss",
    "Model",
    "Predict",
    "Prepare",
    "Recipe",
    "Sample",
    "Split",
    "Train",
    "Transfer",
    "choose",
    "is_set",
    "override",
    "parse",
]

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Size = tuple[Annotated[int, Field(ge=1)], ...]


class Config(BaseModel):
    """Base of all configuration: frozen, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Data(Config):
    """What of a data set is used."""

    classes: dict[str, tuple[str, ...]] = Field(
        {}, description="new classes, each made of some of the data set's; what none names is background; {} keeps all"
    )
    channels: tuple[str, ...] = Field(
        (), description="files of a case that are used as channels, by the name of their sequence or number; () for all"
    )
    regions: dict[str, tuple[str, ...]] = Field(
        {}, description="new overlapping regions, each made of some of the data set's classes, painted in this order"
    )
    disasters: bool = Field(
        False, description="tell a network for two dates the type of disaster that each case states (model.disasters)"
    )


class Split(Config):
    """How cases are divided into training, validation and test.

    A data set that states its own splits keeps them; `val` and `test` then only fill in what it leaves out.
    """

    val: Fraction = Field(0.15, description="share of the cases for validation")
    test: Fraction = Field(0.2, description="share of the cases for the final test")
    folds: Annotated[int, Field(ge=0)] = Field(0, description="number of cross-validation folds; 0 for one split")
    fold: Annotated[int, Field(ge=0)] = Field(
        0, description="which fold is held out, from 0: as test part, or as validation part when test is stated or 0"
    )
    ordered: bool = Field(False, description="split along the order of the names (slices of a volume), in blocks")
    gap: Annotated[int, Field(ge=0)] = Field(0, description="cases left out on each side of a cut, when ordered")
    source: str = Field("", description="source (clinic, camera, data set) held out as the test part; '' for none")
    seed: int = Field(0, description="seed of the division")


class Prepare(Config):
    """What happens to pixels before a network sees them; the same in training and in prediction."""

    normalise: Literal["dataset", "image", "body", "percentile", "range", "local", "none"] = Field(
        "dataset",
        description="dataset: (x - mean) / std with constants of the training set; image: with each image's own; body: "
        "with those of its voxels that are not empty; percentile: each image's 1st to 99th percentile to -1..1; range: "
        "the type's range to 0..1; local: with those of each pixel's neighbourhood, without a black rim; none: as they "
        "are",
    )
    window: tuple[float, ...] = Field(
        (), description="lowest and highest intensity that count, as a CT window; () clips nothing"
    )
    mean: tuple[float, ...] = Field((), description="mean of each channel, for 'dataset'")
    std: tuple[Positive, ...] = Field((), description="standard deviation of each channel, for 'dataset'")
    spacing: tuple[Positive, ...] = Field(
        (), description="spacing (d, h, w) that scans are resampled to, in the unit of their own; () keeps it"
    )
    size: Annotated[int, Field(ge=0)] = Field(
        0,
        description="longer side in pixels that images are brought to before the network; 0 keeps their own",
    )
    match: bool = Field(
        False, description="bring the later of two dates to mean and deviation of the earlier, over the whole scene"
    )


class Model(Config):
    """The network."""

    name: str = Field("unet", description="which network of catenary.models.MODELS")
    rank: Literal[2, 3] = Field(2, description="spatial rank of the network; 2 takes volumes slice by slice")
    slices: Annotated[int, Field(ge=1)] = Field(
        1, description="neighbouring slices of a volume that a network of rank 2 sees as channels (odd); 1: one alone"
    )
    pools: tuple[Size, ...] = Field(
        (), description="factor along each axis between a level and the next, top first; () halves all"
    )
    kernels: tuple[Size, ...] = Field(
        (), description="pixels of each level's convolutions along each axis, top first; () takes kernel for all"
    )
    channels: Annotated[int, Field(ge=1)] = Field(3, description="input channels")
    classes: Annotated[int, Field(ge=1)] = Field(1, description="output channels (logits)")
    widths: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (32, 64, 128, 256, 512), min_length=1, description="channels at each level, top to bottom"
    )
    depth: Annotated[int, Field(ge=0)] = Field(
        0,
        description="number of levels; doubles widths from widths[0] when it differs from len(widths); 0: len(widths)",
    )
    topology: str = Field("unet", description="how the decoder joins levels: unet, nested, unet3plus")
    block: str = Field("plain", description="building block: plain, residual, recurrent_residual, multires, ...")
    skip: str = Field("concat", description="how the encoder's features join: concat, add, attention, res_path")
    convs: Annotated[int, Field(ge=1)] | tuple[Annotated[int, Field(ge=1)], ...] = Field(
        2, description="convolutions a block; or of each level's, the last for all below"
    )
    kernel: Literal[1, 3, 5, 7] = Field(3, description="pixels a side of the blocks' convolutions")
    steps: Annotated[int, Field(ge=0)] = Field(2, description="steps of recurrent blocks")
    grow: Literal["first", "last"] = Field(
        "first", description="which convolution of an encoder's block widens; last: way up keeps its channels too"
    )
    norm: Literal["batch", "instance", "group", "none"] = Field("batch", description="normalisation")
    activation: str = Field("relu", description="relu, leaky_relu, elu, gelu, silu, ...")
    bias: bool = Field(False, description="convolutions keep a bias beside a normalisation")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="dropout at the two deepest levels, or in front of the logits of whole images"
    )
    down: Literal["max", "mean", "conv"] = Field("max", description="how the encoder halves")
    up: Literal["transpose", "resize", "resize_conv", "nearest"] = Field(
        "transpose", description="how the decoder enlarges"
    )
    padding: Literal["zeros", "reflect", "valid"] = Field("zeros", description="convolution padding")
    deep_supervision: bool = Field(False, description="train side outputs of the decoder too")
    prune: Annotated[int, Field(ge=0)] = Field(
        0, description="columns of a nested network that are kept, for a faster answer of less depth; 0: all"
    )
    init: Literal["he", "normal"] = Field("he", description="he: He 2015; normal: N(0, 0.01), biases 0")
    fusion: Literal["none", "decision", "feature"] = Field(
        "none",
        description="two dates of a place, stacked as channels, seen one by one by one network, and joined at its "
        "decisions or its last features; none: one network sees all channels",
    )
    disasters: tuple[str, ...] = Field(
        (), description="types of disaster that the head for the damage is told, one channel each; () tells none"
    )
    encoder: str = Field("", description="a network of timm as the encoder, for example resnet34; '' for own blocks")
    strides: Size = Field((), description="which features of that encoder, by their stride in pixels; () for all")
    biases: bool = Field(False, description="that encoder's convolutions get a bias beside the normalisation")
    bridge: Annotated[int, Field(ge=0)] = Field(0, description="convolutions on that encoder's deepest feature")
    tail: Annotated[int, Field(ge=0)] = Field(2, description="convolutions of the steps up that have no skip")
    head: Literal[1, 3] = Field(1, description="pixels a side of the last convolution, with such an encoder")
    hidden: Annotated[int, Field(ge=0)] = Field(
        0, description="units of a dense layer in front of the logits of a network for whole images; 0: none"
    )
    side: Annotated[int, Field(ge=0)] = Field(
        0, description="side in pixels of the one image size that a network for whole images takes; 0: any size"
    )


class Transfer(Config):
    """What the network starts from, and what of it stays as it is."""

    weights: str = Field("", description="pretrained weights of the encoder: hub, hub:TAG or a .safetensors file")
    init: str = Field("", description="a run or model file whose weights the network takes over")
    freeze: Annotated[int, Field(ge=-1)] = Field(
        0, description="stages of the encoder that do not learn, from the image's side; -1: all"
    )
    unfreeze: Fraction = Field(
        0.0, description="share of the budget within which frozen stages are set free, deepest first; 0: never"
    )
    encoder_lr: Positive = Field(1.0, description="learning rate of the encoder, as a share of train.lr")


class Loss(Config):
    """What training minimises."""

    name: str = Field("dice_ce", description="which loss of catenary.losses.LOSSES")
    class_weights: tuple[NonNegative, ...] = Field((), description="weight of each logit channel; () for equal")
    balance: Literal["none", "sqrt", "median"] = Field(
        "none",
        description="how the planner sets class_weights from the classes' shares of the pixels; sqrt: inverse square "
        "root; median: median frequency (Eigen and Fergus 2015)",
    )
    dice_weight: NonNegative = Field(1.0, description="weight of the Dice part in sums")
    batch_dice: bool = Field(True, description="Dice over the whole batch instead of image by image")
    gamma: NonNegative = Field(2.0, description="focal exponent")
    alpha: Fraction = Field(0.5, description="Tversky weight of false positives; false negatives get 1 - alpha")
    tversky_gamma: Positive = Field(
        4 / 3, description="focal Tversky is (1 - index) ** (1 / this); above 1, nearly right classes keep pulling"
    )
    after: NonNegative = Field(
        1.0, description="weight of the loss on buildings that still stand on the later date, with model.fusion"
    )
    boundary_weight: NonNegative = Field(1.0, description="weight of the boundary part in dice_boundary")
    cldice_share: Fraction = Field(0.5, description="share of the centreline part in dice_cldice; Dice gets the rest")
    skeleton_steps: Annotated[int, Field(ge=1)] = Field(
        10, description="erosions that find a centreline: half the width in pixels of the widest thin structure"
    )


class Augment(Config):
    """Random changes of training patches; each is drawn independently for each patch.

    Magnitudes are half-ranges around "no change" unless said otherwise. One fused warp does all geometry.
    """

    preset: str = Field("standard", description="the named starting point that the other fields were taken from")
    flip: tuple[Fraction, ...] = Field(
        (0.5, 0.5), description="probability of a flip along each axis, (h, w) or (d, h, w)"
    )
    transpose: Fraction = Field(0.0, description="probability of a quarter turn (square patches)")
    warp: Fraction = Field(0.7, description="probability that rotation, shift, shear and zoom are applied at all")
    rotate: NonNegative = Field(20.0, description="degrees")
    tilt: NonNegative = Field(0.0, description="degrees about the axes within the slices, of volumes")
    shift: NonNegative = Field(0.0, description="share of the patch, both ways; crops already shift")
    shear: NonNegative = Field(0.1, description="shear factor along the columns")
    zoom: Annotated[float, Field(ge=0, lt=1)] = Field(0.2, description="zoom factor 1 - zoom to 1 + zoom")
    elastic: Fraction = Field(0.2, description="probability of an elastic deformation")
    elastic_alpha: NonNegative = Field(300.0, description="strength of the elastic field, pixels times sigma-blur")
    elastic_sigma: Positive = Field(20.0, description="smoothness of the elastic field in pixels")
    apart: NonNegative = Field(
        0.0, description="largest shift in pixels of the later date against the earlier, with model.fusion"
    )
    intensity: Fraction = Field(0.7, description="probability of each of gamma, brightness and contrast")
    gamma: Annotated[float, Field(ge=0, lt=1)] = Field(0.2, description="exponent 1 - gamma to 1 + gamma")
    brightness: NonNegative = Field(0.1, description="share of the image's intensity range added")
    contrast: Annotated[float, Field(ge=0, lt=1)] = Field(0.2, description="factor around the patch's mean")
    colour: NonNegative = Field(0.0, description="independent brightness of each channel, share of the range")
    noise: NonNegative = Field(0.02, description="largest standard deviation of added noise, share of the range")
    noise_probability: Fraction = Field(0.15, description="probability of noise")
    hair: Fraction = Field(0.0, description="probability that dark or light hairs are drawn over the image")
    blur: NonNegative = Field(1.0, description="largest sigma of a Gaussian blur in pixels")
    blur_probability: Fraction = Field(0.1, description="probability of blur")


class Sample(Config):
    """Which patches a training step sees."""

    patch: Size = Field((256, 256), description="patch size (h, w), or (d, h, w) for a network of rank 3")
    batch: Annotated[int, Field(ge=1)] = Field(8, description="patches a step and device")
    foreground: Fraction = Field(0.33, description="share of patches centred on a foreground pixel, rare class first")
    balance: bool = Field(False, description="draw images of each class equally often, where images have one class")
    dilate: Annotated[int, Field(ge=0)] = Field(
        0, description="pixels by which objects are grown in the training labels, later classes over earlier ones"
    )


class Train(Config):
    """The optimisation and its budget. The first of `minutes`, `epochs`, `steps` that is set and met ends it."""

    minutes: NonNegative = Field(0.0, description="wall-clock budget with start-up and validation; 0 for none")
    epochs: Annotated[int, Field(ge=0)] = Field(0, description="budget in passes over the training cases; 0 for none")
    steps: Annotated[int, Field(ge=0)] = Field(0, description="budget in optimiser steps; 0 for none")
    optimizer: Literal["adamw", "adam", "sgd"] = Field("adamw", description="optimiser")
    lr: Positive = Field(1e-3, description="peak learning rate")
    weight_decay: NonNegative = Field(1e-2, description="weight decay")
    momentum: Fraction = Field(0.9, description="momentum of SGD (Nesterov)")
    schedule: Literal["cosine", "poly", "plateau", "constant"] = Field("cosine", description="course of the rate")
    warmup: Fraction = Field(0.05, description="share of the budget in which the rate rises")
    plateau_factor: Fraction = Field(0.2, description="factor of reduce-on-plateau")
    plateau_patience: Annotated[int, Field(ge=0)] = Field(3, description="validations without gain before it")
    ema: Annotated[float, Field(ge=0, lt=1)] = Field(0.99, description="decay of the weights' moving average; 0: off")
    clip: NonNegative = Field(1.0, description="largest gradient norm; 0: no clipping")
    early_stopping: Annotated[int, Field(ge=0)] = Field(0, description="validations without gain that end it; 0: off")
    validations: Annotated[int, Field(ge=1)] = Field(12, description="validations over the budget")
    monitor: Literal["dice", "iou", "loss"] = Field("dice", description="validation score that picks the best model")
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto: what a timed step shows to pay")
    channels_last: Literal["auto", "on", "off"] = Field("auto", description="memory layout; auto: timed")
    devices: Annotated[int, Field(ge=1)] = Field(1, description="processes (CPU) or cards (GPU)")
    memory: Positive = Field(4.0, description="GiB that cases may take in memory; the others wait on disk")
    seed: int = Field(0, description="seed of initialisation, sampling and augmentation")


class Predict(Config):
    """How answers are made."""

    overlap: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.25,
        description="overlap of neighbouring tiles, as a share of the training patch (of the tile where it is set)",
    )
    tile: Size = Field((), description="tile size (h, w); () takes the training patch, or 512 where that is smaller")
    batch: Annotated[int, Field(ge=1)] = Field(8, description="tiles a forward pass")
    tta: bool = Field(False, description="average over flips")
    refine: NonNegative = Field(
        0.0,
        description="weight of neighbours of like intensity in a conditional random field that refines the outlines; "
        "0: none, 3 is a usual one",
    )
    engine: Literal["auto", "torch", "openvino", "onnx"] = Field("auto", description="auto: OpenVINO on CPU")
    thresholds: tuple[Fraction, ...] = Field(
        (), description="threshold of each logit (binary, overlapping); () for 0.5"
    )
    sensitivity: Fraction = Field(
        0.0,
        description="what the threshold of two whole-image classes shall reach on validation; 0 for this and the "
        "specificity takes the largest sum of both",
    )
    specificity: Fraction = Field(0.0, description="the same for the specificity; set one of the two")
    smallest: Annotated[int, Field(ge=0)] = Field(0, description="objects below this area in pixels are dropped")
    clean: Literal["auto", "off"] = Field(
        "auto", description="auto: of scans, keep the largest part or fill holes of a class where validation cases gain"
    )
    measures: Literal["", "microstructure", "lesion", "volume", "disc"] = Field(
        "", description="quantities measured on each mask besides areas, see catenary.measures"
    )


class Recipe(Config):
    """Everything that decides what a run does, besides the data."""

    name: str = Field("default", description="name of the recipe")
    data: Data = Data()
    split: Split = Split()
    prepare: Prepare = Prepare()
    model: Model = Model()
    transfer: Transfer = Transfer()
    loss: Loss = Loss()
    augment: Augment = Augment()
    sample: Sample = Sample()
    train: Train = Train()
    predict: Predict = Predict()


def parse(data: Mapping[str, Any]) -> Recipe:
    """A recipe from plain data (a loaded JSON or TOML file).

    Raises:
        ConfigError: Lists every wrong field at once, each with its near match.
    """
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        raise ConfigError(_explain(error)) from None


def override(recipe: Recipe, settings: Iterable[str]) -> Recipe:
    """Apply ``section.field=value`` settings; values are JSON, bare words are text.

    Raises:
        ConfigError: Lists every setting that is unknown or out of range.

    >>> override(Recipe(), ["model.widths=[16,32]"]).model.widths
    (16, 32)
    >>> override(Recipe(), ["model.dropuot=0.5"])
    Traceback (most recent call last):
    catenary.errors.ConfigError: unknown setting 'model.dropuot'; did you mean 'model.dropout'?
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    known = fields()
    for setting in settings:
        key, equals, text = setting.partition("=")
        key = key.strip()
        if not equals:
            problems.append(f"'{setting}' is not a setting; write section.field=value, as in model.dropout=0.1")
        elif key not in known:
            problems.append(f"unknown setting '{key}'; {near_match(key, known)}")
        else:
            values[key] = _value(text)
    if problems:
        raise ConfigError("; ".join(problems))
    return choose(recipe, values)


def choose(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The recipe with fields (``"section.field"`` -> value) replaced, validated, and marked as set.

    >>> choose(Recipe(), {"train.lr": 0.1}).train.lr
    0.1
    """
    data = recipe.model_dump(exclude_unset=True)
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        if section:
            data.setdefault(section, {})[name] = value
        else:
            data[name] = value
    return parse(data)


def is_set(recipe: Recipe, key: str) -> bool:
    """Whether ``"section.field"`` was set by somebody, rather than left to the planner."""
    section, _, name = key.rpartition(".")
    holder: BaseModel = getattr(recipe, section) if section else recipe
    return (not section or section in recipe.model_fields_set) and name in holder.model_fields_set


def fields() -> dict[str, str]:
    """Every settable field, ``"section.field"`` -> description."""
    found: dict[str, str] = {}
    for section, info in Recipe.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found |= {f"{section}.{name}": sub.description or "" for name, sub in kind.model_fields.items()}
        else:
            found[section] = info.description or ""
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text.strip()


def _explain(error: ValidationError) -> str:
    known = fields()
    lines = []
    for item in error.errors(include_url=False):
        key = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            lines.append(f"unknown setting '{key}'; {near_match(key, known)}")
        else:
            lines.append(f"{key} = {item['input']!r}: {item['msg'][0].lower()}{item['msg'][1:]}")
    return "; ".join(lines)
