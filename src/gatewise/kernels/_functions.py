"""The functions that have kernels, for users: native where that is the best way, else the stock torch code.

What may be computed natively: float32 and bfloat16 tensors on the CPU. `path` says which way a call takes. What is left
to torch at `default` accuracy, because it is quicker there, is native at `high`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from gatewise import activations
from gatewise.core import GatewiseError, unknown_name

from ._autograd import Recorders, dual_level, function_modes, pre_dispatch, raw, tracing, transformed
from ._library import status
from ._memory import overlaps
from ._operators import missing, recorder, register
from ._out import check_out

Accuracy = Literal["default", "high"]
ACCURACIES = ("default", "high")
_DTYPES = (torch.float32, torch.bfloat16)
_MOST_DIMS = 16
"""What the kernels walk; tensors of more dimensions are given to them as one row."""
SMALL: dict[str, int] = {"gelu_tanh": 6144, "geglu_tanh": 4096, "silu": 49152, "swiglu": 16384}
"""Numbers up to which a call that records a gradient is left to torch, at `default` accuracy.

A Python autograd function costs more there than the kernel saves: the first size at which the kernel is within 0.95 of
torch both ways, in both dtypes (AVX-512, one thread). The others are never small: torch is slow at them.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Way:
    """One function: its stock code, and its operator in the forms that cost least.

    Attributes:
        name: of the function.
        stock: without checks.
        op: the operator, for whatever traces or transforms the call.
        plain: the same where no gradient is recorded, by accuracy.
        record: the same where one is, by accuracy; None where only `op` can.
        out: the operator that writes to `out`.
        small: see `SMALL`.
    """

    name: str
    stock: Callable[..., Tensor]
    op: Callable[..., Tensor]
    plain: tuple[Callable[..., Tensor], Callable[..., Tensor]]
    record: Recorders | None
    out: Callable[..., None]
    small: int


def _way(name: str) -> _Way:
    packet: Any = getattr(torch.ops.gatewise, name)
    return _Way(
        name=name,
        stock=activations.get(name).torch,
        op=packet.default,
        plain=(raw(packet.no_grad), raw(getattr(torch.ops.gatewise, name + "_high").default)),
        record=recorder(name),
        out=getattr(torch.ops.gatewise, name + "_out").default,
        small=SMALL.get(name, 0),
    )


_WAYS = {name: _way(name) for name in register()}
_GELU, _GELU_TANH, _SILU, _QUICK_GELU = map(_WAYS.get, ("gelu", "gelu_tanh", "silu", "quick_gelu"))
_GEGLU, _GEGLU_TANH, _SWIGLU, _SWIGLU_CLAMPED = map(_WAYS.get, ("geglu", "geglu_tanh", "swiglu", "swiglu_clamped"))
_QUICK = status().instruction_set != "plain"  # those are there to be right everywhere: torch is several times quicker
_records = torch.is_grad_enabled
_compiling, _in_dynamo = torch.compiler.is_compiling, torch.compiler.is_dynamo_compiling
# What `_compiling` and `dual_level` look at. Where a call takes a microsecond, a call to ask them takes 4 % more.
_compiler: Any = torch.compiler
_forward_ad: Any = torch.autograd.forward_ad


def names() -> tuple[str, ...]:
    """The functions that have a native kernel here; empty where the kernels are absent."""
    return tuple(_WAYS)


def path(name: str, *inputs: Tensor, accuracy: str = "default") -> str:
    """Which way `functional.<name>(*inputs)` takes: `native (<instruction set>)`, or `torch: <why>`.

    Raises `GatewiseError` for an unknown name, an unknown accuracy, and inputs that the function refuses as unlike.
    """
    num_inputs = 2 if activations.get(name).kind == "gate" else 1
    if len(inputs) != num_inputs or not all(isinstance(each, Tensor) for each in inputs):  # pyright: ignore[reportUnnecessaryIsInstance]
        got = ", ".join(type(each).__name__ for each in inputs) or "none"
        raise GatewiseError(f"path: {name} takes {num_inputs} tensor{'s'[: num_inputs - 1]}, got {got}")
    if num_inputs == 2 and not _alike(*inputs):
        _refused(name, *inputs)
    way = _WAYS.get(name)
    if way is None:
        return f"torch: {missing() or f'{name} has no kernel'}"
    for each in inputs:
        if not each.is_cpu:
            return f"torch: the kernels are for the CPU, not {each.device.type}"
        if each.dtype not in _DTYPES:
            return f"torch: the kernels are for float32 and bfloat16, not {each.dtype}"
        if each.layout != torch.strided or each.is_nested:
            return f"torch: the kernels are for dense tensors, not {'nested' if each.is_nested else each.layout}"
    if not _high(accuracy):
        if not _QUICK:
            return "torch: the plain kernels are slower"
        records = torch.is_grad_enabled() and any(each.requires_grad for each in inputs)
        if records and inputs[0].numel() <= way.small:
            return f"torch: a gradient of at most {way.small} numbers"
        if records and any(each.is_inference() for each in inputs):
            return "torch: a gradient beside a tensor that was made in inference mode, which cannot be saved"
    return f"native ({status().instruction_set})"


