"""Visual fields followed over time: reading tables of them, and telling whether an eye gets worse."""

from catenary.fields.grids import GRIDS, FieldGrid
from catenary.fields.series import Series
from catenary.fields.tables import FieldTable, read_fields
from catenary.fields.trend import Criteria, Lines, Poplr, Trend, assess, gardiner_crabb, poplr, regress

__all__ = [
    "GRIDS",
    "Criteria",
    "FieldGrid",
    "FieldTable",
    "Lines",
    "Poplr",
    "Series",
    "Trend",
    "assess",
    "gardiner_crabb",
    "poplr",
    "read_fields",
    "regress",
]
