"""Quantities that people publish, from masks: of microstructures, skin lesions and bodies in scans, with error bars.

`catenary.measures.registry` lists all of them with units and sources. Masks are read, nothing is predicted here.
"""

from catenary.measures.curves import Curve, average
from catenary.measures.quantity import QUANTITIES, Quantity
from catenary.measures.registry import CURVES, MEASURES, curves_of, measure_all
from catenary.measures.uncertainty import Estimate, with_error, with_errors

__all__ = [
    "CURVES",
    "MEASURES",
    "QUANTITIES",
    "Curve",
    "Estimate",
    "Quantity",
    "average",
    "curves_of",
    "measure_all",
    "with_error",
    "with_errors",
]
