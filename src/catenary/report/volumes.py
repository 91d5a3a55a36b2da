"""What a report shows of volumes: planes through the largest error, and volumes of targets against the true ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import cc3d
import numpy as np
from jaxtyping import UInt8
from numpy.typing import ArrayLike, NDArray

from catenary.metrics.evaluation import CaseScores
from catenary.metrics.registry import METRICS
from catenary.metrics.volumes import volume_of_pixel, volume_unit
from catenary.report.charts import bland_altman
from catenary.report.data import GalleryCase, VolumeRow
from catenary.report.document import Document, VolumeEntry
from catenary.report.pictures import to_rgb8
from catenary.report.words import count, figures, metric_label, number
from catenary.types import IGNORE, Grid, Image

__all__ = ["ENOUGH", "Agreement", "agree", "case_columns", "compared", "gallery_cases", "volume_rows"]

#: Limits of agreement are given from this many cases on.
ENOUGH = 5
#: Name and axes of the plane across each axis (d, h, w) of a scan, and of a volume that lies nobody knows how.
PLANES = ("axial", "coronal", "sagittal")
AXES = ("h-w", "d-w", "d-h")
#: Scores of the outlines that the table of cases shows beside Dice.
OUTLINES = ("hd95", "nsd")


def gallery_cases(
    name: str, image: Image, truth: UInt8[np.ndarray, "*s"], prediction: UInt8[np.ndarray, "*p"]
) -> list[GalleryCase]:
    """What the gallery shows of a case: an image as it is, a volume as three planes through its largest error.

    The largest error is the connected region of wrong voxels (corners connected) with the most of them; each plane
    cuts it where most of its voxels lie, across d, h and w. Without any error the planes cut the largest target,
    without any target the middle. Scans are shown as radiologists do: head up, the patient's right on the left.

    Args:
        name: The case's name.
        image: Its pixels, ``(c, h, w)`` or ``(c, d, h, w)``.
        truth: Class indices, `IGNORE` where unknown.
        prediction: Class indices.

    >>> truth = np.zeros((8, 9, 10), np.uint8)
    >>> truth[2:5, 3:5, 4:9] = 1
    >>> image = Image(array=truth[None], grid=Grid(spacing=(2.0, 1.0, 1.0), unit="mm"))
    >>> [(case.view, case.truth.shape, case.aspect) for case in gallery_cases("a", image, truth, 0 * truth)][1]
    ('d-w, slice 4 of 9 along h', (8, 10), (2.0, 1.0))
    """
    if truth.ndim == 2:
        return [GalleryCase(name=name, image=to_rgb8(image.array), truth=truth, prediction=prediction)]
    point, note = _worst(truth, prediction, image.grid)
    # Grey values are stretched over the whole volume, so that its planes can be compared.
    channels, depth, height, width = image.array.shape
    pixels = to_rgb8(image.array.reshape(channels, depth, height * width)).reshape(depth, height, width, 3)
    spacing = image.grid.spacing or (1.0, 1.0, 1.0)
    oriented = image.grid.affine is not None
    cases = []
    for axis, place in enumerate(point):
        cut: list[Any] = [slice(None)] * 3
        cut[axis] = place
        if axis and oriented:
            cut[0] = slice(None, None, -1)  # the head is up
        plane = f"{PLANES[axis]} ({AXES[axis]})" if oriented else AXES[axis]
        cases.append(
            GalleryCase(
                name=name,
                image=np.ascontiguousarray(pixels[tuple(cut)]),
                truth=np.ascontiguousarray(truth[tuple(cut)]),
                prediction=np.ascontiguousarray(prediction[tuple(cut)]),
                aspect=(spacing[1 if axis == 0 else 0], spacing[1 if axis == 2 else 2]),
                view=f"{plane}, slice {place + 1} of {truth.shape[axis]} along {'dhw'[axis]}",
                note=note,
            )
        )
    return cases


def _worst(truth: NDArray[np.uint8], prediction: NDArray[np.uint8], grid: Grid) -> tuple[list[int], str]:
    """Where the planes cut, and why there."""
    known = truth != IGNORE
    wrong = (truth != prediction) & known
    region = _largest(wrong if wrong.any() else (truth > 0) & known)
    if region is None:
        point = [n // 2 for n in truth.shape]
        said = "No error and no target"
    else:
        rest = [tuple(a for a in range(3) if a != axis) for axis in range(3)]
        point = [int(np.count_nonzero(region, axis=axes).argmax()) for axes in rest]
        size, unit = _measure(int(np.count_nonzero(region)), grid)
        what = "Largest error" if wrong.any() else "No error; largest target"
        said = f"{what}: {figures(size)} {unit} in one piece"
    return point, f"{said}; planes meet in voxel (d, h, w) = ({', '.join(map(str, point))}){_world(point, grid)}"


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """The largest connected region of a mask; None where it is empty."""
    if not mask.any():
        return None
    largest: NDArray[np.bool_] = cc3d.largest_k(mask, k=1, connectivity=26) > 0  # as where objects are counted
    return largest


def _world(point: Sequence[int], grid: Grid) -> str:
    """Where a voxel lies from the scanner's origin, as the patient sees it.

    >>> affine = (0.0, 0.0, -1.0, 90.0, 0.0, -1.0, 0.0, 120.0, 1.0, 0.0, 0.0, -70.0)
    >>> _world((80, 100, 30), Grid(affine=affine))
    ', 60.0 mm right, 20.0 mm front, 10.0 mm up of the origin'
    """
    if grid.affine is None:
        return ""
    xyz = np.reshape(grid.affine, (3, 4)) @ [*point, 1]
    ways = (("right", "left"), ("front", "back"), ("up", "down"))
    said = (f", {abs(v):.1f} mm {way[v < 0]}" for v, way in zip(xyz.tolist(), ways, strict=True))
    return "".join(said) + " of the origin"


def _measure(voxels: int, grid: Grid) -> tuple[float, str]:
    """A number of voxels as a volume and its unit: ml of a grid in mm, the cube of other units, voxels without one.

    >>> _measure(500, Grid(spacing=(2.0, 1.0, 1.0), unit="mm")), _measure(500, Grid())
    ((1.0, 'ml'), (500.0, 'voxels'))
    """
    spacing, unit = (grid.spacing, grid.unit) if grid.unit else (None, None)
    return voxels * volume_of_pixel(spacing, unit), volume_unit(unit if spacing else None, 3)


def volume_rows(case: CaseScores, grid: Grid) -> list[VolumeRow]:
    """The volume of each target of a scored volume, in the truth and in the prediction."""
    rows = []
    for target, voxels in case.truth_pixels.items():
        (truth, unit), (found, _) = _measure(voxels, grid), _measure(case.predicted_pixels[target], grid)
        rows.append(VolumeRow(case=case.name, target=target, unit=unit, truth=truth, prediction=found))
    return rows


class Agreement(NamedTuple):
    """Two measurements of the same things against each other (Bland and Altman 1986).

    Attributes:
        bias: Mean of the differences.
        low, high: Limits of agreement, bias - and + 1.96 standard deviations of the differences; None with fewer
            than `ENOUGH` pairs.
        error: Half width of the 95 % interval of each limit, 1.96 sqrt(3 / n) standard deviations; None likewise.
    """

    bias: float
    low: float | None
    high: float | None
    error: float | None


def agree(truth: ArrayLike, found: ArrayLike) -> Agreement:
    """How far found values, ``(n,)``, agree with true ones.

    >>> agree([1.0, 2.0], [1.5, 2.5])
    Agreement(bias=0.5, low=None, high=None, error=None)
    """
    difference = np.asarray(np.subtract(found, truth), np.float64)
    bias = float(difference.mean())
    if len(difference) < ENOUGH:
        return Agreement(bias, None, None, None)
    spread = 1.96 * float(difference.std(ddof=1))
    return Agreement(bias, bias - spread, bias + spread, spread * float(np.sqrt(3 / len(difference))))


def compared(doc: Document) -> dict[str, Any]:
    """Volumes of each target against the true ones: a table and Bland-Altman plots."""
    together: dict[tuple[str, str], list[VolumeEntry]] = {}
    for entry in doc.volumes:
        together.setdefault((entry.target, entry.unit), []).append(entry)
    rows, charts = [], []
    for index, ((target, unit), entries) in enumerate(together.items()):
        truth = [entry.truth for entry in entries]
        found = [entry.prediction for entry in entries]
        how = agree(truth, found)
        rows.append(
            {
                "name": target,
                "unit": unit,
                "n": len(entries),
                "truth": float(np.mean(truth)),
                "prediction": float(np.mean(found)),
                "error": float(np.abs(np.subtract(found, truth)).mean()),
                "agreement": how,
            }
        )
        limits = "no limits of agreement"
        if how.low is not None:
            limits = f"95 % limits of agreement {figures(how.low)} to {figures(how.high)}"
        alt = f"Difference against mean volume of {target} in {count(len(entries), 'case')}: bias {figures(how.bias)} "
        alt += f"{unit}, {limits}"
        name = f"volume{index}"
        charts.append(bland_altman(truth, found, limits=how[:3], name=name, alt=alt, label=target, unit=unit))
    few = any(len(entries) < ENOUGH for entries in together.values())
    return {"volumes": rows, "volume_charts": charts, "few": few, "enough": ENOUGH}


def case_columns(doc: Document) -> dict[str, Callable[[CaseScores, str], str]]:
    """What the table of cases tells of each target, by its heading: Dice; of volumes outlines and volumes too."""

    def score(metric: str) -> Callable[[CaseScores, str], str]:
        say = figures if METRICS[metric].high is None else number
        return lambda case, target: say(case.classes[target].get(metric))

    metrics = ("dice", *(OUTLINES if doc.volumes else ()))
    there = {metric for row in doc.classes.values() for metric in row}
    columns = {metric_label(metric): score(metric) for metric in metrics if metric in there}
    if doc.volumes:
        known = {(entry.case, entry.target): entry.prediction - entry.truth for entry in doc.volumes}
        units = sorted({entry.unit for entry in doc.volumes})
        heading = f"volume difference, {' or '.join(units)}"
        columns[heading] = lambda case, target: figures(known.get((case.name, target)))
    return columns
