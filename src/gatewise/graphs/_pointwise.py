"""What pointwise operations compute, in float64: one table for all file formats. A new one is one line here.

The names and the meaning of the attributes are those of ONNX (its newest operator set), `com.microsoft.X` where it is
ONNX Runtime's own; a front end translates its format's attributes to them. A truth value is 0.0 or 1.0.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ._graph import Array, Evaluate

Attributes = Mapping[str, Any]
Factory = Callable[[Attributes], Evaluate]


def pointwise(op: str, attributes: Attributes) -> Evaluate | None:
    """What the operation computes with these attributes; None where its name is not in the table.

    Optional inputs that are left out are left out of the inputs too. For that, `attributes["present"]` holds the
    places that are there, such as (0, 2) for a Clip without a minimum.
    """
    factory = POINTWISE.get(op)
    return None if factory is None else _quiet(factory(attributes))


def _quiet(evaluate: Evaluate) -> Evaluate:
    def quiet(inputs: Sequence[Array]) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(evaluate([np.asarray(x, dtype=np.float64) for x in inputs]), dtype=np.float64)

    return quiet


def _unary(function: Callable[[Array], Any]) -> Factory:
    return lambda _: lambda xs: function(xs[0])


def _binary(function: Callable[[Array, Array], Any]) -> Factory:
    return lambda _: lambda xs: function(xs[0], xs[1])


def _many(function: Callable[[Array, Array], Any]) -> Factory:
    def evaluate(xs: Sequence[Array]) -> Array:
        total = xs[0]
        for x in xs[1:]:
            total = function(total, x)
        return total

    return lambda _: evaluate


def _number(attributes: Attributes, name: str, default: float) -> float:
    return float(attributes.get(name, default))


def _erf(x: Array) -> Array:
    from scipy.special import erf  # slow to import

    return erf(x)


def _sigmoid(x: Array) -> Array:
    from scipy.special import expit  # slow to import

    return expit(x)


def _named(name: str) -> Callable[[Array], Array]:
    """The float64 reference of an activation of the table."""
    from gatewise.activations import get  # the specs are read only where one is met

    return get(name).reference


def _reference(name: str) -> Factory:
    return lambda _: lambda xs: _named(name)(xs[0])


def _clip(attributes: Attributes) -> Evaluate:
    """Limits as attributes (operator sets below 11, OpenVINO's Clamp) or as inputs 1 and 2."""
    low, high = attributes.get("min"), attributes.get("max")
    present: tuple[int, ...] | None = attributes.get("present")

    def evaluate(xs: Sequence[Array]) -> Array:
        limits = dict(zip(present or range(len(xs)), xs, strict=True))
        y = xs[0]
        y = y if (bottom := limits.get(1, low)) is None else np.maximum(y, bottom)
        return y if (top := limits.get(2, high)) is None else np.minimum(y, top)

    return evaluate


def _full(attributes: Attributes) -> Evaluate:
    value = _number(attributes, "value", 0.0)
    return lambda xs: np.full_like(xs[0], value)


def _gelu(attributes: Attributes) -> Evaluate:
    """With a second input, that is a bias, added before."""
    name = "gelu_tanh" if attributes.get("approximate", "none") == "tanh" else "gelu"
    return lambda xs: _named(name)(xs[0] + xs[1] if len(xs) > 1 else xs[0])


def _swish(attributes: Attributes) -> Evaluate:
    """x sigmoid(alpha x); OpenVINO gives the factor as a second input."""
    alpha = _number(attributes, "alpha", 1.0)

    def evaluate(xs: Sequence[Array]) -> Array:
        x, factor = xs[0], xs[1] if len(xs) > 1 else alpha
        return (
            np.where(x == -np.inf, 0.0, x * _sigmoid(factor * x)) if np.all(factor == 1) else x * _sigmoid(factor * x)
        )

    return evaluate


def _swiglu(attributes: Attributes) -> Evaluate:
    swish = _swish(attributes)
    return lambda xs: swish(xs[:1]) * xs[1]


def _elu(attributes: Attributes) -> Evaluate:
    alpha = _number(attributes, "alpha", 1.0)
    return lambda xs: np.where(xs[0] > 0, xs[0], alpha * np.expm1(np.minimum(xs[0], 0)))


def _celu(attributes: Attributes) -> Evaluate:
    alpha = _number(attributes, "alpha", 1.0)
    return lambda xs: np.maximum(xs[0], 0) + np.minimum(0, alpha * np.expm1(np.minimum(xs[0] / alpha, 709)))


def _settings(attributes: Attributes, xs: Sequence[Array], first: tuple[str, float], second: tuple[str, float]) -> Any:
    """Two numbers that are attributes (ONNX) or the inputs 1 and 2 (OpenVINO)."""
    if len(xs) > 2:
        return xs[1], xs[2]
    return _number(attributes, *first), _number(attributes, *second)


def _selu(attributes: Attributes) -> Evaluate:
    def evaluate(xs: Sequence[Array]) -> Array:
        alpha, gamma = _settings(
            attributes, xs, ("alpha", 1.67326319217681884765625), ("gamma", 1.05070102214813232421875)
        )
        return gamma * np.where(xs[0] > 0, xs[0], alpha * np.expm1(np.minimum(xs[0], 0)))

    return evaluate


def _hard_sigmoid(attributes: Attributes) -> Evaluate:
    def evaluate(xs: Sequence[Array]) -> Array:
        alpha, beta = _settings(attributes, xs, ("alpha", 0.2), ("beta", 0.5))
        return np.clip(alpha * xs[0] + beta, 0, 1)

    return evaluate


def _leaky(attributes: Attributes) -> Evaluate:
    alpha = _number(attributes, "alpha", 0.01)
    return lambda xs: np.where(xs[0] < 0, alpha * xs[0], xs[0])


def _thresholded(attributes: Attributes) -> Evaluate:
    alpha = _number(attributes, "alpha", 1.0)
    return lambda xs: np.where(xs[0] > alpha, xs[0], 0.0)


def _shrink(attributes: Attributes) -> Evaluate:
    limit, bias = _number(attributes, "lambd", 0.5), _number(attributes, "bias", 0.0)
    return lambda xs: np.where(xs[0] < -limit, xs[0] + bias, np.where(xs[0] > limit, xs[0] - bias, 0.0))


def _is_inf(attributes: Attributes) -> Evaluate:
    low, high = bool(attributes.get("detect_negative", 1)), bool(attributes.get("detect_positive", 1))
    return lambda xs: ((xs[0] == -np.inf) & low) | ((xs[0] == np.inf) & high)


def _div(attributes: Attributes) -> Evaluate:
    """`integer`: "trunc" or "floor" where the division is one of whole numbers."""
    rounding = {"trunc": np.trunc, "floor": np.floor}.get(attributes.get("integer", ""))
    return lambda xs: xs[0] / xs[1] if rounding is None else rounding(xs[0] / xs[1])


def _mod(attributes: Attributes) -> Evaluate:
    return lambda xs: (np.fmod if attributes.get("fmod", 0) else np.mod)(xs[0], xs[1])


def _round(attributes: Attributes) -> Evaluate:
    """To even at halves; OpenVINO knows `half_away_from_zero` too."""
    if attributes.get("mode") == "half_away_from_zero":
        return lambda xs: np.copysign(np.floor(np.abs(xs[0]) + 0.5), xs[0])
    return lambda xs: np.rint(xs[0])


def _cast(attributes: Attributes) -> Evaluate:
    """A cast that changes values: to whole numbers (towards zero) or to a truth value."""
    return lambda xs: xs[0] != 0 if attributes.get("to") == "bool" else np.trunc(xs[0])


def _truth(function: Callable[[Any, Any], Any]) -> Factory:
    return _binary(lambda a, b: function(a != 0, b != 0))


def _whole(function: Callable[[Any, Any], Any]) -> Factory:
    return _binary(lambda a, b: function(a.astype(np.int64), b.astype(np.int64)))


def _mean(xs: Sequence[Array]) -> Array:
    return sum(xs[1:], start=xs[0]) / len(xs)


POINTWISE: Mapping[str, Factory] = {
    "Abs": _unary(np.abs),
    "Acos": _unary(np.arccos),
    "Acosh": _unary(np.arccosh),
    "Add": _binary(np.add),
    "And": _truth(np.logical_and),
    "Asin": _unary(np.arcsin),
    "Asinh": _unary(np.arcsinh),
    "Atan": _unary(np.arctan),
    "Atanh": _unary(np.arctanh),
    "BitwiseAnd": _whole(np.bitwise_and),
    "BitwiseOr": _whole(np.bitwise_or),
    "BitwiseXor": _whole(np.bitwise_xor),
    "Cast": _cast,
    "Ceil": _unary(np.ceil),
    "Celu": _celu,
    "Clip": _clip,
    "Cos": _unary(np.cos),
    "Cosh": _unary(np.cosh),
    "Div": _div,
    "Elu": _elu,
    "Equal": _binary(np.equal),
    "Erf": _unary(_erf),
    "Exp": _unary(np.exp),
    "Floor": _unary(np.floor),
    "Full": _full,
    "Gelu": _gelu,
    "Greater": _binary(np.greater),
    "GreaterOrEqual": _binary(np.greater_equal),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _reference("hardswish"),
    "IsFinite": _unary(np.isfinite),
    "IsInf": _is_inf,
    "IsNaN": _unary(np.isnan),
    "LeakyRelu": _leaky,
    "Less": _binary(np.less),
    "LessOrEqual": _binary(np.less_equal),
    "Log": _unary(np.log),
    "Max": _many(np.maximum),
    "Mean": lambda _: _mean,
    "Min": _many(np.minimum),
    "Mish": _reference("mish"),
    "Mod": _mod,
    "Mul": _binary(np.multiply),
    "Neg": _unary(np.negative),
    "Not": _unary(lambda x: x == 0),
    "NotEqual": _binary(np.not_equal),
    "Or": _truth(np.logical_or),
    "PRelu": _binary(lambda x, slope: np.where(x < 0, slope * x, x)),
    "Pow": _binary(np.power),
    "Reciprocal": _unary(np.reciprocal),
    "Relu": _unary(lambda x: np.maximum(x, 0)),
    "Round": _round,
    "Selu": _selu,
    "Shrink": _shrink,
    "Sigmoid": _unary(_sigmoid),
    "Sign": _unary(np.sign),
    "Sin": _unary(np.sin),
    "Sinh": _unary(np.sinh),
    "Softplus": _unary(lambda x: np.logaddexp(0, x)),
    "Softsign": _unary(lambda x: x / (1 + np.abs(x))),
    "Sqrt": _unary(np.sqrt),
    "SquaredDifference": _binary(lambda a, b: (a - b) ** 2),
    "Sub": _binary(np.subtract),
    "Sum": _many(np.add),
    "SwiGLU": _swiglu,
    "Swish": _swish,
    "Tan": _unary(np.tan),
    "Tanh": _unary(np.tanh),
    "ThresholdedRelu": _thresholded,
    "Where": lambda _: lambda xs: np.where(xs[0] != 0, xs[1], xs[2]),
    "Xor": _truth(np.logical_xor),
    "com.microsoft.BiasGelu": _gelu,
    "com.microsoft.FastGelu": lambda _: _gelu({"approximate": "tanh"}),
    "com.microsoft.Gelu": lambda _: _gelu({}),
    "com.microsoft.QuickGelu": lambda attributes: _swish({"alpha": _number(attributes, "alpha", 1.702)}),
}
