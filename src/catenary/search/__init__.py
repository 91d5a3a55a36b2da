"""Searching for a better recipe: what may change, what was tried, and what it says."""

from catenary.search.space import (
    Choices,
    Range,
    Space,
    default_space,
    describe,
    grid,
    pinned,
    read_space,
    space_from_data,
    space_to_data,
)
from catenary.search.trials import Trial, best_of, write_trials

__all__ = [
    "Choices",
    "Range",
    "Space",
    "Trial",
    "best_of",
    "default_space",
    "describe",
    "grid",
    "pinned",
    "read_space",
    "space_from_data",
    "space_to_data",
    "write_trials",
]
