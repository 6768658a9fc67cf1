"""Native kernels of the GELU and SwiGLU family: the C++ core, its torch operators, and blocks that use them.

`status` and `Status` need no torch; the rest is imported when it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from ._library import Status as Status
from ._library import status as status

if TYPE_CHECKING:
    from ._functions import FUNCTIONS as FUNCTIONS
    from ._functions import geglu as geglu
    from ._functions import geglu_tanh as geglu_tanh
    from ._functions import gelu as gelu
    from ._functions import gelu_tanh as gelu_tanh
    from ._functions import names as names
    from ._functions import path as path
    from ._functions import quick_gelu as quick_gelu
    from ._functions import silu as silu
    from ._functions import swiglu as swiglu
    from ._functions import swiglu_clamped as swiglu_clamped

_HOMES = {
    "_functions": (
        "FUNCTIONS",
        "geglu",
        "geglu_tanh",
        "gelu",
        "gelu_tanh",
        "names",
        "path",
        "quick_gelu",
        "silu",
        "swiglu",
        "swiglu_clamped",
    ),
}


def __getattr__(name: str) -> object:
    for module, names_of_module in _HOMES.items():
        if name in names_of_module:
            value: object = getattr(import_module(f"{__name__}.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *(name for names_of_module in _HOMES.values() for name in names_of_module)})
