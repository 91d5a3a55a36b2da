"""Rows of a raster that lie in several files, seen as one: GDAL's virtual format (VRT)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as xml

from catenary.io.files import write_text
from catenary.types import Grid

__all__ = ["Piece", "write_vrt"]


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Some rows of a raster, at its full width, as a file of uint8 bands with a mask.

    Attributes:
        path: The file, in the folder of the view.
        row: First row in the whole raster.
        height: Number of rows.
    """

    path: Path
    row: int
    height: int


def write_vrt(
    path: str | Path,
    *,
    pieces: Sequence[Piece],
    shape: tuple[int, int],
    grid: Grid,
    bands: Sequence[int] = (1,),
    colours: Mapping[int, tuple[int, int, int]] | None = None,
) -> Path:
    """Write a view over `pieces` in which rows that no piece has are without data.

    Args:
        path: The ``.vrt`` file.
        pieces: What is there.
        shape: Rows and columns of the whole.
        grid: Where its pixels lie.
        bands: Which bands of the pieces, from 1.
        colours: Colour of each value of the first band, for viewers.

    Raises:
        OutputError: The file cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     view = write_vrt(Path(folder) / "a.vrt", pieces=[], shape=(4, 5), grid=Grid())
    ...     view.read_text()[:46]
    '<VRTDataset rasterXSize="5" rasterYSize="4"><V'
    """
    root = xml.Element("VRTDataset", rasterXSize=str(shape[1]), rasterYSize=str(shape[0]))
    if grid.crs:
        xml.SubElement(root, "SRS").text = grid.crs
    if grid.affine:
        a, b, c, d, e, f = grid.affine
        xml.SubElement(root, "GeoTransform").text = ", ".join(f"{value:.17g}" for value in (c, a, b, f, d, e))
    for number, band in enumerate(bands, 1):
        made = xml.SubElement(root, "VRTRasterBand", dataType="Byte", band=str(number))
        if colours and number == 1:
            xml.SubElement(made, "ColorInterp").text = "Palette"
            table = xml.SubElement(made, "ColorTable")
            for value in range(max(colours) + 1):
                red, green, blue = colours.get(value, (0, 0, 0))
                xml.SubElement(table, "Entry", c1=str(red), c2=str(green), c3=str(blue), c4="255")
        _add_sources(made, pieces, shape[1], str(band))
    mask = xml.SubElement(xml.SubElement(root, "MaskBand"), "VRTRasterBand", dataType="Byte")
    _add_sources(mask, pieces, shape[1], "mask,1")
    return write_text(path, xml.tostring(root, encoding="unicode"))


def _add_sources(made: xml.Element, pieces: Sequence[Piece], width: int, band: str) -> None:
    for piece in pieces:
        source = xml.SubElement(made, "SimpleSource")
        xml.SubElement(source, "SourceFilename", relativeToVRT="1").text = piece.path.name
        xml.SubElement(source, "SourceBand").text = band
        size = {"xSize": str(width), "ySize": str(piece.height), "xOff": "0"}
        xml.SubElement(source, "SrcRect", size, yOff="0")
        xml.SubElement(source, "DstRect", size, yOff=str(piece.row))
