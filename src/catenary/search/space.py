"""What a search may change: fields of the recipe, each with a range or a list of values.

On the command line and in a file a dimension is text::

    train.lr=1e-4..1e-2:log        a range, here drawn evenly on a logarithmic scale
    sample.batch=2..16             a range of whole numbers, as the field holds whole numbers
    train.lr=1e-4..1e-2:log:5      five values, evenly spaced, both ends among them
    model.activation=relu,elu      a list of values
    model.widths=[16,32],[32,64]   the same for fields that are lists themselves
"""

from __future__ import annotations

import itertools
import json
import math
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from catenary.errors import ConfigError, near_match
from catenary.recipe import Recipe, choose, fields, is_set

__all__ = [
    "Choices",
    "Range",
    "Space",
    "default_space",
    "describe",
    "grid",
    "pinned",
    "read_space",
    "space_from_data",
    "space_to_data",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """All numbers from `low` to `high`, both included.

    Attributes:
        low, high: The ends.
        log: Draw evenly on a logarithmic scale.
        whole: Whole numbers only.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __str__(self) -> str:
        return f"{_text(self.low)} to {_text(self.high)}{', logarithmic' * self.log}"

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high


@dataclass(frozen=True, kw_only=True, slots=True)
class Choices:
    """One of some values."""

    values: tuple[Any, ...]

    def __str__(self) -> str:
        return ", ".join(_text(value) for value in self.values)

    def __contains__(self, value: object) -> bool:
        return value in self.values


#: ``"section.field"`` -> what it may be.
Space = Mapping[str, Range | Choices]

#: Fields that a search must not change, with the reason.
_FIXED = {
    "name": "it is only a name",
    "model.rank": "the data decide it",
    "model.channels": "the data decide it",
    "model.classes": "the data decide it",
    "model.disasters": "the data decide it",
    "prepare.mean": "the training images decide it",
    "prepare.std": "the training images decide it",
    "train.monitor": "it decides what a score means",
    "train.validations": "it decides when trials are compared",
    "train.seed": "a lucky seed is no better setting",
    "train.devices": "it changes no score",
}
_FIXED_SECTIONS = {
    "data": "trials must be scored on the same classes",
    "split": "trials must be scored on the same cases",
    "predict": "trials are compared by what training gives",
}

#: Searched field -> fields that the planner decides anew for each of its values, as they depend on it.
_DEPENDENTS: dict[str, tuple[str, ...]] = {
    "prepare.size": ("sample.patch", "augment.transpose"),
    "sample.patch": ("augment.transpose",),
    "sample.batch": ("model.norm",),
    "model.norm": ("train.lr",),
    "loss.balance": ("loss.class_weights",),
    "transfer.weights": ("prepare.normalise", "transfer.encoder_lr"),
    "train.steps": ("train.ema", "train.minutes", "train.epochs"),
    "train.epochs": ("train.ema", "train.minutes", "train.steps"),
    "train.minutes": ("train.ema", "train.epochs", "train.steps"),
}
#: Searched field -> section that it stands for as a whole.
_WHOLE = {"model.name": "model", "model.encoder": "model", "transfer.init": "model", "augment.preset": "augment"}
#: What the data decide about a network, whichever it is.
_ENDS = ("model.rank", "model.channels", "model.classes", "model.disasters")

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"\s*({_NUMBER})\s*\.\.\s*({_NUMBER})\s*(?::(log))?\s*(?::(\d+))?\s*")


def read_space(wanted: Mapping[str, Any] | Sequence[str] | str | Path) -> dict[str, Range | Choices]:
    """A space from a mapping, from ``section.field=values`` texts, or from TOML files.

    Args:
        wanted: Field -> a `Range`, `Choices`, a list of values, or text as on the command line; or a sequence of
            ``field=text`` and names of ``.toml`` files, whose entries are the same, in sections or with dots.

    Raises:
        ConfigError: The space is empty, or lists every field that is unknown, fixed, or cannot take its values.

    >>> space = read_space(["train.lr=1e-4..1e-2:log", "model.activation=relu,elu"])
    >>> print(space["train.lr"], "|", space["model.activation"])
    0.0001 to 0.01, logarithmic | relu, elu
    >>> read_space(["model.dropuot=0..0.5"])
    Traceback (most recent call last):
    catenary.errors.ConfigError: unknown field 'model.dropuot' in the space; did you mean 'model.dropout'?
    """
    items, problems = list(_items(wanted)), []
    space: dict[str, Range | Choices] = {}
    for key, value in items:
        try:
            if key in space:
                raise ConfigError(f"{key} stands twice in the space; give it once")
            space[key] = _dimension(key, value)
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("; ".join(problems))
    if not space:
        raise ConfigError(
            "the search space is empty; name at least one field, as in --space train.lr=1e-4..1e-2:log, "
            "or leave the space out for one chosen from the data"
        )
    return space


def grid(space: Space) -> list[dict[str, Any]]:
    """Every combination of the values, the last field changing fastest.

    Raises:
        ConfigError: A field has a range without a number of values.

    >>> [point["sample.batch"] for point in grid(read_space(["model.norm=batch,group", "sample.batch=4,8"]))]
    [4, 8, 4, 8]
    """
    values: list[Sequence[Any]] = []
    for key, dimension in space.items():
        if isinstance(dimension, Range):
            if not dimension.whole or dimension.log:
                raise ConfigError(
                    f"a grid needs values, found the range {dimension} for {key}; list them, or give their number, "
                    f"as in --space {key}={dimension.low:g}..{dimension.high:g}{':log' * dimension.log}:3"
                )
            values.append(range(int(dimension.low), int(dimension.high) + 1))
        else:
            values.append(dimension.values)
    return [dict(zip(space, point, strict=True)) for point in itertools.product(*values)]


def default_space(recipe: Recipe, wish: Recipe, *, longest: int) -> dict[str, Range | Choices]:
    """A sensible space around what the planner decided; what the user has set stays out of it.

    Args:
        recipe: The planner's decision.
        wish: What the user asked for; its set fields are not searched.
        longest: Longer side of the median image in pixels.

    >>> space = default_space(Recipe(), Recipe(), longest=512)
    >>> print(space["train.lr"], "|", space["sample.batch"], "|", space["prepare.size"])
    0.0001 to 0.003, logarithmic | 4, 8, 16 | 0, 256, 384
    """
    rate, batch, widths = recipe.train.lr, recipe.sample.batch, recipe.model.widths
    pixelwise = "ce" if recipe.loss.name.endswith("_ce") else "bce"
    side = recipe.prepare.size or longest
    sizes = {32 * round(share * side / 32) for share in (0.5, 0.75)}
    space: dict[str, Range | Choices] = {
        "train.lr": Range(low=float(f"{rate / 10:.1g}"), high=float(f"{rate * 10 / 3:.1g}"), log=True),
        "model.dropout": Range(low=0.0, high=0.5),
        "sample.batch": _unique([max(1, batch // 2), batch, batch * 2]),
        "model.widths": _unique([tuple(max(min(w, 2), int(w * f)) for w in widths) for f in (0.5, 1, 2)]),
        "model.activation": _unique([recipe.model.activation, "relu", "leaky_relu", "elu", "silu"]),
        "loss.name": _unique([recipe.loss.name, f"dice_{pixelwise}", pixelwise, "tversky"]),
        "prepare.size": _unique([recipe.prepare.size, *sorted(size for size in sizes if 64 <= size < side)]),
    }
    return {
        key: dimension
        for key, dimension in space.items()
        if not is_set(wish, key) and (isinstance(dimension, Range) or len(dimension.values) > 1)
    }


def pinned(recipe: Recipe, wish: Recipe, space: Space) -> Recipe:
    """The decided recipe with the searched fields open again, and those that the planner must adapt to them.

    All else keeps its value, so that trials on machines of other speed or memory differ in nothing but the search.

    >>> decided = choose(Recipe(), {"model.dropout": 0.3, "train.lr": 0.1})
    >>> open_ = pinned(decided, Recipe(), {"model.dropout": Range(low=0.0, high=0.5)})
    >>> is_set(open_, "model.dropout"), is_set(open_, "train.lr")
    (False, True)
    """
    opened = set(space)
    for key in space:
        dependents = _DEPENDENTS.get(key, ())
        if key in _WHOLE:
            dependents = tuple(k for k in fields() if k.startswith(f"{_WHOLE[key]}.") and k not in _ENDS)
        opened |= {name for name in dependents if not is_set(wish, name)}
    values = {
        key: _value_of(recipe, key) for key in fields() if is_set(recipe, key) and key not in opened and key != "name"
    }
    return choose(Recipe(name=recipe.name), values)


def describe(value: Any) -> str:
    """A value of a field for reading.

    >>> describe(0.00123456), describe((16, 32)), describe("relu")
    ('0.001235', '16 32', 'relu')
    """
    if isinstance(value, tuple | list):
        return " ".join(describe(item) for item in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def space_to_data(space: Space) -> dict[str, Any]:
    """The space as plain JSON; `space_from_data` reads it."""
    return {
        key: {"values": [list(v) if isinstance(v, tuple) else v for v in d.values]}
        if isinstance(d, Choices)
        else {"low": d.low, "high": d.high, "log": d.log, "whole": d.whole}
        for key, d in space.items()
    }


def space_from_data(data: Mapping[str, Any]) -> dict[str, Range | Choices]:
    """What `space_to_data` gave.

    >>> space = read_space(["model.widths=[4,8],[8,16]", "train.lr=0.1..1"])
    >>> space_from_data(json.loads(json.dumps(space_to_data(space)))) == space
    True
    """
    return {
        key: Choices(values=tuple(tuple(v) if isinstance(v, list) else v for v in d["values"]))
        if "values" in d
        else Range(**d)
        for key, d in data.items()
    }


def _items(wanted: Mapping[str, Any] | Sequence[str] | str | Path) -> Iterator[tuple[str, Any]]:
    if isinstance(wanted, Mapping):
        for key, value in wanted.items():
            if isinstance(value, Mapping):  # a section of a TOML file
                yield from ((f"{key}.{name}", inner) for name, inner in value.items())
            else:
                yield str(key), value
        return
    for text in [wanted] if isinstance(wanted, str | Path) else wanted:
        key, equals, values = str(text).partition("=")
        if equals:
            yield key.strip(), values
        elif str(text).endswith(".toml"):
            yield from _items(_read_toml(Path(text)))
        else:
            raise ConfigError(
                f"'{text}' is no part of a space; write section.field=values, as in train.lr=1e-4..1e-2:log, "
                "or name a .toml file"
            )


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"the space {path} cannot be read ({error.strerror}); check the name of the file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"the space {path} is not valid TOML ({error}); correct the file") from error


def _dimension(key: str, value: Any) -> Range | Choices:
    known = fields()
    if key not in known:
        raise ConfigError(f"unknown field '{key}' in the space; {near_match(key, known)}")
    section = key.partition(".")[0]
    reason = _FIXED.get(key) or _FIXED_SECTIONS.get(section)
    if reason:
        raise ConfigError(f"{key} cannot be searched: {reason}; set it with --set instead")
    if isinstance(value, str) and (found := _RANGE.fullmatch(value)):
        low, high, log, number = found.groups()
        span = Range(low=float(low), high=float(high), log=bool(log), whole=_kind(key) is int)
        _check_range(key, span)
        return _checked_choices(key, _spaced(key, span, int(number))) if number else span
    if isinstance(value, str):
        return _checked_choices(key, [_value(part) for part in _split(value)])
    if isinstance(value, Range):
        _check_range(key, value)
        return value
    values = value.values if isinstance(value, Choices) else value
    if not isinstance(values, list | tuple):
        raise ConfigError(f"{key} = {value!r} is one value, which is no search; give several, or set it with --set")
    return _checked_choices(key, values)


def _check_range(key: str, span: Range) -> None:
    kind = _kind(key)
    if kind not in (int, float):
        raise ConfigError(f"{key} is no number and so has no range; list its values, as in --space {key}=A,B")
    if not span.low < span.high:
        raise ConfigError(f"the range of {key} runs from {span.low:g} to {span.high:g}; give the lower end first")
    if span.log and span.low <= 0:
        raise ConfigError(f"the logarithmic range of {key} begins at {span.low:g}; begin above 0, or leave :log out")
    if kind is int and not (float(span.low).is_integer() and float(span.high).is_integer()):
        raise ConfigError(f"{key} takes whole numbers, found {span.low:g} to {span.high:g}; give whole ends")
    if (kind is int) != span.whole:
        raise ConfigError(f"{key} {'takes' if kind is int else 'does not take'} whole numbers only; correct its Range")
    for end in (span.low, span.high):
        choose(Recipe(), {key: int(end) if kind is int else end})


def _checked_choices(key: str, values: Iterable[Any]) -> Choices:
    checked = tuple(_value_of(choose(Recipe(), {key: value}), key) for value in values)
    if len(checked) < 2:
        found = f"only {_text(checked[0])}" if checked else "none"
        raise ConfigError(f"{key} needs several values to search among, found {found}; give more, or set it with --set")
    if len(_unique(checked).values) < len(checked):
        raise ConfigError(f"{key} lists a value twice; give each once")
    return Choices(values=checked)


def _spaced(key: str, span: Range, number: int) -> list[Any]:
    if number < 2:
        raise ConfigError(f"{key} needs several values to search among, found {number}; give a larger number")
    ends = (math.log(span.low), math.log(span.high)) if span.log else (span.low, span.high)
    steps = [ends[0] + (ends[1] - ends[0]) * i / (number - 1) for i in range(number)]
    values = [float(f"{math.exp(step) if span.log else step:.6g}") for step in steps]
    return [round(value) for value in values] if span.whole else values


def _split(text: str) -> list[str]:
    """Parts between commas that stand in no bracket.

    >>> _split("[16,32],[32,64]")
    ['[16,32]', '[32,64]']
    """
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "[(") - (letter in "])")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _value_of(recipe: Recipe, key: str) -> Any:
    section, _, name = key.rpartition(".")
    return getattr(getattr(recipe, section) if section else recipe, name)


def _kind(key: str) -> Any:
    """The type of a field, without its bounds."""
    section, _, name = key.rpartition(".")
    owner = Recipe.model_fields[section].annotation
    assert isinstance(owner, type)
    assert issubclass(owner, BaseModel)
    return owner.model_fields[name].annotation


def _unique(values: Iterable[Any]) -> Choices:
    kept: list[Any] = []
    for value in values:
        if value not in kept:
            kept.append(value)
    return Choices(values=tuple(kept))


def _text(value: Any) -> str:
    return describe(value) if not isinstance(value, tuple) else "[" + describe(value) + "]"
