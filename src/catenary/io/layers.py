"""Layers of polygons in vector files of any format: GeoPackage, FlatGeobuf, GeoJSON, Shapefile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from catenary.errors import InputError, near_match
from catenary.io.outlines import geo_extra

__all__ = ["Layer", "open_layer", "reading"]

#: Parts of the names of geometries that may be areas.
_POLYGONAL = ("Polygon", "Surface", "Collection", "Unknown")


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer of polygons in a vector file.

    Attributes:
        path: The file.
        name: The layer.
        crs: Coordinate reference system, as an authority code or WKT.
        count: Number of features.
        bounds: Least x, least y, largest x, largest y in `crs`.
        columns: Names of the attributes.
        kind: Type of the geometries, as the file declares it.
        indexed: Whether the file has a spatial index.
    """

    path: Path
    name: str
    crs: str
    count: int
    bounds: tuple[float, float, float, float]
    columns: tuple[str, ...]
    kind: str
    indexed: bool


def open_layer(path: str | Path, *, layer: str | None = None, crs: str | None = None) -> Layer:
    """Look at a layer of polygons in any vector file.

    Args:
        path: GeoPackage, FlatGeobuf, GeoJSON, Shapefile and what else GDAL reads.
        layer: Its name, where the file has several.
        crs: Its coordinate reference system where the file states none, for example ``"EPSG:32637"``.

    Raises:
        InputError: It cannot be read, has several layers of polygons, no features, no CRS or another than `crs`, or
            columns that differ in case only.
        MissingExtra: pyogrio, shapely or pyproj is not installed.
    """
    with geo_extra():
        import pyogrio
        import pyproj  # noqa: F401
        import shapely  # noqa: F401
    path = Path(path)
    if not path.is_file():
        problem = f"{path} is a folder" if path.is_dir() else f"there is no file {path}"
        raise InputError(f"{problem}; give a file of polygons, such as a GeoPackage")
    with reading(path):
        layers = [(str(name), str(kind)) for name, kind in pyogrio.list_layers(path)]
    chosen = _layer(path, layers, layer)
    with reading(path):
        info = pyogrio.read_info(path, layer=chosen, force_feature_count=True, force_total_bounds=True)
    if not info["features"] or info["total_bounds"] is None:
        raise InputError(f"{path} holds no polygons (0 features in the layer '{chosen}'); export it again")
    columns = tuple(str(name) for name in info["fields"])
    doubles = [name for name in columns if [other.lower() for other in columns].count(name.lower()) > 1]
    if doubles:
        raise InputError(f"{path} has columns that differ in case only ({', '.join(doubles)}); rename one of them")
    left, bottom, right, top = info["total_bounds"]
    return Layer(
        path=path,
        name=chosen,
        crs=_crs_of(path, info["crs"], crs),
        count=int(info["features"]),
        bounds=(float(left), float(bottom), float(right), float(top)),
        columns=columns,
        kind=str(info["geometry_type"]),
        indexed=bool(info["capabilities"]["fast_spatial_filter"]),
    )


def _layer(path: Path, layers: Sequence[tuple[str, str]], wanted: str | None) -> str:
    if wanted is not None and wanted not in dict(layers):
        raise InputError(f"{path} has no layer '{wanted}'; {near_match(wanted, dict(layers))}")
    chosen = [(name, kind) for name, kind in layers if wanted in (None, name)]
    areas = [name for name, kind in chosen if any(part in kind for part in _POLYGONAL)]
    if not areas:
        found = ", ".join(f"{kind}s in '{name}'" for name, kind in chosen) or "no layer"
        raise InputError(f"{path} holds no polygons ({found}); give a layer of polygons")
    if len(areas) > 1:
        raise InputError(f"{path} has {len(areas)} layers of polygons ({', '.join(areas)}); name one of them (`layer`)")
    return areas[0]


def _crs_of(path: Path, stated: str | None, given: str | None) -> str:
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        wanted = None if given is None else CRS.from_user_input(given)
    except CRSError as error:
        raise InputError(f"'{given}' is no coordinate reference system; give one such as EPSG:4326") from error
    found = None if stated is None else CRS.from_user_input(stated)
    if found is not None and wanted is not None and not found.equals(wanted, ignore_axis_order=True):
        raise InputError(f"{path} states {stated}, found {given} given; leave it out, or correct the file")
    crs = found or wanted
    if crs is None:
        raise InputError(f"{path} states no coordinate reference system; name it, as in EPSG:4326")
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else crs.to_wkt()


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what the libraries throw while they read a file into an `InputError` that names it."""
    from pyogrio.errors import DataLayerError, DataSourceError
    from shapely.errors import ShapelyError

    try:
        yield
    except (DataSourceError, DataLayerError, ShapelyError, RuntimeError, OSError, UnicodeDecodeError) as error:
        reason = str(error).strip().splitlines()[0].partition("; It might help")[0].rstrip(".")
        raise InputError(f"{path} cannot be read ({reason}); copy it again from its source") from error