def _high(accuracy: str) -> bool:
    if accuracy not in ACCURACIES:
        raise unknown_name("accuracy", accuracy, ACCURACIES)
    return accuracy == "high"


def _run(way: _Way, inputs: tuple[Tensor, ...], high: bool, grad: bool) -> Tensor:
    """The result, whichever way; the inputs are alike, of a dtype and on a device that have kernels.

    `grad`: one of them requires a gradient.
    """
    if inputs[0].dim() > _MOST_DIMS and inputs[0].layout == torch.strided:
        return _run(way, tuple(each.reshape(-1) for each in inputs), high, grad).view(inputs[0].shape)
    if not _QUICK and not high:
        return way.stock(*inputs)
    try:
        if watched():
            # A program that is exported is run where nobody knows our operators.
            portable = not high and _compiling() and torch.compiler.is_exporting()
            return way.stock(*inputs) if portable else way.op(*inputs, high)
        if not (grad and torch.is_grad_enabled()):
            return way.plain[high](*inputs)
        if not high and (inputs[0].numel() <= way.small or any(each.is_inference() for each in inputs)):
            return way.stock(*inputs)
        return way.op(*inputs, high) if way.record is None else way.record[high](*inputs)
    except NotImplementedError:
        if all(each.layout == torch.strided and not each.is_nested for each in inputs):
            raise
        return _torchs(way.name, inputs)  # a layout without kernels


def _torchs(name: str, inputs: tuple[Tensor, ...]) -> Tensor:
    """The stock code behind its checks, for what has no kernel."""
    try:
        return getattr(activations, name)(*inputs)
    except NotImplementedError as error:
        kinds = " and ".join(dict.fromkeys(f"{each.dtype} of layout {each.layout}" for each in inputs))
        raise GatewiseError(f"{name}: torch does not compute it for {kinds} on {inputs[0].device}") from error


def watched() -> bool:
    """Has torch's dispatcher to see the whole operator, for a compiler, a tracer, a transform or forward mode?"""
    return _compiling() or transformed() or dual_level() or tracing() or pre_dispatch()


def _recorder(way: _Way, high: bool, *inputs: Tensor) -> Callable[..., Tensor] | None:
    """What records a call for the kernel where the dispatcher need not see it."""
    if way.record is None or watched() or not _records() or not (high or (_QUICK and inputs[0].numel() > way.small)):
        return None
    for x in inputs:
        usual = x.is_cpu and x.layout is torch.strided and x.dtype in _DTYPES and x.dim() <= _MOST_DIMS
        if not usual or x.is_nested or x.is_inference():
            return None
    return way.record[high]


