"""Co-registration of two images of one place: where a pixel of the one lies in the other, and how sure that is."""

from catenary.align.alignment import Aligned, Alignment, align_rasters, read_alignment

__all__ = ["Aligned", "Alignment", "align_rasters", "read_alignment"]
