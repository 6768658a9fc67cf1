"""How a recorded operation is computed again, in float64, on values of its own."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from gatewise.graphs import Array

Evaluate = Callable[[Sequence[Array]], Array]
NATIVE = "gatewise."
"""How the operators of gatewise's own kernels begin. They take no float64: they are run as they are, in float32."""

_WHOLE = ("bitwise", "shift", "__and__", "__or__", "__xor__")


@dataclass(frozen=True, kw_only=True)
class _Slot:
    """The place of a tensor among the arguments."""

    index: int
    dtype: torch.dtype


def evaluator(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Evaluate:
    """`func` itself with float64 tensors in the tensors' places, in their order, and all else as it was.

    A native kernel gets float32 tensors: what is computed again is the kernel, not a formula of its name. Truth values
    stay truth values; a tensor to write to (`out=`) is replaced by a new one.
    """
    count = 0

    def emptied(value: Any) -> Any:
        nonlocal count
        if not isinstance(value, Tensor):
            return value
        count += 1
        return _Slot(index=count - 1, dtype=value.dtype)

    kept = {key: value for key, value in kwargs.items() if key != "out"}
    form = pytree.tree_map(emptied, (tuple(args), kept))
    writes_out = "out" in kwargs
    whole = any(word in str(func) for word in _WHOLE)
    floats = torch.float32 if str(func).startswith(NATIVE) else torch.float64

    def evaluate(inputs: Sequence[Array]) -> Array:
        arrays = np.broadcast_arrays(*(np.asarray(array) for array in inputs)) if len(inputs) > 1 else list(inputs)

        def filled(value: Any) -> Any:
            if not isinstance(value, _Slot):
                return value
            tensor = _tensor(arrays[value.index], value.dtype, whole=whole)
            return tensor.to(floats) if tensor.dtype == torch.float64 else tensor

        positional, named = pytree.tree_map(filled, form, is_leaf=lambda leaf: isinstance(leaf, _Slot))
        if writes_out:
            named["out"] = torch.empty(0, dtype=floats)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = func(*positional, **named)
        return result.detach().to(torch.float64).numpy()

    return evaluate


def _tensor(array: Any, dtype: torch.dtype, *, whole: bool) -> Tensor:
    tensor = torch.from_numpy(np.array(array, dtype=np.float64))
    if dtype == torch.bool:
        return tensor != 0
    return tensor.to(torch.int64) if whole and not dtype.is_floating_point else tensor


def glu(inputs: Sequence[Array]) -> Array:
    """GLU of its two halves: the first times the sigmoid of the second."""
    with np.errstate(over="ignore"):
        return np.asarray(inputs[0] * torch.sigmoid(torch.from_numpy(np.array(inputs[1], dtype=np.float64))).numpy())


def is_pointwise(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Evaluate | None:
    """For an operation that nothing is known about: how to compute it, where each value depends on its own place alone.

    Tried on numbers: the same values in another order and another shape must give the same results in their places.
    """
    tensors = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    if not tensors or any(not tensor.is_floating_point() or tensor.shape != tensors[0].shape for tensor in tensors):
        return None
    evaluate = evaluator(func, args, kwargs)
    probes = [np.random.default_rng(index).normal(size=16) * 3 for index in range(len(tensors))]
    try:
        flat = evaluate(probes)
        turned = evaluate([probe[::-1].copy() for probe in probes])[::-1]
        square = evaluate([probe.reshape(4, 4) for probe in probes])
        half = evaluate([probe[:8] for probe in probes])
    except (RuntimeError, NotImplementedError, TypeError, ValueError, AttributeError, IndexError):
        return None
    same = flat.shape == (16,) and np.array_equal(flat, turned, equal_nan=True)
    same = same and square.shape == (4, 4) and np.array_equal(flat, square.reshape(16), equal_nan=True)
    return evaluate if same and half.shape == (8,) and np.array_equal(flat[:8], half, equal_nan=True) else None
