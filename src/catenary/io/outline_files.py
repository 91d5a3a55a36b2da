"""Vector files of outlines, written in batches, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catenary.errors import OutputError
from catenary.io.files import atomic
from catenary.io.layers import Layer
from catenary.io.outlines import Outlines, geo_extra

__all__ = ["FORMATS", "LAYER", "OutlineFile", "outline_file"]

#: Vector formats that are written, by their endings.
FORMATS = {".gpkg": "GPKG", ".fgb": "FlatGeobuf", ".geojson": "GeoJSON"}
#: Name of the layer in a file that is written.
LAYER = "buildings"
#: Names inside the unfinished file that no column of a user has.
_ID, _OUTLINE = "catenary_id", "catenary_outline"
#: Rows that are written at a time.
_BATCH = 1 << 14


class OutlineFile:
    """A vector file that is being written; made by `outline_file`."""

    def __init__(self, stage: Path, crs: str, own: Layer | None) -> None:
        self._stage = stage
        self._crs = crs
        self._own = own
        self._names: list[str] = []
        self._waiting: list[dict[str, Any]] = []
        self._rows = 0
        if own:
            self._copy(own.path, own.name, stage, "own", "Unknown", FID=_ID, GEOMETRY_NAME=_OUTLINE, SPATIAL_INDEX="NO")

    def own(self, start: int, count: int) -> tuple[NDArray[np.int64], Outlines]:
        """Some of the layer's own features in the order of the file: their ids and their outlines.

        What cannot be read as a geometry is None.
        """
        import shapely
        from pyogrio import raw

        part = {"skip_features": start, "max_features": count}
        _, ids, outlines, _ = raw.read(self._stage, layer="own", columns=[], return_fids=True, **part)
        return ids.astype(np.int64), shapely.from_wkb(outlines, on_invalid="ignore")

    def append(
        self,
        columns: Mapping[str, NDArray[Any]],
        *,
        outlines: Outlines | None = None,
        ids: NDArray[np.int64] | None = None,
    ) -> None:
        """Add rows, maybe none.

        Args:
            columns: Values by name: numbers (masked or NaN where there is none) or texts (None where there is none).
                The same names each time.
            outlines: New polygons in the file's CRS; or
            ids: which of its own features the rows belong to.
        """
        self._names = list(columns)
        self._waiting.append({_ID if outlines is None else _OUTLINE: ids if outlines is None else outlines, **columns})
        self._rows += len(next(iter(columns.values())))
        if self._rows >= _BATCH:
            self._flush()

    def _flush(self) -> None:
        """Write the rows that wait; each time takes the library a tenth of a second."""
        import shapely
        from pyogrio import raw

        parts = {name: [part[name] for part in self._waiting] for name in self._waiting[0]}
        table = {name: np.concatenate([np.ma.getdata(part) for part in column]) for name, column in parts.items()}
        masks = {name: np.concatenate([np.ma.getmaskarray(part) for part in column]) for name, column in parts.items()}
        outlines = table.pop(_OUTLINE, None)
        raw.write(
            self._stage,
            None if outlines is None else shapely.to_wkb(outlines),
            list(table.values()),
            list(table),
            field_mask=[masks[name] if masks[name].any() else None for name in table],
            layer="found",
            driver="GPKG",
            geometry_type=None if outlines is None else "MultiPolygon",
            crs=None if outlines is None else self._crs,
            append=self._stage.exists(),
            layer_options={} if outlines is None else {"SPATIAL_INDEX": "NO"},
        )
        self._waiting, self._rows = [], 0

    def _finish(self, path: Path, driver: str) -> None:
        """Write the file from all that was appended."""
        if self._waiting:
            self._flush()
        kind, query = "MultiPolygon", None
        if self._own:
            kind = kind if self._own.kind == kind else "Unknown"  # files that say Polygon may hold both
            names = {_quoted(old): _quoted(new) for old, new in self._renamed(self._own.columns).items()}
            mine = [f"o.{_quoted(_OUTLINE)}", *(f"o.{old} AS {new}" for old, new in names.items())]
            found = [f"f.{_quoted(name)}" for name in self._names]
            query = f'SELECT {", ".join(mine + found)} FROM own o JOIN found f USING ("{_ID}") ORDER BY o."{_ID}"'
        options = {"RFC7946": "YES"} if driver == "GeoJSON" else {}
        self._copy(self._stage, None if query else "found", path, LAYER, kind, query, driver=driver, **options)

    def _copy(
        self, source: Path, layer: str | None, target: Path, name: str, kind: str, query: str | None = None, **more: str
    ) -> None:
        """Copy features in a stream, all types of columns kept."""
        from pyogrio import raw

        driver = more.pop("driver", "GPKG")
        utc = {"DATETIME_FORMAT": "UTC"} if driver == "GPKG" else {}
        with raw.open_arrow(source, layer=layer, sql=query, use_pyarrow=False) as (meta, stream):
            raw.write_arrow(
                stream,
                target,
                layer=name,
                driver=driver,
                geometry_name=meta["geometry_name"] or "wkb_geometry",
                geometry_type=kind,
                crs=self._crs,
                dataset_options=utc,
                layer_options=more,
            )

    def _renamed(self, columns: tuple[str, ...]) -> dict[str, str]:
        """Names of the layer's own columns, changed where the results or the format need them."""
        taken = {name.lower() for name in (*self._names, "fid", "geom", _OUTLINE)}
        names = {}
        for column in columns:
            new = column
            while new.lower() in taken or (new != column and new in columns):
                new = f"own_{new}"
            names[column] = new
            taken.add(new.lower())
        return names


