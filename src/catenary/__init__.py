"""U-Net segmentation that people can trust: a folder of images and masks in, a model and what it measures out.

>>> import catenary
>>> sorted(catenary.__all__)[:3]
['CatenaryError', 'Image', 'LabelSet']

The names below load what they need on first use, so that ``import catenary`` itself stays immediate.
The functions live in `catenary.workflow`; ``catenary.plan`` and ``catenary.predict`` are the modules of those names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from catenary.data.labels import LabelSet
    from catenary.data.layouts import open_dataset
    from catenary.errors import CatenaryError
    from catenary.recipe import Recipe
    from catenary.types import Image
    from catenary.workflow import compare, demo, evaluate, fit, inspect, load, tune

    __version__: str

__all__ = [
    "CatenaryError",
    "Image",
    "LabelSet",
    "Recipe",
    "__version__",
    "compare",
    "demo",
    "evaluate",
    "fit",
    "inspect",
    "load",
    "open_dataset",
    "tune",
]

#: Public name -> module that holds it.
_HOME = {
    "CatenaryError": "catenary.errors",
    "Image": "catenary.types",
    "LabelSet": "catenary.data.labels",
    "Recipe": "catenary.recipe",
    "compare": "catenary.workflow",
    "demo": "catenary.workflow",
    "evaluate": "catenary.workflow",
    "fit": "catenary.workflow",
    "inspect": "catenary.workflow",
    "load": "catenary.workflow",
    "open_dataset": "catenary.data.layouts",
    "tune": "catenary.workflow",
}


def __getattr__(name: str) -> object:
    """Load a public name on first use (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version

        value: object = version("catenary")
    elif name in _HOME:
        from importlib import import_module

        value = getattr(import_module(_HOME[name]), name)
    else:
        raise AttributeError(f"module 'catenary' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, also before they were loaded."""
    return sorted({*globals(), *__all__})
