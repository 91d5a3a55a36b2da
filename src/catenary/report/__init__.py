"""Tables, charts and the self-contained HTML report."""

from catenary.report.data import CurvePair, GalleryCase, Measurement, QuantityRow, ReportData, VolumeRow
from catenary.report.html import write_report
from catenary.report.pictures import discrepancy, overlay, to_rgb8
from catenary.report.views import pick_cases
from catenary.report.volumes import gallery_cases, volume_rows

__all__ = [
    "CurvePair",
    "GalleryCase",
    "Measurement",
    "QuantityRow",
    "ReportData",
    "VolumeRow",
    "discrepancy",
    "gallery_cases",
    "overlay",
    "pick_cases",
    "to_rgb8",
    "volume_rows",
    "write_report",
]
