"""Vector files for tests."""

import numpy as np
import pyogrio
import pyproj
import shapely

from rasters import ORIGIN, UTM


def square(column, row, width, height=None):
    return shapely.box(column, row, column + width, row + (height or width))


def brought_to(crs, polygons):
    """Polygons of the rasters' CRS in another."""
    to = pyproj.Transformer.from_crs(UTM, crs, always_xy=True)
    return shapely.transform(np.array(polygons, object), lambda xy: np.stack(to.transform(*xy.T), 1))


def degrees(polygons):
    """The same in longitudes and latitudes."""
    return brought_to("EPSG:4326", polygons)


def on_ground(polygons, pixel=0.5):
    """Polygons in pixels of a raster that `rasters.write` writes, on its ground."""
    return shapely.transform(np.array(polygons, object), lambda xy: xy * (pixel, -pixel) + ORIGIN)


def write_polygons(path, polygons, grades=None, *, crs=UTM, column="subtype", kind="Unknown", layer=None, append=False):
    """A vector file of the format that its ending says."""
    fields = [] if grades is None else [column]
    pyogrio.raw.write(
        path,
        shapely.to_wkb(np.array(polygons, object)),
        [np.array(grades, None if isinstance(grades[0], int) else object)] if fields else [],
        fields,
        geometry_type=kind,
        crs=crs,
        layer=layer,
        append=append,
    )
    return path
