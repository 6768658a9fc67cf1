"""The table as functions for users: the stock torch code behind checks that name what is wrong."""

from numbers import Real

from torch import Tensor, nn

from gatewise.core import GatewiseError, unknown_name

from . import _stock
from ._numeric import CLAMP_ALPHA, CLAMP_LIMIT


def _check(x: object, function: str, argument: str = "x") -> None:
    if not isinstance(x, Tensor):
        raise GatewiseError(f"{function}: {argument} must be a tensor, got {type(x).__name__}")
    if not x.is_floating_point():
        raise GatewiseError(f"{function}: {argument} must have a floating dtype, got {x.dtype}")


def _check_pair(gate: Tensor, up: Tensor, function: str) -> None:
    _check(gate, function, "gate")
    _check(up, function, "up")
    if gate.shape != up.shape:
        raise GatewiseError(f"{function}: gate and up must have one shape, got {list(gate.shape)} and {list(up.shape)}")
    if gate.dtype != up.dtype:
        raise GatewiseError(f"{function}: gate and up must have one dtype, got {gate.dtype} and {up.dtype}")
    if gate.device != up.device:
        raise GatewiseError(f"{function}: gate and up must be on one device, got {gate.device} and {up.device}")


def _check_number(value: object, function: str, argument: str) -> None:
    """Not a tensor either: no gradient by it would be recorded."""
    number = not isinstance(value, bool) and isinstance(value, (int, float, Real))
    if not number or value != value:
        raise GatewiseError(f"{function}: {argument} must be a number, got {value!r}")


def _check_approximate(approximate: str) -> None:
    if approximate not in ("none", "tanh"):
        raise unknown_name("approximate", approximate, ("none", "tanh"))


def relu(x: Tensor) -> Tensor:
    """max(x, 0), elementwise. Raises `GatewiseError` for a dtype that is not floating."""
    _check(x, "relu")
    return _stock.relu(x)


def leaky_relu(x: Tensor, negative_slope: float = 0.01) -> Tensor:
    """x where x > 0, else negative_slope * x.

    Raises `GatewiseError` for a dtype that is not floating and a slope that is no number.
    """
    _check(x, "leaky_relu")
    _check_number(negative_slope, "leaky_relu", "negative_slope")
    return nn.functional.leaky_relu(x, negative_slope)


def relu2(x: Tensor) -> Tensor:
    """max(x, 0)^2. Raises `GatewiseError` for a dtype that is not floating."""
    _check(x, "relu2")
    return _stock.relu2(x)


def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """x where x > 0, else alpha (e^x - 1).

    Raises `GatewiseError` for a dtype that is not floating and an alpha that is no number.
    """
    _check(x, "elu")
    _check_number(alpha, "elu", "alpha")
    return nn.functional.elu(x, alpha)


def selu(x: Tensor) -> Tensor:
    """The self-normalizing elu with the paper's two constants. Raises `GatewiseError` for a dtype not floating."""
    _check(x, "selu")
    return _stock.selu(x)


def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """x * Phi(x); with `approximate="tanh"` its tanh form.

    Raises `GatewiseError` for a dtype that is not floating and for another `approximate`.
    """
    _check(x, "gelu")
    _check_approximate(approximate)
    return nn.functional.gelu(x, approximate=approximate)


def gelu_tanh(x: Tensor) -> Tensor:
    """The tanh form of gelu. Raises `GatewiseError` for a dtype that is not floating."""
    _check(x, "gelu_tanh")
    return _stock.gelu_tanh(x)


def quick_gelu(x: Tensor) -> Tensor:
    """x * sigmoid(1.702 x). Raises `GatewiseError` for a dtype that is not floating."""
    _check(x, "quick_gelu")
    return _stock.quick_gelu(x)


def silu(x: Tensor) -> Tensor:
    """x * sigmoid(x). Raises `GatewiseError` for a dtype that is not floating."""
    _check(x, "silu")
    return _stock.silu(x)


def mish(x: Tensor) -> Tensor:
    """x * tanh(softplus(x)). Raises `GatewiseError` for a dtype that is not floating."""
    _check(x, "mish")
    return _stock.mish(x)


def hardswish(x: Tensor) -> Tensor:
    """x * clip(x + 3, 0, 6) / 6. Raises `GatewiseError` for a dtype that is not floating."""
    _check(x, "hardswish")
    return _stock.hardswish(x)


def softplus(x: Tensor) -> Tensor:
    """log(1 + e^x). Raises `GatewiseError` for a dtype that is not floating."""
    _check(x, "softplus")
    return _stock.softplus(x)


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + e^-x). Raises `GatewiseError` for a dtype that is not floating."""
    _check(x, "sigmoid")
    return _stock.sigmoid(x)


def tanh(x: Tensor) -> Tensor:
    """tanh x. Raises `GatewiseError` for a dtype that is not floating."""
    _check(x, "tanh")
    return _stock.tanh(x)


def identity(x: Tensor) -> Tensor:
    """x itself, the same tensor. Raises `GatewiseError` for a dtype that is not floating."""
    _check(x, "identity")
    return _stock.identity(x)


def glu(gate: Tensor, up: Tensor) -> Tensor:
    """sigmoid(gate) * up. Raises `GatewiseError` for shapes or dtypes that differ and for a dtype not floating."""
    _check_pair(gate, up, "glu")
    return _stock.glu(gate, up)


def bilinear(gate: Tensor, up: Tensor) -> Tensor:
    """gate * up. Raises `GatewiseError` for shapes or dtypes that differ and for a dtype not floating."""
    _check_pair(gate, up, "bilinear")
    return _stock.bilinear(gate, up)


def reglu(gate: Tensor, up: Tensor) -> Tensor:
    """relu(gate) * up. Raises `GatewiseError` for shapes or dtypes that differ and for a dtype not floating."""
    _check_pair(gate, up, "reglu")
    return _stock.reglu(gate, up)


def geglu(gate: Tensor, up: Tensor, approximate: str = "none") -> Tensor:
    """gelu(gate) * up; with `approximate="tanh"` by the tanh form.

    Raises `GatewiseError` for shapes or dtypes that differ, a dtype not floating, and another `approximate`.
    """
    _check_pair(gate, up, "geglu")
    _check_approximate(approximate)
    return nn.functional.gelu(gate, approximate=approximate) * up


def geglu_tanh(gate: Tensor, up: Tensor) -> Tensor:
    """gelu_tanh(gate) * up. Raises `GatewiseError` for shapes or dtypes that differ and for a dtype not floating."""
    _check_pair(gate, up, "geglu_tanh")
    return _stock.geglu_tanh(gate, up)


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up. Raises `GatewiseError` for shapes or dtypes that differ and for a dtype not floating."""
    _check_pair(gate, up, "swiglu")
    return _stock.swiglu(gate, up)


def swiglu_clamped(gate: Tensor, up: Tensor, limit: float = CLAMP_LIMIT, alpha: float = CLAMP_ALPHA) -> Tensor:
    """gpt-oss' swiglu: (clip(up, -limit, limit) + 1) * g * sigmoid(alpha g), g = min(gate, limit).

    Raises `GatewiseError` for shapes, dtypes or devices that differ, a dtype not floating, a limit that is no positive
    number, and an alpha that is no number.
    """
    _check_pair(gate, up, "swiglu_clamped")
    _check_number(limit, "swiglu_clamped", "limit")
    _check_number(alpha, "swiglu_clamped", "alpha")
    if not limit > 0:
        raise GatewiseError(f"swiglu_clamped: limit must be above 0, got {limit!r}")
    return _stock.swiglu_clamped(gate, up, limit, alpha)
