"""Autograd of an elementwise operator, of any order, forward and backward mode, and under torch.func's transforms.

`torch.library.register_autograd` is not used where it can be helped: the function that it makes has no `setup_context`,
which functorch asks for where transforms are nested, as in vmap(grad(f)), and it costs more. What is used instead are
private names of torch, all of them here (`PRIVATE`); a torch without one of them gets `register_autograd` after all.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

Gradient = Callable[[Sequence[Tensor], Sequence[Tensor], bool], Sequence[Tensor]]
"""From the outputs' gradients, the inputs and `high` to the inputs' gradients, in differentiable operations."""


@dataclass(frozen=True, kw_only=True)
class Private:
    """The names that torch does not promise to keep."""

    below_autograd: Callable[[], AbstractContextManager[None]]
    any_requires_grad: Callable[..., bool]
    transforms_active: Callable[[], bool]
    one_level: Callable[[], AbstractContextManager[None]]
    forward_mode: Callable[[bool], AbstractContextManager[None]]
    function: Any


def _private() -> Private | None:
    """They, or None for a torch that lacks one."""
    try:
        from torch._functorch.utils import enable_single_level_autograd_function

        core: Any = torch._C  # pyright: ignore[reportPrivateUsage]
        dual_level: int = forward_ad._current_level  # pyright: ignore[reportPrivateUsage]
        del dual_level
        return Private(
            below_autograd=core._AutoDispatchBelowAutograd,
            any_requires_grad=core._any_requires_grad,
            transforms_active=core._are_functorch_transforms_active,
            one_level=enable_single_level_autograd_function,
            forward_mode=forward_ad._set_fwd_grad_enabled,  # pyright: ignore[reportPrivateUsage]
            function=torch.autograd.function._SingleLevelFunction,  # pyright: ignore[reportPrivateUsage]
        )
    except (AttributeError, ImportError):
        return None


PRIVATE = _private()
transformed: Callable[[], bool] = PRIVATE.transforms_active if PRIVATE is not None else lambda: True
"""Is a transform of torch.func at work, as far as is known?"""


def differentiable(
    library: torch.library.Library, op: Any, num_tensors: int, gradient: Gradient, quick: Any = None
) -> None:
    """Register the gradient of `op(*tensors, high)`, which `gradient` gives.

    `quick(*grads, *tensors, high)` is an operator that gives the same, called where no further gradient is recorded.
    """
    if PRIVATE is None:
        _register_publicly(library, op, num_tensors, gradient)
    else:
        _register(PRIVATE, library, op, num_tensors, _backward(PRIVATE, gradient, quick))


Recorders = tuple[Callable[..., Any], Callable[..., Any]]
"""What records a call `record(*tensors)`, at the default level and at `high`."""


def recorders(packet: Any, backward: Any, gradient: Gradient) -> Recorders | None:
    """What records a call without asking the dispatcher; None where torch lacks what it takes.

    For operators of one output; not under torch.func's transforms, nor in forward mode: those need the operator.
    """
    if PRIVATE is None:
        return None
    call, reverse = raw(packet.no_grad), raw(backward.no_grad)
    return _recorder(PRIVATE, call, reverse, gradient, high=False), _recorder(
        PRIVATE, call, reverse, gradient, high=True
    )


def _recorder(private: Private, call: Any, reverse: Any, gradient: Gradient, *, high: bool) -> Callable[..., Any]:
    transforms_active, records = private.transforms_active, torch.is_grad_enabled
    level = (True,) if high else ()

    class Function(private.function):
        @staticmethod
        def forward(ctx: Any, *tensors: Any) -> Any:
            ctx.save_for_backward(*tensors)
            return call(*tensors, *level)

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            if records() or transforms_active() or dual_level() or pre_dispatch():
                return gradient(grads, ctx.saved_tensors, high)
            return reverse(*grads, *ctx.saved_tensors, *level)

    return Function.apply


def raw(op: Any) -> Any:
    """What an overload calls, without the Python in front of it."""
    return getattr(op, "_op", op)


def dual_level() -> bool:
    """Is forward-mode differentiation on?"""
    return forward_ad._current_level >= 0  # pyright: ignore[reportPrivateUsage]


_legacy_batched: Callable[[Tensor], bool] = getattr(
    getattr(torch._C, "_functorch", None),  # pyright: ignore[reportPrivateUsage]
    "is_legacy_batchedtensor",
    lambda x: False,  # pyright: ignore[reportUnknownLambdaType]
)


def followed(grad: Tensor) -> bool:
    """Has a backward pass to be in differentiable operations? For a recorded one, forward mode, torch.func's transforms
    and the older vmap of `is_grads_batched`."""
    transformed = PRIVATE is not None and PRIVATE.transforms_active()
    return torch.is_grad_enabled() or dual_level() or transformed or _legacy_batched(grad)


def has_tangent(x: Tensor) -> bool:
    """Does x carry a derivative of forward mode?"""
    return forward_ad.unpack_dual(x).tangent is not None


tracing: Callable[[], bool] = getattr(torch._C, "_is_tracing", torch.jit.is_tracing)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
"""Is torch.jit.trace at work?"""
function_modes: Callable[[], int] = getattr(torch._C, "_len_torch_function_stack", lambda: 1)  # pyright: ignore[reportPrivateUsage]
"""How many modes see torch's functions: a sign, quicker to ask for than `pre_dispatch`, that it may be on."""
_core: Any = torch._C  # pyright: ignore[reportPrivateUsage]
_included: Any = getattr(_core, "_dispatch_tls_is_dispatch_key_included", None)
_PRE_DISPATCH: Any = getattr(getattr(_core, "DispatchKey", None), "PreDispatch", None)


