"""The kernels as torch operators `torch.ops.gatewise.<name>`, with fake tensors, vmap and autograd.

    f(Tensor x, bool high=False) -> Tensor                     f(Tensor gate, Tensor up, bool high=False) -> Tensor
    f_backward(Tensor grad, <inputs>, bool high=False) -> Tensor, or two for a gate
    f_out(<inputs>, bool high=False, *, Tensor(a!) out) -> ()

They are defined here, from the library's own table, and get their CPU implementation from the library, through
libtorch's stable C interface.
"""

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ._autograd import differentiable
from ._library import functions, load
from ._second import SECOND

_SCALAR = "(Tensor x, bool high=False"
_GATE = "(Tensor gate, Tensor up, bool high=False"
ACTIVATION = {"geglu": "gelu", "geglu_tanh": "gelu_tanh", "swiglu": "silu", "swiglu_clamped": "quick_gelu"}
"""What each gate applies to its first input."""
LIMIT = 7.0  # of swiglu_clamped


class _Registered:
    """Keeps what torch would forget when it is collected, and why nothing was registered."""

    library: torch.library.Library | None = None
    reason: str | None = None


@cache
def register() -> dict[str, bool]:
    """Define the operators and give them their kernels, once. Their names, each True for a gate; empty without any."""
    core, status = load()
    if core is None:
        _Registered.reason = status.reason
        return {}
    addresses = _addresses(core)
    if addresses is None:
        return {}
    found = functions(core)
    library = _Registered.library = torch.library.Library("gatewise", "FRAGMENT")
    for name, gate in found.items():
        _define(library, name, gate=gate)
    wrong = core.gatewise_register(addresses)
    if wrong is not None:
        _Registered.reason = f"torch refused the operator {wrong.decode()}"
        return {}
    return found


def missing() -> str | None:
    """Why the operators are not there, in one line; None when they are."""
    register()
    return _Registered.reason


def _addresses(core: ctypes.CDLL) -> Any:
    """The addresses of the functions of torch that the library asks for."""
    try:
        torch_library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
    except OSError as error:
        _Registered.reason = f"torch's own library cannot be opened: {str(error).splitlines()[0]}"
        return None
    found: list[int] = []
    while (name := core.gatewise_shim_name(len(found))) is not None:
        function = getattr(torch_library, name.decode(), None)
        if function is None:
            _Registered.reason = f"torch {torch.__version__} has no {name.decode()}: 2.10 or newer is needed"
            return None
        found.append(ctypes.cast(function, ctypes.c_void_p).value or 0)
    return (ctypes.c_void_p * len(found))(*found)


def _define(library: torch.library.Library, name: str, *, gate: bool) -> None:
    """The three operators of one function, and everything about them that needs no kernel."""
    tag = (torch.Tag.pt2_compliant_tag,)
    inputs = _GATE if gate else _SCALAR
    library.define(f"{name}{inputs}) -> Tensor", tags=tag)
    library.define(f"{name}_out{inputs}, *, Tensor(a!) out) -> ()", tags=tag)
    result = "(Tensor, Tensor)" if gate else "Tensor"
    library.define(f"{name}_backward(Tensor grad, {inputs[1:]}) -> {result}", tags=tag)
    (_define_gate if gate else _define_scalar)(library, name)