def _scalar(name: str, way: _Way | None, x: Tensor, accuracy: str, out: Tensor | None) -> Tensor:
    high, record = accuracy == "high", None
    # The short way of small calls; what it does not settle, or torch refuses, is looked at more closely below.
    if out is None and (high or accuracy == "default") and way is not None:
        try:
            if x.requires_grad:
                if not high and not _compiling() and x.numel() <= way.small and _records() and not tracing():
                    return way.stock(x)
                record = _recorder(way, high, x)
            elif (
                (high or _QUICK)
                and x.dtype in _DTYPES
                and x.is_cpu
                and not (_in_dynamo() or _compiler._is_compiling_flag or transformed() or tracing() or function_modes())
                and _forward_ad._current_level < 0
            ):
                return way.plain[high](x)
        except (RuntimeError, AttributeError):
            pass
    if record is not None:  # outside: hooks that it runs may raise, and are not to be run again
        return record(x)
    high = _high(accuracy)
    if not isinstance(x, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise GatewiseError(f"{name}: x must be a tensor, got {type(x).__name__}")
    if out is not None:
        return into(name, (x,), high, out)
    if way is None or not x.is_cpu or x.dtype not in _DTYPES:
        return _torchs(name, (x,))
    return _run(way, (x,), high, x.requires_grad)


def _gate(name: str, way: _Way | None, gate: Tensor, up: Tensor, accuracy: str, out: Tensor | None) -> Tensor:
    high, record = accuracy == "high", None
    if out is None and (high or accuracy == "default") and way is not None:  # as in _scalar
        try:
            if gate.requires_grad or up.requires_grad:
                small = not high and not _compiling() and gate.numel() <= way.small and _records() and not tracing()
                if small and gate.dtype is up.dtype and gate.shape == up.shape:
                    return way.stock(gate, up)
                record = _recorder(way, high, gate, up) if gate.dtype is up.dtype and gate.shape == up.shape else None
            elif (
                (high or _QUICK)
                and gate.dtype in _DTYPES
                and gate.is_cpu
                and up.is_cpu
                and not (_in_dynamo() or _compiler._is_compiling_flag or transformed() or tracing() or function_modes())
                and _forward_ad._current_level < 0
            ):
                return way.plain[high](gate, up)
        except (RuntimeError, AttributeError):
            pass
    if record is not None:
        return record(gate, up)
    high = _high(accuracy)
    if not _alike(gate, up):
        return _refused(name, gate, up)
    if out is not None:
        return into(name, (gate, up), high, out)
    if way is None or not gate.is_cpu or gate.dtype not in _DTYPES:
        return _torchs(name, (gate, up))
    return _run(way, (gate, up), high, gate.requires_grad or up.requires_grad)


def _alike(gate: Tensor, up: Tensor) -> bool:
    return (
        isinstance(gate, Tensor)  # pyright: ignore[reportUnnecessaryIsInstance]
        and isinstance(up, Tensor)  # pyright: ignore[reportUnnecessaryIsInstance]
        and not _shapeless(gate)
        and not _shapeless(up)
        and gate.shape == up.shape
        and gate.dtype == up.dtype
        and gate.device == up.device
    )


def _shapeless(x: Tensor) -> bool:
    """Is it a nested tensor of the old kind, which has no shape?"""
    return x.is_nested and x.layout is torch.strided


def _refused(name: str, gate: Tensor, up: Tensor) -> Tensor:
    """Say what is wrong with two inputs that are not alike."""
    for each in (gate, up):
        if isinstance(each, Tensor) and _shapeless(each):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise GatewiseError(f"{name}: gate and up must be dense tensors, or nested ones of layout torch.jagged")
    if isinstance(gate, Tensor) and isinstance(up, Tensor) and gate.device != up.device:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise GatewiseError(f"{name}: gate and up must be on one device, got {gate.device} and {up.device}")
    return getattr(activations, name)(gate, up)


def into(name: str, inputs: tuple[Tensor, ...], high: bool, out: Tensor) -> Tensor:
    """Write to `out`, which may be one of the inputs; any other overlap is refused."""
    first = inputs[0]
    if not first.is_floating_point():
        return _torchs(name, inputs)  # which refuses it
    check_out(name, inputs, out)
    way = _WAYS.get(name)
    if way is None or not first.is_cpu or first.dtype not in _DTYPES:
        return _copied(name, inputs, _torchs(name, inputs), out)
    if out.is_neg():  # torch writes to what it negates by a copy, and not for an operator that returns nothing
        return out.copy_(into(name, inputs, high, torch.empty(out.shape, dtype=out.dtype)))
    try:
        way.out(*inputs, high, out=out)
    except RuntimeError as error:
        raise _unwritten(name, str(error).splitlines()[0].replace(f"gatewise::{name}_out", name)) from None
    return out


def _unwritten(name: str, why: str) -> GatewiseError:
    if transformed():
        why = f"{name}: out= cannot be written to under this transform of torch.func; leave it out"
    return GatewiseError(why)


def _copied(name: str, inputs: tuple[Tensor, ...], result: Tensor, out: Tensor) -> Tensor:
    for each in inputs:
        if not watched() and overlaps(out, each):
            shapes = f"{tuple(out.shape)} overlaps an input {tuple(each.shape)}"
            raise GatewiseError(f"{name}: an output {shapes} without being it")
    try:
        return out.copy_(result)
    except RuntimeError as error:  # an output that overlaps itself
        raise _unwritten(name, f"{name}: out: {str(error).splitlines()[0]}") from None


def gelu(x: Tensor, approximate: str = "none", *, accuracy: str = "default", out: Tensor | None = None) -> Tensor:
    """x * Phi(x); with `approximate="tanh"` its tanh form. Elementwise, any shape.

    `accuracy` is of float32: `default` or `high` (see docs/kernels.md for the error budgets of both). `out`, of the
    shape and dtype of x, takes the result; it may be x itself.

    Raises `GatewiseError` for a dtype that is not floating, another `approximate` or `accuracy`, and an `out` that has
    another shape or dtype or overlaps x without being it.
    """
    if approximate == "none":
        return _scalar("gelu", _GELU, x, accuracy, out)
    if approximate != "tanh":
        raise unknown_name("approximate", approximate, ("none", "tanh"))
    return _scalar("gelu_tanh", _GELU_TANH, x, accuracy, out)


def gelu_tanh(x: Tensor, *, accuracy: str = "default", out: Tensor | None = None) -> Tensor:
    """The tanh form of gelu. `accuracy` and `out` as for `gelu`. Raises `GatewiseError` as it does."""
    return _scalar("gelu_tanh", _GELU_TANH, x, accuracy, out)


def silu(x: Tensor, *, accuracy: str = "default", out: Tensor | None = None) -> Tensor:
    """x * sigmoid(x). `accuracy` and `out` as for `gelu`. Raises `GatewiseError` as it does."""
    return _scalar("silu", _SILU, x, accuracy, out)


def quick_gelu(x: Tensor, *, accuracy: str = "default", out: Tensor | None = None) -> Tensor:
    """x * sigmoid(1.702 x). `accuracy` and `out` as for `gelu`. Raises `GatewiseError` as it does."""
    return _scalar("quick_gelu", _QUICK_GELU, x, accuracy, out)


def geglu(
    gate: Tensor, up: Tensor, approximate: str = "none", *, accuracy: str = "default", out: Tensor | None = None
) -> Tensor:
    """gelu(gate) * up; with `approximate="tanh"` by the tanh form. Elementwise on two tensors of one shape and dtype.

    The halves of one packed projection (`both.chunk(2, -1)`) are taken as they lie, without a copy; `gate_packed` takes
    it whole. `accuracy` and `out` as for `gelu`; `out` may be either input. Raises `GatewiseError` for what `gelu`
    does, and for shapes, dtypes or devices that differ (also under autocast, which leaves these functions alone).
    """
    if approximate == "none":
        return _gate("geglu", _GEGLU, gate, up, accuracy, out)
    if approximate != "tanh":
        raise unknown_name("approximate", approximate, ("none", "tanh"))
    return _gate("geglu_tanh", _GEGLU_TANH, gate, up, accuracy, out)


def geglu_tanh(gate: Tensor, up: Tensor, *, accuracy: str = "default", out: Tensor | None = None) -> Tensor:
    """gelu_tanh(gate) * up. `accuracy` and `out` as for `geglu`. Raises `GatewiseError` as it does."""
    return _gate("geglu_tanh", _GEGLU_TANH, gate, up, accuracy, out)


def swiglu(gate: Tensor, up: Tensor, *, accuracy: str = "default", out: Tensor | None = None) -> Tensor:
    """silu(gate) * up. `accuracy` and `out` as for `geglu`. Raises `GatewiseError` as it does."""
    return _gate("swiglu", _SWIGLU, gate, up, accuracy, out)


def swiglu_clamped(
    gate: Tensor,
    up: Tensor,
    limit: float = 7.0,
    alpha: float = 1.702,
    *,
    accuracy: str = "default",
    out: Tensor | None = None,
) -> Tensor:
    """gpt-oss' swiglu: (clip(up, -limit, limit) + 1) * g * sigmoid(alpha g), g = min(gate, limit).

    The kernel is of the default `limit` and `alpha`; others run in torch. `accuracy` and `out` as for `geglu`. Raises
    `GatewiseError` as it does, and for a limit that is not positive.
    """
    numbers = isinstance(limit, (int, float)) and isinstance(alpha, (int, float))  # pyright: ignore[reportUnnecessaryIsInstance]
    if numbers and limit == 7.0 and alpha == 1.702:
        return _gate("swiglu_clamped", _SWIGLU_CLAMPED, gate, up, accuracy, out)
    _high(accuracy)
    if not _alike(gate, up):
        return _refused("swiglu_clamped", gate, up)
    result = activations.swiglu_clamped(gate, up, limit, alpha)
    if out is None:
        return result
    check_out("swiglu_clamped", (gate, up), out)
    return _copied("swiglu_clamped", (gate, up), result, out)


_USERS = (gelu, gelu_tanh, silu, quick_gelu, geglu, geglu_tanh, swiglu, swiglu_clamped)
FUNCTIONS: dict[str, Callable[..., Tensor]] = {each.__name__: each for each in _USERS}
"""By name, each with the arguments of a stock function first."""
