"""How far the kernels, and torch's own code, are from a float64 reference, as it is seen here and now."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatewise.activations import Budget, ObservedError, Spec, get, measure_error
from gatewise.core import GatewiseError, unknown_name

from ._budgets import BUDGETS, DTYPES, PRECISIONS, STARTS
from ._functions import names
from ._library import INSTRUCTION_SETS, load, status

Array = NDArray[np.float64]
Function = Callable[..., Tensor]
TORCH = "torch"
"""Stands where a path is named for the stock code of torch."""


def paths() -> tuple[str, ...]:
    """The instruction sets of this machine that there are kernels for, best first; empty without kernels."""
    core = load()[0]
    if core is None:
        return ()
    with _restored():
        return tuple(path for path in INSTRUCTION_SETS if core.gatewise_use_isa(path.encode()))


@contextmanager
def using(path: str) -> Generator[None]:
    """Every kernel runs with the instruction set `path` inside, in the whole process.

    Raises `GatewiseError` for one that is unknown, or that this machine does not have.
    """
    if path not in INSTRUCTION_SETS:
        raise unknown_name("instruction set", path, INSTRUCTION_SETS)
    core = load()[0]
    if core is None:
        raise GatewiseError(f"no native kernels here: {status().reason}")
    with _restored():
        if not core.gatewise_use_isa(path.encode()):
            raise GatewiseError(f"this machine has no {path}; it has {', '.join(paths())}")
        yield


@contextmanager
def _restored() -> Generator[None]:
    core = load()[0]
    before = b"" if core is None else core.gatewise_isa()
    try:
        yield
    finally:
        if core is not None:
            core.gatewise_use_isa(before)


def function(name: str, precision: str, path: str) -> Function:
    """The kernel of that name as a function of tensors, whatever their number; torch's own for the path `torch`.

    It takes and gives tensors of the dtype of `precision`. Raises `GatewiseError` for a name that has no kernel.
    """
    if precision not in PRECISIONS:
        raise unknown_name("precision", precision, PRECISIONS)
    if path == TORCH:
        return get(name).torch
    if name not in names():
        raise unknown_name("kernel", name, names())
    operator, high = getattr(torch.ops.gatewise, name), precision == "float32_high"

    def kernel(*inputs: Tensor) -> Tensor:
        with using(path):
            return operator(*inputs, high)

    return kernel


def differentiated(of: Function, path: str, inputs: tuple[Tensor, ...], grad: Tensor) -> tuple[Tensor, ...]:
    """The value and the gradients by each input, both computed on `path`."""
    leaves = tuple(x.detach().clone().requires_grad_() for x in inputs)
    value = of(*leaves)
    if path == TORCH:
        return value.detach(), *torch.autograd.grad(value, leaves, grad)
    with using(path):
        return value.detach(), *torch.autograd.grad(value, leaves, grad)


def observed(name: str, precision: str, path: str, of: Function | None = None) -> ObservedError:
    """The largest errors over `activations.samples`, split where the budgets are; see `activations.measure_error`.

    `of` is measured instead of the kernel where it is given.
    """
    dtype, (value, gradient) = DTYPES[precision], STARTS[precision]
    spec = _remembering(name, dtype)
    spec = replace(spec, budgets={dtype: Budget(value=value, gradient=gradient)})
    of = of or function(name, precision, path)
    if path == TORCH:
        return measure_error(spec, dtype, of)
    with using(path):
        return measure_error(spec, dtype, of)


@lru_cache(maxsize=2)
def _remembering(name: str, dtype: str) -> Spec:
    """The spec without deviations, whose reference and derivative are computed once for the same inputs."""
    spec, known = get(name), dict[tuple[object, ...], object]()

    def once(what: Callable[..., object]) -> Callable[..., object]:
        def remembered(*inputs: Array) -> object:
            key = (what, *(hash(x.tobytes()) for x in inputs))
            if key not in known:
                known[key] = what(*inputs)
            return known[key]

        return remembered

    return replace(spec, reference=once(spec.reference), derivative=once(spec.derivative), deviations=())  # type: ignore[arg-type]


def budget(name: str, precision: str, path: str) -> Budget:
    """The error budget of one kernel."""
    return BUDGETS[name, precision, path]
