"""The kernels as torch operators `torch.ops.gatewise.<name>`, with fake tensors, vmap and autograd.

    f(Tensor x, bool high=False) -> Tensor                     f(Tensor gate, Tensor up, bool high=False) -> Tensor
    f_backward(Tensor grad, <inputs>, bool high=False) -> Tensor, or (by_gate, by_up) for a gate
    f.no_grad, f_backward.no_grad                              the same, which autograd passes by: for where it is off
    f_high(<inputs>)                                           f.no_grad(<inputs>, True): 0.2 us less a call
    f_out(<inputs>, bool high=False, *, Tensor(a!) out) -> ()
    f_backward_out(Tensor grad, <inputs>, bool high=False, *, Tensor(a!) by_x) -> (), for a gate by_gate and by_up

All are for CPU tensors of one shape and one dtype, float32 or bfloat16. The two `_out` forms record no gradient. They
write to tensors of any layout, without a copy to rows: a contiguous tensor, or the column halves of a packed one, so
that a gate's backward gives the gradient of the whole packed projection:

    packed = torch.empty_like(both)                            # [..., gate | up]
    by_gate, by_up = packed.chunk(2, -1)
    torch.ops.gatewise.swiglu_backward_out(grad, *both.chunk(2, -1), by_gate=by_gate, by_up=by_up)

An output may be an input (the same memory and strides): `out=gate`, or by_gate=gate and by_up=up to write the gradients
over the inputs, or by_up=grad. Any other overlap, with an input or with the other output, is refused.

The operators are defined here, from the library's own table, and get their CPU implementation from the library, through
libtorch's stable C interface.
"""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import ProxyTorchDispatchMode

from ._autograd import Recorders, differentiable, recorders
from ._library import functions, load
from ._panels import define as define_panels
from ._second import SECOND, of_gate
from ._split import define as define_split

_LEVEL = ", bool high=False"
_SCALAR = f"Tensor x{_LEVEL}"
_GATE = f"Tensor gate, Tensor up{_LEVEL}"


@dataclass(kw_only=True)
class _Registered:
    """Keeps what torch would forget when it is collected, why nothing was registered, and what records a gradient."""

    library: torch.library.Library | None = None
    reason: str | None = None
    record: dict[str, Recorders | None] = field(default_factory=dict[str, Recorders | None])


_registered = _Registered()


@cache
def register() -> dict[str, bool]:
    """Define the operators and give them their kernels, once. Their names, each True for a gate; empty without any."""
    core, status = load()
    if core is None:
        _registered.reason = status.reason
        return {}
    addresses = _addresses(core)
    if addresses is None:
        return {}
    found = functions(core)
    library = _registered.library = torch.library.Library("gatewise", "FRAGMENT")
    for name, gate in found.items():
        _define(library, name, gate=gate)
    _define_few_rows(library)
    define_panels(library)
    define_split(library)
    wrong = core.gatewise_register(addresses)
    if wrong is not None:
        _registered.reason = f"torch refused the operator {wrong.decode()}"
        return {}
    return found


def missing() -> str | None:
    """Why the operators are not there, in one line; None when they are."""
    register()
    return _registered.reason


def recorder(name: str) -> Recorders | None:
    """The way around the dispatcher for a call that records a gradient, at either level; see `recorders`."""
    return _registered.record.get(name)


def _addresses(core: ctypes.CDLL) -> Any:
    """The addresses of the functions of torch that the library asks for."""
    try:
        torch_library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
    except OSError as error:
        _registered.reason = f"torch's own library cannot be opened: {str(error).splitlines()[0]}"
        return None
    found: list[int] = []
    while (name := core.gatewise_shim_name(len(found))) is not None:
        function = getattr(torch_library, name.decode(), None)
        if function is None:
            _registered.reason = f"torch {torch.__version__} has no {name.decode()}: 2.10 or newer is needed"
            return None
        found.append(ctypes.cast(function, ctypes.c_void_p).value or 0)
    return (ctypes.c_void_p * len(found))(*found)


def _define_few_rows(library: torch.library.Library) -> None:
    """x W^T for few rows of x, and a gated block of them, without a gradient: at inference (`_block_few`)."""
    gates = "Tensor x, Tensor gate, Tensor up, Tensor down, int function, bool high=False"
    for name, inputs in (("few_rows", "Tensor x, Tensor weight"), ("few_block", gates)):
        library.define(f"{name}({inputs}) -> Tensor", tags=(torch.Tag.pt2_compliant_tag,))
        library.impl(name, torch.library.fallthrough_kernel, "Autograd")

    def product(x: Tensor, weight: Tensor) -> Tensor:
        if x.dim() != 2 or weight.dim() != 2 or x.shape[1] != weight.shape[1]:
            raise RuntimeError(f"shapes {tuple(x.shape)} and {tuple(weight.shape)} do not match")
        if x.dtype != weight.dtype or x.device != weight.device:
            raise RuntimeError(f"{x.dtype} on {x.device} and {weight.dtype} on {weight.device} differ")
        return x.new_empty(x.shape[0], weight.shape[0])

    def block(x: Tensor, gate: Tensor, up: Tensor, down: Tensor, function: int, high: bool = False) -> Tensor:
        return product(_like(product(x, gate), product(x, up)), down)

    torch.library.register_fake("gatewise::few_rows", product, lib=library)
    torch.library.register_fake("gatewise::few_block", block, lib=library)


