"""gatewise: an honest judge for changes of activation, gate, runtime, precision and version.

The public names resolve lazily, so that `import gatewise` brings no torch and costs a few milliseconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import functional as functional
    from .activations import Spec as Spec
    from .activations import specs as specs
    from .core import Comparison as Comparison
    from .core import GatewiseError as GatewiseError
    from .core import SequentialComparison as SequentialComparison
    from .core import compare as compare
    from .kernels import FeedForward as FeedForward
    from .kernels import Linear as Linear
    from .study import Plan as Plan
    from .study import evaluate as evaluate
    from .surgery import SurgeryReport as SurgeryReport
    from .surgery import find_sites as find_sites
    from .surgery import load as load
    from .surgery import save as save
    from .surgery import swap as swap

__version__ = "0.1.0"

__all__ = [
    "Comparison",
    "FeedForward",
    "GatewiseError",
    "Linear",
    "Plan",
    "SequentialComparison",
    "Spec",
    "SurgeryReport",
    "__version__",
    "compare",
    "evaluate",
    "find_sites",
    "functional",
    "load",
    "save",
    "specs",
    "swap",
]

_HOMES = {
    "core": ("Comparison", "GatewiseError", "SequentialComparison", "compare"),
    "activations": ("Spec", "specs"),
    "kernels": ("FeedForward", "Linear"),
    "surgery": ("SurgeryReport", "find_sites", "load", "save", "swap"),
    "study": ("Plan", "evaluate"),
}


def __getattr__(name: str) -> object:
    if name == "functional":
        return import_module(f"{__name__}.functional")
    for package, names in _HOMES.items():
        if name in names:
            value: object = getattr(import_module(f"{__name__}.{package}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'gatewise' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