def pre_dispatch() -> bool:
    """Does somebody record operators before autograd sees them, as `make_fx(pre_dispatch=True)` does?

    What is recorded then has to be the operator that has a gradient, for whoever runs the graph.
    """
    return _included is not None and _PRE_DISPATCH is not None and _included(_PRE_DISPATCH)


@dataclass(frozen=True, kw_only=True)
class _Backward:
    gradient: Gradient
    reverse: Callable[[Sequence[Tensor], Sequence[Tensor], bool], Sequence[Tensor]]


def _backward(private: Private, gradient: Gradient, quick: Any) -> _Backward:
    if quick is None:
        return _Backward(gradient=gradient, reverse=gradient)
    call = raw(quick)
    below_autograd, transforms_active = private.below_autograd, private.transforms_active

    def reverse(grads: Sequence[Tensor], tensors: Sequence[Tensor], high: bool) -> Sequence[Tensor]:
        if torch.is_grad_enabled() or transforms_active() or dual_level():
            return gradient(grads, tensors, high)
        with below_autograd():
            found = call(*grads, *tensors, high)
        return found if isinstance(found, tuple) else (found,)

    return _Backward(gradient=gradient, reverse=reverse)


def _forward_mode(gradient: Gradient, tensors: Sequence[Tensor], high: bool, tangents: Sequence[Any], num: int) -> Any:
    """The outputs' tangents of an elementwise operator: one backward an output."""
    found: list[Any] = []
    for output in range(num):
        ones = [torch.ones_like(tensors[0]) if i == output else torch.zeros_like(tensors[0]) for i in range(num)]
        slopes = gradient(ones, tensors, high)
        found.append(sum(t * slope for t, slope in zip(tangents, slopes, strict=False) if t is not None))
    return tuple(found) if num > 1 else found[0]


def _register(private: Private, library: torch.library.Library, op: Any, num_tensors: int, backward: _Backward) -> None:
    call, below_autograd = raw(op), private.below_autograd
    any_requires_grad, transforms_active = private.any_requires_grad, private.transforms_active
    reverse = backward.reverse

    class Function(private.function):
        @staticmethod
        def forward(ctx: Any, *args: Any) -> Any:
            tensors = args[:num_tensors]
            ctx.save_for_backward(*tensors)
            if dual_level():
                ctx.save_for_forward(*tensors)
            ctx.high = args[num_tensors]
            # Torch calls this with both modes of differentiation off, which the levels around a transform's need.
            with torch.set_grad_enabled(transforms_active()), private.forward_mode(True), below_autograd():
                found = call(*args)
            ctx.num_outputs = len(found) if isinstance(found, tuple) else 1
            return found

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            return *reverse(grads, ctx.saved_tensors, ctx.high), None

        @staticmethod
        def jvp(ctx: Any, *tangents: Any) -> Any:
            with private.forward_mode(True):
                inputs = [forward_ad.unpack_dual(each, level=0).primal for each in ctx.saved_tensors]
                return _forward_mode(backward.gradient, inputs, ctx.high, tangents, ctx.num_outputs)

    record: Callable[..., Any] = Function.apply

    def kernel(*args: Any) -> Any:
        if len(args) == num_tensors:
            args = (*args, False)
        if (torch.is_grad_enabled() and any_requires_grad(*args)) or dual_level():
            if transforms_active():  # of the levels below: this one is being handled here
                with private.one_level():
                    return record(*args)
            return record(*args)
        with below_autograd():
            return call(*args)

    library.impl(op, kernel, "Autograd")


def _register_publicly(library: torch.library.Library, op: Any, num_tensors: int, gradient: Gradient) -> None:
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*inputs[:num_tensors])
        ctx.high = inputs[num_tensors]

    def backward(ctx: Any, *grads: Any) -> Any:
        return *gradient(grads, ctx.saved_tensors, ctx.high), None

    torch.library.register_autograd(op, backward, setup_context=setup_context, lib=library)
