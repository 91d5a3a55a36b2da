"""What is noticed about a data set."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["Finding"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something found in a data set, with what to do about it.

    Attributes:
        level: ``"error"`` stops training, ``"warning"`` is printed and reported, ``"note"`` is good to know.
        code: Short fixed name of the kind of finding.
        message: What was found, with the values found.
        remedy: What to do about it.
        cases: Names of the cases concerned.
    """

    level: Literal["error", "warning", "note"]
    code: str
    message: str
    remedy: str
    cases: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self) | {"cases": list(self.cases)}
