"""Which function an activation module really computes, found by numbers and not by its name."""

import copy
import math
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from ._spec import Array
from ._table import get, names

# Above the stock code's own float32 error (1.2e-6 for gelu), far below what parts two functions of the table
# (erf and tanh gelu: 4.7e-4), and below a fresh BatchNorm's distance from the identity (5e-6).
TOLERANCE = 4e-6
_MAX_CHANNELS = 8192

Elementwise = Callable[[Tensor], object]


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What was found.

    Attributes:
        name: the function of the table that was computed; None when none fits, or more than one does.
        nearest: the closest one; None when the callable is not an elementwise function.
        distance: largest |got - reference| / max(1, |x|, |reference|) of `nearest` over the probes; inf when the
            callable gave a value that is not finite, or is not elementwise.
        elementwise: whether each output depends on the input at its own place alone.
        reason: why there is no name; empty when there is one.
    """

    name: str | None
    nearest: str | None
    distance: float
    elementwise: bool = True
    reason: str = ""


class _NotElementwiseError(Exception):
    """The callable is not an elementwise function of one tensor."""


def _grid(dtype: torch.dtype) -> Tensor:
    """The probes: dense in [-12, 12], then sparse to +-1000 (to +-100 in float16, where 1000^2 overflows)."""
    dense = torch.arange(-12 * 64, 12 * 64 + 1, dtype=torch.float64) / 64
    wide = torch.tensor([1e-30, 1e-8, 1e-4, 0.7071, 15.0, 20.5, 30.0, 50.0, 100.0, 1000.0], dtype=torch.float64)
    if torch.finfo(dtype).max < 1e6:
        wide = wide[:-1]
    return torch.cat([dense, wide, -wide]).to(dtype)


@cache
def _references(dtype: torch.dtype) -> dict[str, Array]:
    x = _grid(dtype).double().numpy()
    return {name: get(name).reference(x) for name in names("scalar")}


@contextmanager
def _in_eval(module: nn.Module) -> Generator[nn.Module]:
    """The module in eval mode: a copy, or where it cannot be copied itself, with its state put back afterwards."""
    try:
        duplicate = copy.deepcopy(module)
    except Exception:  # noqa: BLE001  (what cannot be copied may fail in any way; then it is restored instead)
        duplicate = None
    if duplicate is not None:
        yield duplicate.eval()
        return
    flags = [(part, part.training) for part in module.modules()]
    tensors = [(tensor, tensor.detach().clone()) for tensor in (*module.parameters(), *module.buffers())]
    try:
        for part, _ in flags:
            part.training = False
        yield module
    finally:
        for part, training in flags:
            part.training = training
        with torch.no_grad():
            for tensor, before in tensors:
                tensor.copy_(before)


@contextmanager
def _probe(fn: Elementwise) -> Generator[tuple[Elementwise, torch.device, torch.dtype]]:
    """`fn` ready to be probed, with the device and dtype of its parameters; nothing global is disturbed."""
    device, dtype = torch.device("cpu"), torch.float32
    if isinstance(fn, nn.Module):
        for tensor in (*fn.parameters(), *fn.buffers()):
            if tensor.is_floating_point():
                device, dtype = tensor.device, tensor.dtype
                break
    devices = [device] if device.type == "cuda" else []
    autocast = torch.autocast("cpu" if device.type == "meta" else device.type, enabled=False)
    with torch.random.fork_rng(devices=devices), torch.no_grad(), autocast:
        if isinstance(fn, nn.Module):
            with _in_eval(fn) as module:
                yield module, device, dtype
        else:
            yield fn, device, dtype


def _call(fn: Elementwise, x: Tensor) -> Tensor:
    y = fn(x.clone())  # a clone, for the callable may work in place
    if not isinstance(y, Tensor):
        raise _NotElementwiseError(f"it returns {type(y).__name__}, not a tensor")
    if y.shape != x.shape:
        raise _NotElementwiseError(f"it turns shape {list(x.shape)} into {list(y.shape)}")
    if not y.is_floating_point():
        raise _NotElementwiseError(f"it returns {y.dtype}")
    return y.clone()


def _layouts(fn: object, grid: Tensor) -> Iterator[Tensor]:
    """The grid in shapes that a module may want: flat, then with each channel count that its parameters suggest."""
    yield grid
    sizes = {p.numel() for p in fn.parameters()} if isinstance(fn, nn.Module) else set[int]()
    for channels in (*sorted(size for size in sizes if 0 < size <= _MAX_CHANNELS)[:4], 4):
        yield grid[:, None].expand(-1, channels).contiguous()
    yield grid[None, None, :, None].expand(1, 4, -1, 2).contiguous()


def _check_places(fn: Elementwise, like: Tensor) -> None:
    """Raises `_NotElementwiseError` when an output depends on chance or on the inputs at other places.

    The values lie in [-2, 3], where no exponential saturates. A random half of them moves by 1; the outputs at the
    other half must stay.
    """
    draw = torch.Generator().manual_seed(0)
    x = torch.linspace(-2.0, 2.0, like.numel(), dtype=torch.float64).reshape(like.shape).to(like)
    moves = (torch.rand(like.shape, generator=draw) < 0.5).to(like.device)
    # Vector and scalar code round apart, so the comparison is not to the last bit.
    rtol = max(1e-4, 8 * torch.finfo(like.dtype).eps)
    first, again, moved = _call(fn, x), _call(fn, x), _call(fn, torch.where(moves, x + 1, x))
    if not torch.allclose(first, again, rtol=rtol, atol=1e-7, equal_nan=True):
        raise _NotElementwiseError("the same input gives different outputs")
    if not torch.allclose(first[~moves], moved[~moves], rtol=rtol, atol=1e-7, equal_nan=True):
        raise _NotElementwiseError("an output changes when other inputs change")


def _values(fn: Elementwise, device: torch.device, dtype: torch.dtype) -> Array:
    """The outputs on the grid, [grid, copies]. Raises `_NotElementwiseError`."""
    first = ""
    grid = _grid(dtype).to(device)
    for x in _layouts(fn, grid):
        try:
            _check_places(fn, x)
            y = _call(fn, x)
            y = y[:, None] if x.ndim == 1 else y.movedim(2, 0) if x.ndim == 4 else y
            return y.double().cpu().reshape(len(grid), -1).numpy()
        except _NotElementwiseError:
            raise
        except Exception as error:  # noqa: BLE001  (whatever foreign code raises: it is no function of this input)
            text = str(error).strip().splitlines()
            first = first or f"it raises {type(error).__name__}: {text[0] if text else ''}"
    raise _NotElementwiseError(first)


def _distance(values: Array, reference: Array, x: Array) -> float:
    scale = np.maximum(1.0, np.maximum(np.abs(x), np.abs(reference)))
    with np.errstate(all="ignore"):
        error = np.abs(values - reference[:, None]) / scale[:, None]
    finite = error[np.isfinite(error)]
    return float(finite.max()) if finite.size else math.inf


def identify(fn: Elementwise, *, tolerance: float = TOLERANCE) -> Identity:
    """Which scalar function of the table `fn` computes at inference.

    `fn` takes a floating tensor of any shape. It is probed on a fixed grid from -1000 to 1000, dense in [-12, 12],
    against the float64 references. A module is copied and probed in eval mode (a dropout is then the identity) in the
    dtype and on the device of its parameters, float32 and CPU without any; neither its state nor torch's global
    random state changes. `tolerance` is never below the eps of that dtype; where two functions then fit, as erf and
    tanh gelu do in bfloat16, there is no name.

    Never raises for what `fn` does: a callable that raises, mixes elements or draws random numbers gets name None,
    `elementwise=False` and a reason.
    """
    with _probe(fn) as (probe, device, dtype):
        try:
            if device.type == "meta":
                raise _NotElementwiseError("its parameters are on the meta device and have no values")
            values = _values(probe, device, dtype)
        except _NotElementwiseError as error:
            return Identity(name=None, nearest=None, distance=math.inf, elementwise=False, reason=str(error))
    x = _grid(dtype).double().numpy()
    distances = {name: _distance(values, reference, x) for name, reference in _references(dtype).items()}
    nearest = min(distances, key=lambda name: distances[name])
    finite = bool(np.isfinite(values).all())
    distance = distances[nearest] if finite else math.inf
    limit = max(tolerance, torch.finfo(dtype).eps)
    fitting = [name for name, value in distances.items() if finite and value <= limit]
    if len(fitting) == 1:
        return Identity(name=nearest, nearest=nearest, distance=distance)
    if fitting:
        reason = f"in {dtype} it fits {', '.join(fitting)} alike"
    elif not finite:
        reason = "it gives values that are not finite on finite input"
    else:
        reason = f"nothing in the table is within {limit:g}; {nearest} is {distance:.3g} away"
    return Identity(name=None, nearest=nearest, distance=distance, reason=reason)