@contextmanager
def outline_file(path: str | Path, *, crs: str, own: Layer | None = None) -> Iterator[OutlineFile]:
    """Begin a vector file with one layer, `LAYER`; it stands under `path` when the block ends well, and vanishes else.

    Rows go to a GeoPackage beside it first, since the other formats cannot be appended to; so memory does not grow.

    Args:
        path: ``.gpkg``, ``.fgb`` or ``.geojson``; the last is always in EPSG:4326 (RFC 7946).
        crs: Coordinate reference system of the outlines as authority code or WKT.
        own: A layer whose features the file keeps, with their outlines and columns, and to which columns are added.
            A column of its that has the name of a new one, or one that the format needs, gets ``own_`` before it;
            times become UTC, and FlatGeobuf drops heights. Only features that rows were appended for are kept.

    Raises:
        OutputError: The ending is not known, or the file cannot be written.
        MissingExtra: pyogrio or shapely is not installed.

    >>> import shapely, tempfile, pyogrio
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with outline_file(Path(folder) / "a.fgb", crs="EPSG:32637") as file:
    ...         file.append({"grade": np.array([4])}, outlines=np.array([shapely.box(0, 0, 1, 2)]))
    ...     info = pyogrio.read_info(Path(folder) / "a.fgb")
    >>> info["layer_name"], info["features"], [str(name) for name in info["fields"]]
    ('buildings', 1, ['grade'])
    """
    with geo_extra():
        import shapely  # noqa: F401
        from pyogrio.errors import DataLayerError, DataSourceError
    target = Path(path)
    driver = FORMATS.get(target.suffix.lower())
    if driver is None:
        raise OutputError(f"cannot write '{target.suffix}' files such as {target.name}; use {', '.join(FORMATS)}")
    try:
        with atomic(target) as final, TemporaryDirectory(dir=final.parent, prefix=".writing-") as folder:
            file = OutlineFile(Path(folder) / "stage.gpkg", crs, own)
            yield file
            file._finish(final, driver)
    except (DataSourceError, DataLayerError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise OutputError(f"cannot write {target}: {reason}; check the folder's rights and the free space") from error


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
