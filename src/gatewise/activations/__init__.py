"""One spec per activation and gate: float64 reference, derivative, error budget, parameter cost, implementations.

The table and its references need no torch; what does is imported when it is asked for.
"""

from typing import TYPE_CHECKING

from gatewise.core import lazy

from ._matching import Matching as Matching
from ._matching import matched_hidden as matched_hidden
from ._spec import Bound as Bound
from ._spec import Budget as Budget
from ._spec import Deviation as Deviation
from ._spec import Paper as Paper
from ._spec import Spec as Spec
from ._table import get as get
from ._table import names as names
from ._table import specs as specs

if TYPE_CHECKING:
    from ._error import Observed as Observed
    from ._error import ObservedError as ObservedError
    from ._error import measure_error as measure_error
    from ._error import samples as samples
    from ._feedforward import FeedForward as FeedForward
    from ._functions import bilinear as bilinear
    from ._functions import elu as elu
    from ._functions import geglu as geglu
    from ._functions import geglu_tanh as geglu_tanh
    from ._functions import gelu as gelu
    from ._functions import gelu_tanh as gelu_tanh
    from ._functions import glu as glu
    from ._functions import hardswish as hardswish
    from ._functions import identity as identity
    from ._functions import leaky_relu as leaky_relu
    from ._functions import mish as mish
    from ._functions import quick_gelu as quick_gelu
    from ._functions import reglu as reglu
    from ._functions import relu as relu
    from ._functions import relu2 as relu2
    from ._functions import selu as selu
    from ._functions import sigmoid as sigmoid
    from ._functions import silu as silu
    from ._functions import softplus as softplus
    from ._functions import swiglu as swiglu
    from ._functions import swiglu_clamped as swiglu_clamped
    from ._functions import tanh as tanh
    from ._identify import Identity as Identity
    from ._identify import identify as identify
    from ._modules import Activation as Activation
    from ._modules import GatedUnit as GatedUnit

_HOMES = {
    "_error": (
        "Observed",
        "ObservedError",
        "measure_error",
        "samples",
    ),
    "_feedforward": ("FeedForward",),
    "_functions": (
        "bilinear",
        "elu",
        "geglu",
        "geglu_tanh",
        "gelu",
        "gelu_tanh",
        "glu",
        "hardswish",
        "identity",
        "leaky_relu",
        "mish",
        "quick_gelu",
        "reglu",
        "relu",
        "relu2",
        "selu",
        "sigmoid",
        "silu",
        "softplus",
        "swiglu",
        "swiglu_clamped",
        "tanh",
    ),
    "_identify": (
        "Identity",
        "identify",
    ),
    "_modules": (
        "Activation",
        "GatedUnit",
    ),
}

__getattr__, __dir__ = lazy(__name__, _HOMES, globals())
