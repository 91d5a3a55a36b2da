"""Made-up brain scans as files, in the layouts that such scans are published in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from catenary.errors import ConfigError, OutputError, writing
from catenary.io.files import write_json
from catenary.io.nifti import write_nifti
from catenary.phantoms.brain import PARTS, brain
from catenary.types import Grid, Progress, silent

__all__ = ["write_brains"]

#: What BraTS calls the sequences in the names of its files; others have their own name.
BRATS = {"t1c": "t1ce"}


def write_brains(
    folder: str | Path,
    *,
    cases: int = 8,
    size: tuple[int, int, int] = (64, 96, 80),
    seed: int = 0,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    sequences: Sequence[str] = ("flair", "t1c"),
    layout: str = "brats",
    progress: Progress = silent,
) -> list[Path]:
    """Write scans of `catenary.phantoms.brain.brain` as compressed NIfTI, rounded to int16.

    ``"brats"``: a folder a case, ``brain_000/brain_000_flair.nii.gz``, ``..._t1ce.nii.gz``, ``..._seg.nii.gz``.
    ``"nnunet"``: ``imagesTr/brain_000_0000.nii.gz``, ``..._0001.nii.gz``, ``labelsTr/brain_000.nii.gz`` and
    ``dataset.json``. The files lie as those of BraTS do (left, posterior, superior).

    Args:
        folder: Made when needed.
        cases: How many.
        size: Voxels ``(d, h, w)``.
        seed: Case number i depends on `seed` and i only, so a longer set begins with the shorter one.
        spacing: Size of a voxel ``(d, h, w)`` in mm.
        sequences: Keys of `catenary.phantoms.brain.SEQUENCES`.
        layout: Which of the two, ``"brats"`` or ``"nnunet"``.
        progress: Told of each case.

    Returns:
        The label map of each case.

    Raises:
        ConfigError: Fewer than one case is asked for, or the layout is not known.
        InputError: See `brain`.
        OutputError: The folder cannot be written, or holds such a set already.
        MissingExtra: nibabel is not installed.
    """
    folder = Path(folder)
    if cases < 1:
        raise ConfigError(f"a set of scans needs at least one case, found {cases}; ask for more")
    if layout not in ("brats", "nnunet"):
        raise ConfigError(f"there is no layout '{layout}' for scans; use brats or nnunet")
    names = [f"brain_{number:03d}" for number in range(cases)]
    made = names if layout == "brats" else ["imagesTr", "labelsTr", "dataset.json"]
    there = [name for name in made if (folder / name).exists()]
    if there:
        raise OutputError(f"{folder} already holds {there[0]}; choose another folder")
    grid = _grid(spacing)
    labels = []
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder, prefix=".writing-") as temporary:
            stage = Path(temporary)
            for number, name in enumerate(names):
                image, label = brain(size, seed=(seed, number), spacing=spacing, sequences=sequences)
                images, mask = _paths(layout, name, sequences)
                for path, channel in zip(images, image, strict=True):
                    write_nifti(stage / path, np.rint(channel).astype(np.int16), grid=grid)
                write_nifti(stage / mask, label, grid=grid)
                labels.append(folder / mask)
                progress("draw brains", number + 1, cases)
            if layout == "nnunet":
                write_json(stage / "dataset.json", _description(sequences, cases))
            for name in made:
                (stage / name).rename(folder / name)
    return labels


def _grid(spacing: tuple[float, float, float]) -> Grid:
    """Of an array in canonical orientation whose file runs to the left, the back and the head."""
    d, h, w = (float(s) for s in spacing)
    affine = (0.0, 0.0, -w, 0.0, 0.0, -h, 0.0, 0.0, d, 0.0, 0.0, 0.0)
    return Grid(spacing=(d, h, w), unit="mm", affine=affine, axes=(3, 2, 1))


def _paths(layout: str, name: str, sequences: Sequence[str]) -> tuple[list[Path], Path]:
    """Files of the sequences and of the label map, relative to the folder."""
    if layout == "brats":
        images = [Path(name) / f"{name}_{BRATS.get(sequence, sequence)}.nii.gz" for sequence in sequences]
        return images, Path(name) / f"{name}_seg.nii.gz"
    images = [Path("imagesTr") / f"{name}_{number:04d}.nii.gz" for number in range(len(sequences))]
    return images, Path("labelsTr") / f"{name}.nii.gz"


def _description(sequences: Sequence[str], cases: int) -> dict[str, object]:
    """``dataset.json`` of nnU-Net, version 2."""
    return {
        "channel_names": {str(number): name for number, name in enumerate(sequences)},
        "labels": {name: value for value, name in enumerate(PARTS)},
        "numTraining": cases,
        "file_ending": ".nii.gz",
    }
