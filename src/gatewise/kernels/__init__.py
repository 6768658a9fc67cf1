"""Native kernels of the GELU and SwiGLU family: the C++ core, its torch operators, and blocks that use them.

`status` and `Status` need no torch; the rest is imported when it is asked for.
"""

from typing import TYPE_CHECKING

from gatewise.core import lazy

from ._library import Status as Status
from ._library import status as status

if TYPE_CHECKING:
    from ._choice_explain import Choice as Choice
    from ._choice_explain import choices as choices
    from ._choice_explain import explain as explain
    from ._choice_explain import forced as forced
    from ._choice_explain import forget as forget
    from ._feedforward import FeedForward as FeedForward
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
    from ._linear import Linear as Linear
    from ._modules import Activation as Activation
    from ._modules import GatedUnit as GatedUnit
    from ._packed import gate_packed as gate_packed
    from ._stock import stock as stock
    from ._use import Used as Used
    from ._use import in_use as in_use
    from ._use import use as use

_HOMES = {
    "_choice_explain": ("Choice", "choices", "explain", "forced", "forget"),
    "_feedforward": ("FeedForward",),
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
    "_linear": ("Linear",),
    "_modules": ("Activation", "GatedUnit"),
    "_packed": ("gate_packed",),
    "_stock": ("stock",),
    "_use": ("Used", "in_use", "use"),
}

__getattr__, __dir__ = lazy(__name__, _HOMES, globals())
