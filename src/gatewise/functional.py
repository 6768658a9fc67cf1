"""Every activation and gate of the table as a function, under the name it has there.

Stock torch code behind checks: a bad input raises `GatewiseError` in one line.
"""

from .activations import bilinear as bilinear
from .activations import elu as elu
from .activations import geglu as geglu
from .activations import geglu_tanh as geglu_tanh
from .activations import gelu as gelu
from .activations import gelu_tanh as gelu_tanh
from .activations import glu as glu
from .activations import hardswish as hardswish
from .activations import identity as identity
from .activations import leaky_relu as leaky_relu
from .activations import mish as mish
from .activations import quick_gelu as quick_gelu
from .activations import reglu as reglu
from .activations import relu as relu
from .activations import relu2 as relu2
from .activations import selu as selu
from .activations import sigmoid as sigmoid
from .activations import silu as silu
from .activations import softplus as softplus
from .activations import swiglu as swiglu
from .activations import swiglu_clamped as swiglu_clamped
from .activations import tanh as tanh
