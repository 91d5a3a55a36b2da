"""What an evaluation and a comparison say, as frozen models that are plain JSON.

A score that is not defined is None (``null``), never NaN.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "Baseline",
    "CaseScores",
    "Comparison",
    "DamageBuildings",
    "DamagePixels",
    "DamageScores",
    "Difference",
    "Empty",
    "Evaluation",
    "Interval",
    "ObjectTotals",
]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Interval(_Frozen):
    """A score with its 95 % interval.

    >>> print(Interval(value=0.9, low=0.85, high=0.93, n=40))
    0.900 (0.850 to 0.930)
    """

    value: float | None = Field(description="the score; null where no image defines it")
    low: float | None = Field(None, description="lower end of the interval; null with fewer than two groups")
    high: float | None = Field(None, description="upper end of the interval")
    n: int = Field(ge=0, description="number of images that the score is defined for")

    def __str__(self) -> str:
        if self.value is None:
            return "–"
        if self.low is None or self.high is None:
            return f"{self.value:.3f}"
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


class Empty(_Frozen):
    """How many images of a target were empty; images without known pixels do not count."""

    images: int = Field(description="images with known pixels")
    n_truth_empty: int = Field(description="the target is not there")
    n_pred_empty: int = Field(description="nothing was predicted")
    n_both_empty: int = Field(description="both")


class ObjectTotals(_Frozen):
    """Objects of a target over all images."""

    true: int
    predicted: int
    matched: int
    merges: int = Field(description="predicted objects that hold most of two or more true ones")
    splits: int = Field(description="true objects that hold most of two or more predicted ones")


class CaseScores(_Frozen):
    """The scores of one image."""

    name: str
    group: str = Field(description="patient, specimen, place: what the intervals are drawn over")
    n_pixels: int = Field(description="counted pixels")
    n_ignored: int = Field(description="pixels whose truth is unknown")
    classes: dict[str, dict[str, float | None]] = Field(description="target -> metric -> value")
    truth_pixels: dict[str, int] = Field(description="target -> true pixels")
    predicted_pixels: dict[str, int] = Field(description="target -> predicted pixels")
    volume_error: dict[str, float] = Field(
        {}, description="target -> predicted minus true volume, in the unit of the convention 'volumes'; area in 2D"
    )


class Baseline(_Frozen):
    """The scores of an answer that needs no learning, on the same images; see `Evaluation` for the fields."""

    classes: dict[str, dict[str, Interval]]
    mean: dict[str, Interval]
    pooled: dict[str, dict[str, Interval]]
    pooled_mean: dict[str, Interval]


class DamagePixels(_Frozen):
    """Scores of damage grades, of pixels added up over all images."""

    score: Interval = Field(description="xView2 score, 0.3 `localisation` + 0.7 `damage`")
    score_present: Interval = Field(description="the same over the grades only that the truth holds")
    localisation: Interval = Field(description="F1 of building against background")
    damage: Interval = Field(description="harmonic mean of `grades`, one that the truth does not hold counted as 0")
    grades: dict[str, Interval] = Field(description="grade -> F1 over the pixels of true buildings")
    strict: dict[str, Interval] = Field(description="class, background included -> F1 over all known pixels")


class DamageBuildings(_Frozen):
    """Scores of damage grades, of whole buildings; predicted ones match true ones at IoU 0.5."""

    true: int
    predicted: int
    matched: int
    missed: int = Field(description="true buildings without a match")
    false_alarms: int = Field(description="predicted buildings without a match")
    right: int = Field(description="matched buildings with the right grade")
    localisation: Interval = Field(description="F1 of the buildings, whatever their grade")
    accuracy: Interval = Field(description="share of the matched buildings that have the right grade")
    grades: dict[str, Interval] = Field(description="grade -> F1 among the matched buildings")
    strict: dict[str, Interval] = Field(description="grade -> F1 where missed buildings and false alarms count too")
    confusion: list[list[int]] = Field(
        description="buildings, confusion[true class][predicted class]; row 0 the false alarms, column 0 the missed"
    )
    confusion_names: list[str] = Field(description="class of each row and column of `confusion`")


class DamageCase(_Frozen):
    """What was counted of one image, so that two answers can be compared on the same images."""

    name: str
    group: str
    pixels: list[list[int]] = Field(description="pixels[true class][predicted class]")
    buildings: list[list[int]] = Field(description="buildings, the same; row 0 the false alarms, column 0 the missed")


class DamageScores(_Frozen):
    """How well grades of building damage were told; see `catenary.metrics.damage`."""

    pixels: DamagePixels
    buildings: DamageBuildings
    baselines: dict[str, DamagePixels] = Field(description="one grade for all buildings, predicted or true ones")
    shares: dict[str, float | None] = Field(description="grade -> its share p of the pixels of true buildings")
    trivial_f1: dict[str, float | None] = Field(
        description="grade -> 2p / (1 + p), its F1 on true buildings when all of them are given it"
    )
    absent: list[str] = Field(description="grades that no true pixel holds")
    cases: list[DamageCase] = Field([], description="what was counted of every image")
    conventions: dict[str, str] = Field(description="what was done, for people")


class Difference(_Frozen):
    """A paired difference of two evaluations, b - a, with its 95 % interval."""

    a: float | None
    b: float | None
    value: float | None = Field(description="mean over the images of b - a")
    low: float | None = None
    high: float | None = None
    p: float | None = Field(None, description="two-sided p-value, signs of whole groups flipped")
    n: int = Field(description="number of images that the score is defined for")
    better: str = Field(description="'a', 'b', or 'unclear' where the interval holds 0 or is unknown")


class Comparison(_Frozen):
    """Two evaluations of the same images side by side.

    `classes` and `mean` are means over images, as in `Evaluation`.
    """

    a: str
    b: str
    n: int
    groups: int
    classes: dict[str, dict[str, Difference]]
    mean: dict[str, Difference]
    damage: dict[str, Difference] = Field(
        {}, description="scores of damage grades, of counts added up over all images; {} where one has none"
    )
    conventions: dict[str, str]

    def __str__(self) -> str:
        from catenary.metrics.table import format_comparison

        return format_comparison(self)


class Evaluation(_Frozen):
    """All that was measured on a set of images."""

    split: str = Field(description="which images: test, val, ...")
    n: int = Field(description="number of images")
    groups: int = Field(description="number of groups among them")
    classes: dict[str, dict[str, Interval]] = Field(description="target -> metric -> mean over the images")
    mean: dict[str, Interval] = Field(description="metric -> mean of `classes` over the targets")
    pooled: dict[str, dict[str, Interval]] = Field(
        description="target -> metric -> value of the counts added up over all images"
    )
    pooled_mean: dict[str, Interval] = Field(description="metric -> mean of `pooled` over the targets")
    confusion: list[list[int]] = Field(
        description="pixels, confusion[true class][predicted class]; empty where regions were predicted"
    )
    confusion_names: list[str] = Field(description="class of each row and column of `confusion`")
    empty: dict[str, Empty] = Field(description="target -> how many images were empty")
    objects: dict[str, ObjectTotals] = Field(description="target -> objects over all images")
    baselines: dict[str, Baseline] = Field(description="answers that need no learning, on the same images")
    conventions: dict[str, str] = Field(description="rule or metric -> what was done, for people")
    tolerance: float = Field(description="distance that counts as no error in nsd, in `unit`")
    unit: str = Field(description="unit of distances")
    cases: list[CaseScores] = Field(description="every image, in the order of the names")
    trained_on: list[str] = Field([], description="scored images whose pixels the model was trained on")
    damage: DamageScores | None = Field(None, description="grades of building damage, where the classes are such")
    gain: Comparison | None = Field(
        None, description="from the model that training started from (a) to this one (b), paired on the same images"
    )
