"""Every activation and gate of the table as a function, under the name it has there.

Those that have native kernels run them where they are the best way (`gatewise.kernels.path` tells), the others and all
else stock torch code. A bad input raises `GatewiseError` in one line.
"""

from .activations import bilinear as bilinear
from .activations import elu as elu
from .activations import glu as glu
from .activations import hardswish as hardswish
from .activations import identity as identity
from .activations import leaky_relu as leaky_relu
from .activations import mish as mish
from .activations import reglu as reglu
from .activations import relu as relu
from .activations import relu2 as relu2
from .activations import selu as selu
from .activations import sigmoid as sigmoid
from .activations import softplus as softplus
from .activations import tanh as tanh
from .kernels import geglu as geglu
from .kernels import geglu_tanh as geglu_tanh
from .kernels import gelu as gelu
from .kernels import gelu_tanh as gelu_tanh
from .kernels import quick_gelu as quick_gelu
from .kernels import silu as silu
from .kernels import swiglu as swiglu
from .kernels import swiglu_clamped as swiglu_clamped
