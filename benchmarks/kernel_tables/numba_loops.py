"""What a careful user writes with numba: one loop, float32, fastmath, and approximations that vectorise.

erf after Abramowitz and Stegun 7.1.28 (error below 3e-7, no exponential); the sigmoid through a rational tanh; the
normal density needs an exponential, which numba calls one number at a time, so GELU's backward has no loop here.
"""

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .functions import Arrays, Call

ALPHA = tuple(
    np.float32(value)
    for value in (
        -2.76076847742355e-16,
        2.00018790482477e-13,
        -8.60467152213735e-11,
        5.12229709037114e-08,
        1.48572235717979e-05,
        6.37261928875436e-04,
        4.89352455891786e-03,
    )
)
BETA = tuple(
    np.float32(value)
    for value in (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)
)
ERF = tuple(
    np.float32(value) for value in (0.0000430638, 0.0002765672, 0.0001520143, 0.0092705272, 0.0422820123, 0.0705230784)
)


def missing() -> str | None:
    """None where numba is installed."""
    return None if find_spec("numba") else "not installed (pip install numba)"


def loop(name: str, way: str, at: Arrays) -> Call | None:
    """The loop on these arrays, into memory that is kept; None where there is none of this name and way."""
    made = _loops(torch.get_num_threads()).get((name, way))
    if made is None or at.grad.dtype != torch.float32:
        return None
    outs = [torch.empty_like(at.grad) for _ in range(2 if (name, way) == ("swiglu", "backward") else 1)]
    tensors: list[Tensor] = [*([at.grad] if way == "backward" else []), *at.inputs, *outs]
    flat = [tensor.numpy().reshape(-1) for tensor in tensors]
    views = tuple(outs)

    def call() -> tuple[Tensor, ...]:
        made(*flat)
        return views

    return call


@cache
def _loops(threads: int) -> dict[tuple[str, str], Callable[..., None]]:
    import numba

    numba.set_num_threads(threads)
    a13, a11, a9, a7, a5, a3, a1 = ALPHA
    b6, b4, b2, b0 = BETA
    e6, e5, e4, e3, e2, e1 = ERF
    half, one, bound, root = np.float32(0.5), np.float32(1), np.float32(7.9), np.float32(0.5**0.5)
    each: Any = numba.prange if threads > 1 else range
    jit = numba.njit(fastmath=True, error_model="numpy", parallel=threads > 1)
    inline = numba.njit(fastmath=True, error_model="numpy", inline="always")

    @inline
    def sigmoid(x):
        t = min(max(half * x, -bound), bound)
        s = t * t
        p = ((((((a13 * s + a11) * s + a9) * s + a7) * s + a5) * s + a3) * s + a1) * t
        return half + half * p / (((b6 * s + b4) * s + b2) * s + b0)

    @inline
    def cumulative(x):
        t = abs(x) * root
        q = ((((((e6 * t + e5) * t + e4) * t + e3) * t + e2) * t + e1) * t) + one
        q = q * q
        q = q * q
        q = q * q
        tail = half / (q * q)
        return one - tail if x > 0 else tail

    @jit
    def gelu(x, y):
        for i in each(x.size):
            y[i] = x[i] * cumulative(x[i])

    @jit
    def swiglu(gate, up, y):
        for i in each(gate.size):
            y[i] = gate[i] * sigmoid(gate[i]) * up[i]

    @jit
    def swiglu_backward(grad, gate, up, by_gate, by_up):
        for i in each(grad.size):
            s = sigmoid(gate[i])
            by_up[i] = grad[i] * gate[i] * s
            by_gate[i] = grad[i] * up[i] * s * (one + gate[i] * (one - s))

    return {("gelu", "forward"): gelu, ("swiglu", "forward"): swiglu, ("swiglu", "backward"): swiglu_backward}
