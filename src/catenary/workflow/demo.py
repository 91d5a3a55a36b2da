"""`demo`: the whole path on made-up images."""

from __future__ import annotations

import json
from pathlib import Path

from catenary.errors import OutputError
from catenary.io import write_image, write_mask
from catenary.io.files import write_text
from catenary.phantoms import CLASSES, phantoms
from catenary.types import Progress, silent
from catenary.workflow.fit import fit
from catenary.workflow.run import Run
from catenary.workflow.use import predict

__all__ = ["demo", "write_phantom"]


def write_phantom(folder: Path, scene: str, *, count: int, size: tuple[int, int], seed: int) -> Path:
    """Write `count` made-up images and their exact masks as ``images/`` and ``masks/``.

    Args:
        folder: Made when needed.
        scene: A key of `catenary.phantoms.SCENES`.
        count: Number of images.
        size: ``(h, w)`` in pixels.
        seed: The same seed gives the same bytes.
    """
    for name, image, label in phantoms(scene, count=count, size=size, seed=seed):
        write_image(folder / "images" / f"{name}.png", image)
        write_mask(folder / "masks" / f"{name}.png", label)
    return folder


def demo(
    out: str | Path = "runs/demo",
    *,
    scene: str = "microstructure",
    count: int = 48,
    size: tuple[int, int] = (192, 192),
    minutes: float = 2.0,
    progress: Progress = silent,
) -> Run:
    """Draw a phantom data set, fit, evaluate, and segment images that were never seen; everything lands in `out`.

    Raises:
        OutputError: The folder is in use or cannot be written.
    """
    folder = Path(out)
    if (folder / "run").exists():
        raise OutputError(f"{folder} already holds a demo; remove it or choose another --out")
    data = write_phantom(folder / "data", scene, count=count, size=size, seed=0)
    described = {"name": f"phantom {scene}", "licence": "made up, free to use", "classes": list(CLASSES[scene])}
    write_text(data / "dataset.toml", "".join(f"{key} = {json.dumps(value)}\n" for key, value in described.items()))
    run = fit(data, out=folder / "run", minutes=minutes, settings=["train.seed=0"], progress=progress)
    fresh = write_phantom(folder / "new", scene, count=4, size=(384, 512), seed=1)
    predict(run.path, [fresh / "images"], out=folder / "predictions", overlay=True, progress=progress)
    return run