def _define(library: torch.library.Library, name: str, *, gate: bool) -> None:
    """The operators of one function, and everything about them that needs no kernel."""
    tag = (torch.Tag.pt2_compliant_tag,)
    inputs = _GATE if gate else _SCALAR
    gradients = "Tensor(a!) by_gate, Tensor(b!) by_up" if gate else "Tensor(a!) by_x"
    library.define(f"{name}({inputs}) -> Tensor", tags=tag)
    library.define(f"{name}.no_grad({inputs}) -> Tensor", tags=tag)
    library.define(f"{name}_high({inputs.removesuffix(_LEVEL)}) -> Tensor", tags=tag)
    library.define(f"{name}_out({inputs}, *, Tensor(a!) out) -> ()", tags=tag)
    for overload in ("", ".no_grad"):
        slopes = "(Tensor, Tensor)" if gate else "Tensor"
        library.define(f"{name}_backward{overload}(Tensor grad, {inputs}) -> {slopes}", tags=tag)
    library.define(f"{name}_backward_out(Tensor grad, {inputs}, *, {gradients}) -> ()", tags=tag)
    for each in (name, f"{name}_backward"):
        library.impl(f"{each}.no_grad", torch.library.fallthrough_kernel, "Autograd")
        packet = getattr(torch.ops.gatewise, each)
        _record_differentiable(library, packet.no_grad, packet)
    library.impl(f"{name}_high", torch.library.fallthrough_kernel, "Autograd")
    at_high = getattr(torch.ops.gatewise, f"{name}_high").default
    _record_differentiable(library, at_high, getattr(torch.ops.gatewise, name), True)
    for suffix in ("_out", "_backward_out"):
        _define_writing(library, getattr(torch.ops.gatewise, name + suffix).default)
    (_define_gate if gate else _define_scalar)(library, name)


