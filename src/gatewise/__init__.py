"""gatewise: an honest judge for changes of activation, gate, runtime, precision and version.

The public names resolve lazily, so that `import gatewise` brings no torch and costs a few milliseconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_PUBLIC = {
    "Comparison": "core",
    "GatewiseError": "core",
    "SequentialComparison": "core",
    "compare": "core",
    "FeedForward": "activations",
    "Spec": "activations",
    "specs": "activations",
    "SurgeryReport": "surgery",
    "find_sites": "surgery",
    "load": "surgery",
    "save": "surgery",
    "swap": "surgery",
    "Plan": "study",
    "evaluate": "study",
    "functional": "",
}

__all__ = ["__version__", *sorted(_PUBLIC)]  # noqa: PLE0604  (names of a table, all strings)


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'gatewise' has no attribute {name!r}")
    package = _PUBLIC[name]
    value: object = getattr(import_module(f"{__name__}.{package}"), name) if package else import_module(f"{__name__}.{name}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
