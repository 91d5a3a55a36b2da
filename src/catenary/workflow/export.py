"""`export`: a model in another format."""

from __future__ import annotations

from pathlib import Path

from catenary.errors import ConfigError, OutputError, near_match

__all__ = ["FORMATS", "export"]

#: Formats, name -> ending.
FORMATS = {"hdf5": ".h5"}


def export(run: str | Path, *, to: str = "hdf5", out: str | Path | None = None) -> Path:
    """Write the model of a run in another format, with all that is needed to use it.

    Args:
        run: Folder of a run, or a model file.
        to: ``"hdf5"``: every array under ``weights``, the card as JSON; `load` reads it back.
        out: The file; beside the model when None.

    Returns:
        The file.

    Raises:
        ModelError: There is no model, or it is damaged.
        ConfigError: There is no such format.
        OutputError: The file is there already, or cannot be written.
        MissingExtra: The format's package is not installed.
    """
    from catenary.predict.card import load_card, load_weights, model_path
    from catenary.predict.hdf5 import write_hdf5

    if to not in FORMATS:
        raise ConfigError(f"there is no format '{to}'; {near_match(to, FORMATS)}")
    source = model_path(run)
    target = Path(out) if out is not None else source.with_suffix(FORMATS[to])
    if target.suffix.lower() not in (".h5", ".hdf5"):
        raise ConfigError(f"an HDF5 file ends in .h5 or .hdf5, found '{target.name}'; choose another --out")
    if target.exists():
        raise OutputError(f"{target} is there already; remove it, or choose another --out")
    write_hdf5(target, load_weights(source), load_card(source).model_dump_json())
    return target