def _record_differentiable(library: torch.library.Library, op: Any, packet: Any, *level: bool) -> None:
    """What `make_fx` records of a call to `op`, which has no gradient, is the one that has: who runs it may ask."""

    def recorded(mode: Any, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with mode:
            return packet.default(*args, *level, **(kwargs or {}))

    torch.library.register_torch_dispatch(op, ProxyTorchDispatchMode, recorded, lib=library)


def _define_writing(library: torch.library.Library, op: Any) -> None:
    """What an operator needs that writes to its keyword arguments."""

    def fake(*args: Any, **outputs: Tensor) -> None:
        _check(*(each for each in args if isinstance(each, Tensor)), *outputs.values())

    def written(keys: Any, *args: Any, **outputs: Tensor) -> None:
        """Autograd notices that a tensor saved for a backward was written to by its version."""
        for output in outputs.values():
            torch.autograd.graph.increment_version(output)
        op.redispatch(keys & after, *args, **outputs)

    torch.library.register_fake(op, fake, lib=library)
    after = torch._C._after_ADInplaceOrView_keyset  # pyright: ignore[reportPrivateUsage]
    library.impl(op, written, "ADInplaceOrView", with_keyset=True)


def _check(first: Tensor, *others: Tensor) -> None:
    for other in others:
        if first.shape != other.shape:
            raise RuntimeError(f"shapes {tuple(first.shape)} and {tuple(other.shape)} differ")
        if first.dtype != other.dtype:
            raise RuntimeError(f"dtypes {first.dtype} and {other.dtype} differ")


def _like(first: Tensor, *others: Tensor) -> Tensor:
    """Empty, with the strides that the kernels give a result; see `new_strides` in csrc/torch_ops.cpp."""
    _check(first, *others)
    if _kept(first, others):
        return torch.empty_strided(first.shape, first.stride(), dtype=first.dtype, device=first.device)
    return torch.empty(first.shape, dtype=first.dtype, device=first.device)


def _kept(first: Tensor, others: Sequence[Tensor]) -> bool:
    """Do the inputs give their strides to the result? No where they depend on data, and so on nothing that is known."""
    from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

    try:
        alike = all(other.stride() == first.stride() for other in others)
        return not first.is_contiguous() and alike and _dense(first)
    except GuardOnDataDependentSymNode:
        return False


def _dense(x: Tensor) -> bool:
    """Are the numbers of x next to each other in memory, in whatever order of its dimensions?"""
    step: Any = 1
    for stride, size in sorted((d, n) for n, d in zip(x.shape, x.stride(), strict=True) if n != 1):
        if stride != step:
            return False
        step = step * size
    return True


def _define_scalar(library: torch.library.Library, name: str) -> None:
    qualname = f"gatewise::{name}"
    forward, backward = getattr(torch.ops.gatewise, name), getattr(torch.ops.gatewise, name + "_backward")

    def fake_backward(grad: Tensor, x: Tensor, high: bool = False) -> Tensor:
        return _like(x, grad)

    for overload in ("", ".no_grad"):
        torch.library.register_fake(f"{qualname}{overload}", lambda x, high=False: _like(x), lib=library)
        torch.library.register_fake(f"{qualname}_backward{overload}", fake_backward, lib=library)
    torch.library.register_fake(f"{qualname}_high", _like, lib=library)

    def once(grads: Sequence[Tensor], inputs: Sequence[Tensor], high: bool) -> tuple[Tensor]:
        return (backward(*grads, *inputs, high),)

    def twice(grads: Sequence[Tensor], inputs: Sequence[Tensor], high: bool) -> tuple[Tensor, Tensor]:
        (v,), (grad, x) = grads, inputs
        return backward(v, x, high), v * grad * SECOND[name](x)

    differentiable(library, forward.default, 1, once, backward.default)
    _registered.record[name] = recorders(forward, backward, once)
    differentiable(library, backward.default, 2, twice)

    def batched(info: Any, in_dims: Any, x: Tensor, high: bool = False) -> tuple[Tensor, int]:
        return forward(x, high), in_dims[0]

    def batched_backward(info: Any, in_dims: Any, grad: Tensor, x: Tensor, high: bool = False) -> tuple[Tensor, int]:
        return backward(*_front(info, in_dims, grad, x), high), 0

    for overload in ("", ".no_grad"):
        torch.library.register_vmap(f"{qualname}{overload}", batched, lib=library)
        torch.library.register_vmap(f"{qualname}_backward{overload}", batched_backward, lib=library)
    torch.library.register_vmap(f"{qualname}_high", lambda info, dims, x: batched(info, dims, x, True), lib=library)


def _define_gate(library: torch.library.Library, name: str) -> None:
    qualname = f"gatewise::{name}"
    forward, backward = getattr(torch.ops.gatewise, name), getattr(torch.ops.gatewise, name + "_backward")

    def fake_backward(grad: Tensor, gate: Tensor, up: Tensor, high: bool = False) -> tuple[Tensor, Tensor]:
        return _like(gate, up, grad), _like(gate, up, grad)

    for overload in ("", ".no_grad"):
        torch.library.register_fake(f"{qualname}{overload}", lambda gate, up, high=False: _like(gate, up), lib=library)
        torch.library.register_fake(f"{qualname}_backward{overload}", fake_backward, lib=library)
    torch.library.register_fake(f"{qualname}_high", _like, lib=library)

    def once(grads: Sequence[Tensor], inputs: Sequence[Tensor], high: bool) -> tuple[Tensor, Tensor]:
        return backward(*grads, *inputs, high)

    def twice(grads: Sequence[Tensor], inputs: Sequence[Tensor], high: bool) -> tuple[Tensor, Tensor, Tensor]:
        return of_gate(name, grads, inputs, high)

    differentiable(library, forward.default, 2, once, backward.default)
    _registered.record[name] = recorders(forward, backward, once)
    differentiable(library, backward.default, 3, twice)

    def batched(info: Any, in_dims: Any, gate: Tensor, up: Tensor, high: bool = False) -> tuple[Tensor, int]:
        return forward(*_front(info, in_dims, gate, up), high), 0

    def batched_backward(info: Any, in_dims: Any, grad: Tensor, gate: Tensor, up: Tensor, high: bool = False) -> Any:
        return backward(*_front(info, in_dims, grad, gate, up), high), (0, 0)

    for overload in ("", ".no_grad"):
        torch.library.register_vmap(f"{qualname}{overload}", batched, lib=library)
        torch.library.register_vmap(f"{qualname}_backward{overload}", batched_backward, lib=library)
    torch.library.register_vmap(
        f"{qualname}_high", lambda info, dims, gate, up: batched(info, dims, gate, up, True), lib=library
    )


def _front(info: Any, in_dims: Any, *tensors: Tensor) -> list[Tensor]:
    """The batch dimension in front, made where there is none."""
    return [
        t.movedim(d, 0) if d is not None else t.expand(info.batch_size, *t.shape)
        for t, d in zip(tensors, in_dims, strict=False)
    ]