def _like(first: Tensor, *others: Tensor) -> Tensor:
    """Empty, with the strides that the kernels give a result; see `new_strides` in csrc/torch_ops.cpp."""
    for other in others:
        torch._check(first.shape == other.shape, lambda: f"shapes {tuple(first.shape)} and {tuple(other.shape)} differ")
        torch._check(first.dtype == other.dtype, lambda: f"dtypes {first.dtype} and {other.dtype} differ")
    alike = all(other.stride() == first.stride() for other in others)
    if not first.is_contiguous() and alike and _dense(first):
        return torch.empty_strided(first.shape, first.stride(), dtype=first.dtype, device=first.device)
    return torch.empty(first.shape, dtype=first.dtype, device=first.device)


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
    torch.library.register_fake(qualname, lambda x, high=False: _like(x), lib=library)
    torch.library.register_fake(f"{qualname}_out", lambda x, high=False, *, out: None, lib=library)
    torch.library.register_fake(f"{qualname}_backward", lambda grad, x, high=False: _like(x, grad), lib=library)

    def once(grad: Tensor, x: Tensor, high: bool) -> tuple[Tensor]:
        return (backward(grad, x, high),)

    def twice(v: Tensor, grad: Tensor, x: Tensor, high: bool) -> tuple[Tensor, Tensor]:
        return backward(v, x, high), v * grad * SECOND[name](x)

    differentiable(library, forward.default, 1, once)
    differentiable(library, backward.default, 2, twice)

    def batched(info: Any, in_dims: Any, x: Tensor, high: bool = False) -> tuple[Tensor, int]:
        return forward(x, high), in_dims[0]

    def batched_backward(info: Any, in_dims: Any, grad: Tensor, x: Tensor, high: bool = False) -> tuple[Tensor, int]:
        return backward(*_front(info, in_dims, grad, x), high), 0

    torch.library.register_vmap(qualname, batched, lib=library)
    torch.library.register_vmap(f"{qualname}_backward", batched_backward, lib=library)


def _define_gate(library: torch.library.Library, name: str) -> None:
    qualname = f"gatewise::{name}"
    forward, backward = getattr(torch.ops.gatewise, name), getattr(torch.ops.gatewise, name + "_backward")
    torch.library.register_fake(qualname, lambda gate, up, high=False: _like(gate, up), lib=library)
    torch.library.register_fake(f"{qualname}_out", lambda gate, up, high=False, *, out: None, lib=library)

    def fake_backward(grad: Tensor, gate: Tensor, up: Tensor, high: bool = False) -> tuple[Tensor, Tensor]:
        return _like(gate, up, grad), _like(gate, up, grad)

    torch.library.register_fake(f"{qualname}_backward", fake_backward, lib=library)

    def once(grad: Tensor, gate: Tensor, up: Tensor, high: bool) -> tuple[Tensor, Tensor]:
        return backward(grad, gate, up, high)

    def twice(
        by_gate: Tensor, by_up: Tensor, grad: Tensor, gate: Tensor, up: Tensor, high: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        return _gate_twice(name, by_gate, by_up, grad, gate, up, high)

    differentiable(library, forward.default, 2, once)
    differentiable(library, backward.default, 3, twice)

    def batched(info: Any, in_dims: Any, gate: Tensor, up: Tensor, high: bool = False) -> tuple[Tensor, int]:
        return forward(*_front(info, in_dims, gate, up), high), 0

    def batched_backward(info: Any, in_dims: Any, grad: Tensor, gate: Tensor, up: Tensor, high: bool = False) -> Any:
        return backward(*_front(info, in_dims, grad, gate, up), high), (0, 0)

    torch.library.register_vmap(qualname, batched, lib=library)
    torch.library.register_vmap(f"{qualname}_backward", batched_backward, lib=library)


def _gate_twice(
    name: str, by_gate: Tensor, by_up: Tensor, grad: Tensor, gate: Tensor, up: Tensor, high: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradient of a gate's backward, by its (grad, gate, up)."""
    inside: Tensor | float = 1.0
    if name == "swiglu_clamped":
        by_gate, by_up = by_gate * (gate <= LIMIT), by_up * (up.abs() <= LIMIT)
        inside, gate, up = up.abs() <= LIMIT, gate.clamp(max=LIMIT), up.clamp(-LIMIT, LIMIT) + 1
    act = ACTIVATION[name]
    value = getattr(torch.ops.gatewise, act)(gate, high)
    slope = getattr(torch.ops.gatewise, f"{act}_backward")(torch.ones_like(gate), gate, high)
    bend = SECOND[act](gate)
    return (
        by_gate * up * slope + by_up * value,
        grad * (by_gate * up * bend + by_up * slope),
        grad * by_gate * slope * inside,
    )


def _front(info: Any, in_dims: Any, *tensors: Tensor) -> list[Tensor]:
    """The batch dimension in front, made where there is none."""
    return [
        t.movedim(d, 0) if d is not None else t.expand(info.batch_size, *t.shape)
        for t, d in zip(tensors, in_dims, strict=False)
    ]
