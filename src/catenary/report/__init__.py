"""Tables, charts and the self-contained HTML report."""

from catenary.report.data import CurvePair, GalleryCase, Measurement, QuantityRow, ReportData
from catenary.report.html import write_report
from catenary.report.pictures import discrepancy, overlay, to_rgb8
from catenary.report.views import pick_cases

__all__ = [
    "CurvePair",
    "GalleryCase",
    "Measurement",
    "QuantityRow",
    "ReportData",
    "discrepancy",
    "overlay",
    "pick_cases",
    "to_rgb8",
    "write_report",
]
