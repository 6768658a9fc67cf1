"""The elementwise candidates: eager's way and ours for every function and direction, and both ways through autograd."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812  (the field's own name for it)
from torch import Tensor

from gatewise import activations, functional, kernels

Call = Callable[[], object]
aten = torch.ops.aten
LIMIT, ALPHA = 7.0, 1.702  # of swiglu_clamped
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
DIRECTIONS = ("forward", "backward", "both ways")
FUNCTIONS = ("gelu", "gelu_tanh", "silu", "quick_gelu", "geglu", "geglu_tanh", "swiglu", "swiglu_clamped")


def is_gate(name: str) -> bool:
    """Whether it takes two inputs."""
    return activations.get(name).kind == "gate"


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """What a call works on: one or two inputs and the gradient that comes in."""

    inputs: tuple[Tensor, ...]
    grad: Tensor


def arrays(name: str, pool: list[Tensor]) -> Arrays:
    """The inputs of a function, taken from three tensors of one shape and dtype."""
    return Arrays(inputs=tuple(pool[: 2 if is_gate(name) else 1]), grad=pool[2])


def pool(shape: tuple[int, ...], dtype: torch.dtype, *, spread: float = 1.0, seed: int = 0) -> list[Tensor]:
    """Three tensors of normal numbers."""
    generator = torch.Generator().manual_seed(seed)
    return [(torch.randn(shape, generator=generator) * spread).to(dtype) for _ in range(3)]


def _scalar_backward(name: str, grad: Tensor, x: Tensor) -> Callable[[], Tensor]:
    if name == "gelu":
        return lambda: aten.gelu_backward(grad, x)
    if name == "gelu_tanh":
        return lambda: aten.gelu_backward(grad, x, approximate="tanh")
    if name == "silu":
        return lambda: aten.silu_backward(grad, x)
    s = torch.sigmoid(ALPHA * x)
    return lambda: (grad * s).add_(aten.sigmoid_backward(grad * x, s) * ALPHA)


_ACTIVATIONS = {
    "geglu": (F.gelu, aten.gelu_backward),
    "geglu_tanh": (lambda x: F.gelu(x, approximate="tanh"), lambda g, x: aten.gelu_backward(g, x, approximate="tanh")),
    "swiglu": (F.silu, aten.silu_backward),
}


def _gate_backward(name: str, grad: Tensor, gate: Tensor, up: Tensor) -> Callable[[], tuple[Tensor, Tensor]]:
    if name in _ACTIVATIONS:
        function, backward = _ACTIVATIONS[name]
        value = function(gate)
        return lambda: (backward(grad * up, gate), grad * value)
    g, above = gate.clamp(max=LIMIT), up.clamp(-LIMIT, LIMIT) + 1
    s = torch.sigmoid(g * ALPHA)
    value = g * s

    def clamped() -> tuple[Tensor, Tensor]:
        inside = grad * above
        by_gate = (inside * s).add_(aten.sigmoid_backward(inside * g, s) * ALPHA)
        return (
            torch.where(gate <= LIMIT, by_gate, 0),
            torch.where((up >= -LIMIT) & (up <= LIMIT), grad * value, 0),
        )

    return clamped


def eager_backward(name: str, at: Arrays) -> Call:
    """The kernels that eager's autograd runs, without autograd: one where aten has it, else its composite.

    What the forward pass saves is there already.
    """
    return (_gate_backward if is_gate(name) else _scalar_backward)(name, at.grad, *at.inputs)


def both_ways(function: Callable[..., Tensor], at: Arrays) -> Call:
    """Forward and backward through autograd."""
    leaves = [tensor.clone().requires_grad_() for tensor in at.inputs]
    grad = at.grad
    return lambda: torch.autograd.grad(function(*leaves), leaves, grad)


def eager(name: str, direction: str, at: Arrays) -> Call:
    """Eager's call."""
    function = activations.get(name).torch
    if direction == "forward":
        inputs = at.inputs
        if len(inputs) == 1:
            (x,) = inputs
            return lambda: function(x)
        gate, up = inputs
        return lambda: function(gate, up)
    return eager_backward(name, at) if direction == "backward" else both_ways(function, at)


def ours(name: str, direction: str, at: Arrays, accuracy: str) -> Call:
    """Our call: the user's function, or for the backward pass alone the operator that autograd calls."""
    function = getattr(functional, name)
    if direction == "backward":
        backward = getattr(torch.ops.gatewise, f"{name}_backward").default
        grad, inputs, high = at.grad, at.inputs, accuracy == "high"
        return lambda: backward(grad, *inputs, high)
    if direction == "both ways":
        called = function if accuracy == "default" else lambda *inputs: function(*inputs, accuracy="high")
        return both_ways(called, at)
    inputs = at.inputs
    if accuracy == "high":
        return lambda: function(*inputs, accuracy="high")
    if len(inputs) == 1:
        (x,) = inputs
        return lambda: function(x)
    gate, up = inputs
    return lambda: function(gate, up)


def ours_into(name: str, at: Arrays, out: Tensor, accuracy: str) -> Call:
    """Our forward into memory that is kept, with streaming stores where they pay."""
    function, inputs = getattr(functional, name), at.inputs
    return lambda: function(*inputs, accuracy=accuracy, out=out)


def eager_into(name: str, at: Arrays, out: Tensor) -> Call | None:
    """Eager's forward into memory that is kept, where aten has a way: gelu, silu, and their gates in two steps."""
    first = at.inputs[0]
    how = {"gelu": "none", "geglu": "none", "gelu_tanh": "tanh", "geglu_tanh": "tanh"}.get(name)
    if how is None and name not in ("silu", "swiglu"):
        return None

    def activation() -> Tensor:
        return aten.silu.out(first, out=out) if how is None else aten.gelu.out(first, approximate=how, out=out)

    if not is_gate(name):
        return activation
    up = at.inputs[1]
    return lambda: activation().mul_(up)


def native() -> str | None:
    """None where our kernels run; else why not."""
    status = kernels.status()
    return None if status.path is not None else str(status)


def pair(name: str, direction: str, dtype: str, at: Arrays) -> dict[str, Call]:
    """Eager and ours (in float32 at both accuracies)."""
    calls: dict[str, Call] = {"eager": eager(name, direction, at)}
    if native() is None:
        calls["ours"] = ours(name, direction, at, "default")
        if dtype == "f32":
            calls["ours high"] = ours(name, direction, at, "high")
    return calls


def grad_mode(direction: str) -> torch.no_grad | torch.enable_grad | torch.inference_mode:
    """Forward and backward alone run under inference mode, both ways with gradients."""
    return torch.enable_grad() if direction == "both ways" else torch.inference_mode()
